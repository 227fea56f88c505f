"""Benchmarks, at a size that says nothing of speed: that they run, and print their rows."""

import subprocess
import sys
from pathlib import Path

from conftest import CLONE


def rows(module: str, *options: str) -> list[str]:
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    result = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-1200:]
    return [line for line in result.stdout.splitlines() if " / " in line[:72]]


def test_storage(tmp_path: Path) -> None:
    found = rows("storage", "--folder", str(tmp_path), "--images", "600", "--rows", "1000", "--rounds", "1")
    assert [row.split(",")[0].split(" of ")[0] for row in found] == [
        "writing", "reading by shuffled chunk", "reading CAT10", "virtual file", "virtual file"
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_training() -> None:
    found = rows("training", "--threads", "1", "--networks", "resnet8", "--images", "256", "--rounds", "1")
    assert len(found) == 5


def test_workflow(tmp_path: Path) -> None:
    config = str(CLONE / "workflow/config/tiny.yaml")
    options = ["--config", config, "--growth", "--rounds", "1", "--skip-tiny"]
    found = rows("workflow", "--folder", str(tmp_path), *options)
    assert len(found) == 2
    assert "there was something to do" not in found[1]


def test_demo(tiny: Path) -> None:
    found = rows("demo", "--folder", str(tiny), "--results", "results/tiny")
    assert len(found) == 1
