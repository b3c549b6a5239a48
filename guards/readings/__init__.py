"""Other ways to read a text: what it says once an encoding or a disguise that only a reader undoes is undone."""
