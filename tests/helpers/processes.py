"""Waiting for what another process does."""

import time
from collections.abc import Callable

SECONDS = 600  # far more than anything takes, on a busy machine too; only so that a test does not hang


def until(what: Callable[[], object]) -> None:
    """Fails the test if it never comes true."""
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end, f"waited {SECONDS} s"
        time.sleep(0.05)
