"""Ratios of times, measured in turn: other work on the machine slows all of them alike."""

import re
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Seconds = dict[str, list[float]]


def interleaved(works: Mapping[str, Callable[[], object]], rounds: int) -> Seconds:
    """Seconds of each work in each round, all works in turn. Each runs once before, unmeasured."""
    for work in works.values():
        work()
    seconds: Seconds = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Seconds, name: str, of: str) -> float:
    """How many times as fast `name` is as `of`: the median over rounds."""
    return statistics.median(slow / fast for slow, fast in zip(seconds[of], seconds[name], strict=True))


def line(what: str, found: float, wanted: float | None, note: str = "") -> None:
    """A row of the table that `make bench` prints."""
    goal = "" if wanted is None else f"{wanted:.2f}"
    mark = "" if wanted is None or found >= wanted else "below"
    print(f"{what:<72} {found:>8.2f} {goal:>8} {mark:<6} {note}")


def most_memory() -> int:
    """Bytes that this process had at most (getrusage would tell the parent's, where those were more)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
