"""What `benchmarks.gpu` found, kept on the disk from the first row on."""

import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

ENOUGH = 0.8  # of a limit


@dataclass(frozen=True)
class Row:
    """found : a number, or whether it is so. wanted : what it must be: `<= 1e-9`, `>= 0.8`, `yes`; empty: nothing."""

    what: str
    found: float | bool
    wanted: str = ""
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """None where nothing is wanted."""
        if not self.wanted:
            return None
        if self.wanted == "yes":
            return self.found is True
        sign, bound = self.wanted.split()
        return self.found <= float(bound) if sign == "<=" else self.found >= float(bound)

    @property
    def text(self) -> str:
        return ("no", "yes")[self.found] if isinstance(self.found, bool) else f"{self.found:.3g}"


class OutOfTime(BaseException):
    """Not an Exception: code that goes on after any failure of a compiler must not go on after this."""


def _out_of_time(number: int, frame: Any) -> None:
    raise OutOfTime


class Report:
    """Sections of rows. Written again after each row, so that whatever ends this process loses one row."""

    def __init__(self, folder: Path, seconds: float, device: torch.device, only: str = ""):
        self.folder, self.device, self.only = folder, device, only
        self.begin, self.end = time.monotonic(), time.monotonic() + seconds
        self.environment: dict[str, Any] = {}
        self.sections: list[dict[str, Any]] = []
        signal.signal(signal.SIGALRM, _out_of_time)

    def run(self, name: str, rows: Callable[[], Iterator[Row]], most: float) -> None:
        """most : seconds that the section may take on a GPU. An error ends the section and nothing else."""
        if not name.startswith(self.only):
            return
        section: dict[str, Any] = {"name": name, "rows": []}
        self.sections.append(section)
        left = self.end - time.monotonic()
        if left < 3:
            section["error"] = "not run: no time left"
            self.write()
            return
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        start = time.monotonic()
        if self.device.type == "cuda":
            signal.setitimer(signal.ITIMER_REAL, min(most, left))
        try:
            for row in rows():
                section["rows"].append({**asdict(row), "text": row.text, "holds": row.holds})
                self.write()
        except OutOfTime:
            section["error"] = f"cut off after {time.monotonic() - start:.0f} s"
        except Exception as error:
            section["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            section["traceback"] = traceback.format_exc()
            error.__traceback__ = None  # lets go of what is in its frames
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        section["seconds"] = round(time.monotonic() - start, 2)
        if self.device.type == "cuda":
            section["memory_bytes"] = torch.cuda.max_memory_allocated()
        said = section.get("error") or ", ".join(row["what"] for row in section["rows"] if row["holds"] is False)
        now = f"{time.monotonic() - self.begin:6.1f} s  {name}: {section['seconds']:.1f} s"
        print(f"{now}{'; ' + said if said else ''}", file=sys.stderr, flush=True)
        self.write()

    @property
    def failed(self) -> list[str]:
        """What is not as it must be in the sections that say whether results are right."""
        lines = []
        for section in self.sections:
            if section["name"].startswith("right"):
                lines += [f"{row['what']}: {row['text']}" for row in section["rows"] if row["holds"] is False]
                lines += [f"{section['name']}: {section['error']}"] if "error" in section else []
        return lines

    def write(self) -> None:
        content = {"environment": self.environment, "failed": self.failed, "sections": self.sections}
        for name, text in (("gpu.json", json.dumps(content, indent=1)), ("gpu.md", self.table())):
            partial = self.folder / f"{name}.partial"
            partial.write_text(text + "\n", encoding="utf-8")
            os.replace(partial, self.folder / name)

    def table(self) -> str:
        lines = [f"{name}: {value}" for name, value in self.environment.items()]
        lines += ["", "| section | what | found | wanted | | note |", "|---|---|---|---|---|---|"]
        for section in self.sections:
            name = section["name"]
            for row in section["rows"]:
                missed = "**missed**" if row["holds"] is False else ""
                lines.append(f"| {name} | {row['what']} | {row['text']} | {row['wanted']} | {missed} | {row['note']} |")
            if "error" in section:
                lines.append(f"| {name} | **failed** | | | | {section['error'].replace('|', '/')} |")
            memory = f"{section['memory_bytes'] / 1e9:.2f}" if "memory_bytes" in section else ""
            lines.append(f"| {name} | memory, GB | {memory} | | | {section.get('seconds', 0):.0f} s |")
        rows = [row for section in self.sections for row in section["rows"]]
        slow = [row["what"] for row in rows if row["wanted"] == f">= {ENOUGH}" and row["holds"] is False]
        lines += ["", f"Not right: {'; '.join(self.failed) or 'nothing'}."]
        lines += [f"Below {ENOUGH} of the limit: {'; '.join(slow) or 'nothing'}."]
        return "\n".join(lines)
