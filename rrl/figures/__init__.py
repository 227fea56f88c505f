"""The kinds of figures, and how all of them are drawn."""
