"""Benchmarks, at a size that says nothing of speed: that they run, and print their rows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import OPTIONS
from tests.helpers.clones import CLONE, duplicate


@pytest.fixture(scope="module")
def tiny(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that the tests of this file change, and put back."""
    return duplicate(tiny, tmp_path_factory.mktemp("tiny") / "clone")


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


def test_arithmetic() -> None:
    assert len(rows("arithmetic", "--rounds", "1", "--steps", "1")) == 4  # a training step and a probe of two networks


def test_workflow(tmp_path: Path) -> None:
    config = str(CLONE / "workflow/config/tiny.yaml")
    options = ["--config", config, "--growth", "--rounds", "1", "--skip-tiny"]
    found = rows("workflow", "--folder", str(tmp_path), *options)
    assert len(found) == 2
    assert "there was something to do" not in found[1]


def test_demo(tiny: Path) -> None:
    found = rows("demo", "--folder", str(tiny), "--results", "results/tiny")
    assert len(found) == 1


def test_probes() -> None:
    found = rows("probes", "--rounds", "1", "--images", "300", "--stored", "2000", "--large", "512", "64")
    assert len(found) == 11  # two solvers x two numbers of classes x two others' ways, and three


def test_grid() -> None:
    assert len(rows("grid", "--images", "32", "--sizes", "1")) == 2  # and a row whose name has no comparison


def test_extraction() -> None:
    assert len(rows("extraction", "--images", "32", "--rounds", "1", "--pictures", "50")) == 9


def test_precision(tiny: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.precision", "--folder", str(tiny), "--config", "tiny"]
    command += ["--targets", "mnist", "--shots", "10"]
    output = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=True).stdout
    assert output.count(", bfloat16 ") == output.count("probe of ") == 2


def test_bench_names_every_benchmark_that_compares() -> None:
    """The others have pages of their own."""
    uses = re.compile(r"from benchmarks.ratios import .*\bline\b")
    modules = {path.stem for path in (CLONE / "benchmarks").glob("*.py") if uses.search(path.read_text())}
    assert modules | {"precision"} == set(OPTIONS)
