"""The demo as a user runs it, and what the README says about its numbers."""

import re
import resource
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import CLONE

from rrl.files import read_json

ROOT = CLONE / "results/demo"
COLUMNS = [("fashion-new", 20), ("fashion-new", 100), ("mnist", 20), ("mnist", 100)]


@pytest.fixture(scope="module")
def demo() -> pd.DataFrame:
    """records.csv of `make demo`, run in this clone; top1 as mean over the representations of a method."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result = subprocess.run(["make", "demo"], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    assert "Tables: results/demo/table2.csv" in result.stdout
    peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    assert peak < 1.5e6, f"a job needed {peak} kB"
    frame = pd.read_csv(ROOT / "records.csv")
    keys = ["target", "shots", "method", "transfer", "selection"]
    return frame.groupby(keys)["top1"].mean().unstack(keys[2:])


def test_a_second_run_has_nothing_to_do_and_is_quick(demo: pd.DataFrame) -> None:
    started = time.time()
    result = subprocess.run(["make", "demo"], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0 and "Nothing to be done" in result.stdout + result.stderr
    assert time.time() - started < 10


@pytest.mark.parametrize("selection", ["heldout", "paper"])
@pytest.mark.parametrize(("target", "shots"), COLUMNS)
def test_concatenation_beats_one_network(demo: pd.DataFrame, target: str, shots: int, selection: str) -> None:
    cell = demo.loc[(target, str(shots))].xs("linear_probe", level="transfer").xs(selection, level="selection")
    assert cell["CAT4"] > cell["CAT2"] > cell["ERM"]
    assert cell["CAT5"] > cell["CAT2"]
    # The README says where it is not two points: with 20 images of each new class of Fashion-MNIST.
    assert cell["CAT4"] - cell["WIDE2"] > (0.02 if (target, shots) != ("fashion-new", 20) else 0.0)
    assert 0 < cell["RANDOM4"] < cell["CAT4"]


@pytest.mark.parametrize("selection", ["heldout", "paper"])
def test_on_the_source_concatenation_changes_little(demo: pd.DataFrame, selection: str) -> None:
    cell = demo.loc[("fashion-source", "all")].xs("linear_probe", level="transfer").xs(selection, level="selection")
    assert abs(cell["CAT4"] - cell["ERM"]) < 0.02


def test_no_picked_value_is_at_the_edge_of_its_grid(demo: pd.DataFrame) -> None:
    """The largest weight decay is never picked; the smallest is 0, which nothing can be below."""
    picked = []
    for path in ROOT.glob("records/*/*/linear_probe.json"):
        for entry in read_json(path)["facts"]["results"]:
            grid = [setting["weight_decay"] for setting in entry["grid"]]
            assert min(grid) == 0
            if entry["selected"]["weight_decay"] == max(grid):
                picked.append((path, entry["shots"], entry["selection"]))
    assert picked == []


def test_all_methods_have_the_same_grids(demo: pd.DataFrame) -> None:
    grids = {
        str([(setting["learning_rate"], setting["weight_decay"]) for setting in entry["grid"]])
        for path in ROOT.glob("records/*/*/linear_probe.json")
        for entry in read_json(path)["facts"]["results"]
    }
    assert len(grids) == 1


def table_of(text: str) -> list[list[str]]:
    """Cells of the first Markdown table of a text that has a method column."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    start = next(number for number, line in enumerate(lines) if line.startswith("| method"))
    width = lines[start].count("|")
    rows = []
    for line in lines[start:]:
        if line.count("|") != width or (rows and line.startswith("| method")):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[:1] + rows[2:]


def test_the_readme_shows_the_table_that_the_demo_makes(demo: pd.DataFrame) -> None:
    """Same rows and columns; numbers within 3 points, as other processors round otherwise."""
    shown = table_of((CLONE / "README.md").read_text())
    made = table_of((ROOT / "table2.md").read_text())
    assert [row[:4] for row in shown] == [row[:4] for row in made] and shown[0] == made[0]
    for ours, theirs in zip(shown[1:], made[1:], strict=True):
        for a, b in zip(ours[4:], theirs[4:], strict=True):
            assert float(a.split()[0]) == pytest.approx(float(b.split()[0]), abs=3)


def test_the_docs_count_the_jobs(demo: pd.DataFrame) -> None:
    """docs/workflow.md's table of jobs by rule is that of a dry run of the demo."""
    output = subprocess.run(
        [CLONE / ".venv/bin/snakemake", "--dry-run", "--forceall", "--quiet", "rules", "--configfile", "workflow/config/demo.yaml"],
        cwd=CLONE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    planned = dict(re.findall(r"^(\w+) +(\d+)$", output.stdout + output.stderr, flags=re.MULTILINE))
    shown = dict(
        re.findall(r"^\| `(\w+)` \| (\d+) \|", Path(CLONE / "docs/workflow.md").read_text(), flags=re.MULTILINE)
    )
    assert shown == {rule: count for rule, count in planned.items() if rule not in ("all", "total")}
