"""A job computes by as many threads as it is told, and by no other."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rrl.arithmetic import NATIVE
from rrl.config.settings import dump, parse
from rrl.job import Job, read_card
from rrl.jobs import STAGES
from tests.helpers.clones import snakemake
from tests.helpers.jobs import Printed, printed

# A stage, and then the seconds that each thread of its process has computed.
PROGRAM = """
import importlib, sys
import psutil
main = importlib.import_module(sys.argv.pop(1)).main
main()
print(*(thread.user_time + thread.system_time for thread in psutil.Process().threads()))
"""
BUSY = 0.25  # of the time of the busiest thread; a thread that only helps with imports is not


@pytest.fixture(scope="module")
def jobs(tiny: Path) -> dict[str, Printed]:
    """A job of each stage."""
    output = snakemake(tiny, options=("--dry-run", "--printshellcmds", "--forceall"), quiet=False)
    return {job.stage: job for job in reversed(printed(output))}


def longer(settings: Any) -> Any:
    """The settings with more epochs, so that there is more work than starting, and native arithmetic, as portable
    arithmetic takes one thread."""
    changed = {name: replace(part, epochs=8) for name, part in vars(settings).items() if hasattr(part, "epochs")}
    return replace(settings, arithmetic=NATIVE, **changed)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stage", ["pretrain", "extract", "probe", "finetune"])
def test_a_job_computes_by_the_threads_that_it_is_given(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: dict[str, Printed], stage: str, threads: int
) -> None:
    clone = shutil.copytree(tiny, tmp_path / "clone", symlinks=True)
    monkeypatch.chdir(clone)
    job, words = jobs[stage], list(jobs[stage].words)
    settings = longer(parse(STAGES[stage], job.values("--settings")[0]))
    inputs = tuple(read_card(Path(path)) for path in job.values("--inputs"))
    key = Job(stage, settings, inputs, Path(job.values("--output")[0])).key
    for flag, value in {"--settings": dump(settings), "--key": key, "--threads": str(threads)}.items():
        words[words.index(flag) + 1] = value
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"rrl.stages.{stage}", *words], cwd=clone, capture_output=True, text=True, check=True,
        env=clean,
    ).stdout  # fmt: skip
    seconds = sorted(map(float, output.splitlines()[-1].split()), reverse=True)
    busy = [time for time in seconds if time > BUSY * seconds[0]]
    assert len(busy) <= threads, seconds
    if stage == "pretrain":
        assert len(busy) == threads, seconds
