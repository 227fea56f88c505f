"""Data sets: where their files come from, how they are split, and how an image becomes a network's input."""
