"""The training loop, what it needs, and the state that it goes on from."""
