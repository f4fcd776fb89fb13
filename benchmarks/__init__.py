"""Measurements of time and memory, also side by side with the book's code and with other tools: see README.md."""
