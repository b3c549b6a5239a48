"""The rows of the overview, one to a file."""
