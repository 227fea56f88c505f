"""The command line for people, `rrl`."""
