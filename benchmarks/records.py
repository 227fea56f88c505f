"""Snakemake's records of the jobs that ran in a folder: what was run, and when."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ran:
    """start, end : seconds since 1970, of the process."""

    rule: str
    command: str
    start: float
    end: float

    @property
    def stage(self) -> str:
        words = self.command.split()
        return words[words.index("-m") + 1].removeprefix("rrl.stages.") if "-m" in words else self.rule


def ran_in(folder: Path, results: str) -> list[Ran]:
    """Each job once, by start; of those that wrote below the folder `results`, as far as they are recorded."""
    jobs = {}
    for record in _records(folder / ".snakemake/metadata"):
        if any(log.startswith(f"{results}/") for log in record["log"]):
            jobs[record["shellcmd"]] = Ran(record["rule"], record["shellcmd"], record["starttime"], record["endtime"])
    return sorted(jobs.values(), key=lambda job: job.start)


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield json.loads(path.read_text(encoding="utf-8"))


@cache
def imports_torch(stage: str) -> bool:
    command = f"import sys, rrl.stages.{stage}; print('torch' in sys.modules)"
    return (
        subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout == "True\n"
    )
