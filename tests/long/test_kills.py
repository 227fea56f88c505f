"""The workflow under SIGKILL, and its artifacts under damage: the two harnesses of this folder, briefly."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.clones import CLONE, copy_clone
from tests.helpers.kills import Harness, files_of

EARLY = ("target", "pretrain", "random_network", "extract", "represent", "probe", "finetune")
LATE = ("merge", "two_stage", "averaged_head", "ensemble", "similarity", "collect", "table", "figure")


def test_killed_fifty_times_the_results_are_those_of_an_undisturbed_run(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In two clones at once, as starting Snakemake keeps one core busy; each hits half of the stages. The undisturbed run
    was in another folder and under another hash seed."""
    harnesses = []
    for seed, aimed in enumerate((EARLY, LATE)):
        (tmp_path / str(seed)).mkdir()
        harnesses.append(Harness(copy_clone(tmp_path / str(seed)), files_of(tiny), seed, aimed))
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(harness.run, 25, 3) for harness in harnesses]:
            future.result()
    with capsys.disabled():
        print("\n" + "\n".join(harness.report() for harness in harnesses))
    assert sum(harness.kinds.total() for harness in harnesses) >= 50
    for stage in set(harnesses[0].stages.values()):
        assert sum(harness.hits[stage] for harness in harnesses) >= 3, stage


def test_damage_is_refused_or_harmless(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "tests.helpers.flips", "--flips", "240", "--seed", "1", "--clone", tiny]
    result = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with capsys.disabled():
        print("\n" + result.stdout)
    kinds = [line.partition(": ") for line in result.stdout.splitlines()]
    assert len(kinds) == 13 and not [kind for kind, _, counts in kinds if counts.startswith("0 refused")]
