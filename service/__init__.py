"""What runs, listens, waits and remembers."""
