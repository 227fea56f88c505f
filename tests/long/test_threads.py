"""A job computes by as many threads as it is told, and by no other."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rrl.arithmetic import NATIVE
from tests.helpers.clones import snakemake

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
def commands(tiny: Path) -> dict[str, list[str]]:
    """The flags of a job of each stage, as the workflow would start it."""
    output = snakemake(tiny, options=("--dry-run", "--printshellcmds", "--forceall"), quiet=False)
    found: dict[str, list[str]] = {}
    for stage, flags in re.findall(r"-m rrl\.stages\.(\w+) (.*?) 2> ", output):
        found.setdefault(stage, shlex.split(flags))
    return found


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stage", ["pretrain", "extract", "probe", "finetune"])
def test_a_job_computes_by_the_threads_that_it_is_given(
    tiny: Path, tmp_path: Path, commands: dict[str, list[str]], stage: str, threads: int
) -> None:
    clone = shutil.copytree(tiny, tmp_path / "clone", symlinks=True)
    words = list(commands[stage])
    words[words.index("--threads") + 1] = str(threads)
    words[words.index("--arithmetic") + 1] = NATIVE  # portable arithmetic takes one thread
    if "--epochs" in words:
        words[words.index("--epochs") + 1] = "8"  # more work than starting
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
