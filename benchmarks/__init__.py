"""The book's way and smallset's way side by side on the same photos, as ratios with their spread: see README.md."""
