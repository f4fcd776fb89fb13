"""What is never trained: it runs once over every photo, and what it gives is kept on the disk."""
