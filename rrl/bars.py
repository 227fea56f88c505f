"""How far a long loop is: a bar on a terminal; where there is none, as in a log, a line now and then."""

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

SECONDS = 60.0  # between two lines of a log, at least
FORMAT = "{l_bar}{bar:24}{r_bar}"  # of tqdm
DRAWN = 0.1  # seconds between two looks of a bar, at least


class Bar:
    """A context around a loop, which tells it what is done by `add`. Rate and time left are by the mean since then.

    what : what the loop is about, in front of the numbers.
    unit : what is counted, one of it; B for bytes.
    total : how many there are in all, or None if that is not known. May be set later, as may `what` and `note`.
    done : how many were done before this loop began.
    seconds : between two lines where there is no terminal, else SECONDS. A loop that takes less writes none.
    kept : whether a bar that is full stays to be seen.
    shown : False: nothing is, as by all processes but the first that share a training.
    """

    def __init__(
        self, what: str, unit: str, total: int | None, *, done: int = 0, seconds: float | None = None,
        kept: bool = True, shown: bool = True,
    ):  # fmt: skip
        self.what, self.unit, self.total, self.done, self.shown = what, unit, total, done, shown
        self.before, self.kept = done, kept
        self.note = ""  # behind the numbers of a bar
        self.terminal: Any = None
        self.seconds = SECONDS if seconds is None else seconds

    def __enter__(self) -> Self:
        self.started = time.monotonic()
        self.next = self.started + self.seconds if self.shown else float("inf")
        if self.shown and sys.stderr.isatty():
            from tqdm import tqdm  # type: ignore[import-untyped]  # a log has no use for it

            self.seconds, self.next = DRAWN, self.started
            with suppress(OSError):
                self.terminal = tqdm(
                    desc=self.what, total=self.total, initial=self.done, unit=self.unit, unit_scale=self.unit == "B",
                    smoothing=0, leave=self.kept, dynamic_ncols=True, bar_format=FORMAT,
                )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.terminal is not None:
            with suppress(OSError):
                self._draw()
                self.terminal.close()

    def add(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + self.seconds
        with suppress(OSError):  # a terminal that is gone, or a full disk, costs the line, not the work
            if self.terminal is not None:
                self._draw()
            else:
                print(self._line(now), file=sys.stderr)

    def _draw(self) -> None:
        self.terminal.n, self.terminal.total = self.done, self.total
        self.terminal.set_description(self.what, refresh=False)
        self.terminal.set_postfix_str(self.note, refresh=False)
        self.terminal.refresh()

    def _line(self, now: float) -> str:
        rate = (self.done - self.before) / max(now - self.started, 1e-9)  # per second
        if self.unit == "B":
            whole = f" of {self.total / 1e6:,.0f}" if self.total else ""
            text = f"{self.what}: {self.done / 1e6:,.0f}{whole} MB, {rate / 1e6:,.1f} MB/s"
        else:
            whole = f" of {self.total:,}" if self.total else ""
            text = f"{self.what}: {self.done:,}{whole} {self.unit}s, {_rate_text(rate)} {self.unit}s/s"
        return f"{text}, {duration((self.total - self.done) / rate)} left" if self.total and rate else text


def _rate_text(rate: float) -> str:
    return f"{rate:,.1f}" if rate >= 1 else f"{rate:.2g}"


def write_line(line: str) -> None:
    """A line to stderr, above any bar. One that cannot be written, as on a full disk, is left out."""
    with suppress(OSError):
        if sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)


def duration(seconds: float) -> str:
    """`4.2 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
