"""The demo as a user runs it, and what the README says about its numbers.

The demo's arithmetic is portable: on Linux machines with AVX2 every digit of the docs is checked. Training is chaotic, so
elsewhere single networks differ by points: there the tables and their words are checked, and what holds everywhere.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from rrl.store.files import read_json
from tests.helpers.clones import CLONE, copy_clone
from tests.helpers.documented import exact, tables_of

ROOT = CLONE / "results/demo"
COLUMNS = [("fashion-new", 20), ("fashion-new", 100), ("mnist", 20), ("mnist", 100)]


MEASURED = """
import resource, subprocess, sys
code = subprocess.run(["make", "demo"]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def demo() -> pd.DataFrame:
    """records.csv of `make demo`, run in this clone; top1 as mean over the representations of a method."""
    # In a process of its own, whose children are those of the demo alone.
    result = subprocess.run([sys.executable, "-c", MEASURED], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    assert "Tables: results/demo/table1.csv" in result.stderr
    assert (ROOT / "table1.md").read_text() in result.stdout
    peak = int(result.stdout.splitlines()[-1])
    assert peak < 1.5e6, f"a job needed {peak} kB"
    frame = pd.read_csv(ROOT / "records.csv")
    keys = ["target", "shots", "method", "transfer", "selection"]
    return frame.groupby(keys)["top1"].mean().unstack(keys[2:])


def test_a_second_run_has_nothing_to_do(demo: pd.DataFrame) -> None:
    result = subprocess.run(["make", "demo"], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0 and "Nothing to be done" in result.stdout + result.stderr


def test_its_report_is_small(demo: pd.DataFrame) -> None:
    result = subprocess.run(["make", "report"], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0 and re.search(r"report\.html: \d+ current artifacts\n", result.stdout), result.stderr
    text = (ROOT / "report.html").read_text()
    assert "Every artifact is as planned." in text and "<figure>" in text
    assert len(text) < 2e6  # 1.5 MB, of which 0.6 MB are figures


@pytest.mark.parametrize("selection", ["heldout", "paper"])
@pytest.mark.parametrize(("target", "shots"), COLUMNS)
def test_concatenation_beats_one_network(demo: pd.DataFrame, target: str, shots: int, selection: str) -> None:
    cell = demo.loc[(target, str(shots))].xs("linear_probe", level="transfer").xs(selection, level="selection")
    assert cell["CAT4"] > cell["CAT2"] > cell["ERM"]


@exact
def test_no_pick_is_at_the_edge_of_its_grid_by_more_than_two_images(demo: pd.DataFrame) -> None:
    """The smallest weight decay is 0, which nothing can be below; above the largest, SGD with this learning rate
    and momentum diverges. So there it must not matter."""
    for path in ROOT.glob("records/*/*/linear_probe.json"):
        for entry in read_json(path)["facts"]["results"]:
            best = {setting["weight_decay"]: max(setting["top1"]) for setting in entry["grid"]}
            assert min(best) == 0
            inside = max(top1 for weight_decay, top1 in best.items() if weight_decay < max(best))
            lead = (best[max(best)] - inside) * entry[f"n_{entry['selected_on']}"]
            assert lead < 2.5, (path, entry["shots"], entry["selection"])


def test_all_methods_have_the_same_grids(demo: pd.DataFrame) -> None:
    """On each target."""
    grids = {
        (path.parts[-3], str([(setting["learning_rate"], setting["weight_decay"]) for setting in entry["grid"]]))
        for path in ROOT.glob("records/*/*/linear_probe.json")
        for entry in read_json(path)["facts"]["results"]
    }
    assert len(grids) == len({target for target, _ in grids}) == 3


def shown_and_made() -> tuple[list[list[str]], list[list[str]]]:
    """The README's table beside that of the demo."""
    (shown,) = tables_of((CLONE / "README.md").read_text())
    (made,) = tables_of((ROOT / "table1.md").read_text())
    return shown, made


def test_the_readme_shows_the_rows_and_columns_that_the_demo_makes(demo: pd.DataFrame) -> None:
    shown, made = shown_and_made()
    assert [row[:4] for row in shown] == [row[:4] for row in made] and shown[0] == made[0]


@exact
def test_the_readme_shows_the_numbers_that_the_demo_makes(demo: pd.DataFrame) -> None:
    shown, made = shown_and_made()
    assert shown == made


@pytest.mark.parametrize(("column", "config"), [(0, "demo"), (1, "claims")])
def test_the_docs_count_the_jobs(column: int, config: str) -> None:
    """docs/workflow.md's table of jobs by rule is that of a dry run."""
    command = ["--dry-run", "--forceall", "--quiet", "rules", "--configfile", f"workflow/config/{config}.yaml"]
    output = subprocess.run(
        [CLONE / ".venv/bin/snakemake", *command], cwd=CLONE, capture_output=True, text=True, check=True
    )
    planned = dict(re.findall(r"^(\w+) +(\d+)$", output.stdout + output.stderr, flags=re.MULTILINE))
    shown = {rule: counts[column] for rule, *counts, _ in JOBS if counts[column]}
    assert shown == {rule: count for rule, count in planned.items() if rule not in ("all", "total")}
    total = sum(int(counts[column]) for _, *counts, says in JOBS if says and counts[column])
    assert f"{total:,} of {config}" in (CLONE / "docs/workflow.md").read_text()


JOBS = re.findall(
    r"^\| `(\w+)` \| (\d*) ?\| (\d*) ?\| (yes|) ?\|$", (CLONE / "docs/workflow.md").read_text(), flags=re.MULTILINE
)


def test_the_docs_say_which_stages_import_torch() -> None:
    assert len(JOBS) > 10
    for rule, *_, says in JOBS:
        stage = {"finetune_kept": "finetune", "ensemble_finetune": "ensemble"}.get(rule, rule)
        code = f"import sys, rrl.stages.{stage}; print('torch' in sys.modules)"
        result = subprocess.run([sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True, check=True)
        assert result.stdout.strip() == str(says == "yes"), rule


def top1(line: str) -> list[float]:
    """The accuracies in a line of a table, or of `rrl show`."""
    return [float(number) for number in re.findall(r"(\d+\.\d+) (?:±|%,|\[)", line)]


@dataclass(frozen=True)
class Followed:
    """docs/tutorial.md, followed in a copy of this clone and its demo: the lines that it shows, and those printed last
    by the commands before."""

    folder: Path
    shown: list[list[str]]
    printed: list[list[str]]


@pytest.fixture(scope="module")
def followed(demo: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Followed:
    folder = copy_clone(tmp_path_factory.mktemp("tutorial") / "clone")
    subprocess.run(["cp", "-a", CLONE / ".snakemake", folder], check=True)
    subprocess.run(["cp", "-a", ROOT, folder / "results"], check=True)
    records = [path for path in folder.glob("results/demo/records/*/*/*.json") if not path.name.endswith(".run.json")]
    before = {path: path.read_bytes() for path in records}
    table = folder / "results/demo/table1.md"
    blocks = re.findall(
        r"^```(sh|text)\n(.*?)^```$", (CLONE / "docs/tutorial.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    followed = Followed(folder, [], [])
    printed: list[str] = []
    for kind, text in blocks:
        if kind == "sh":
            script = f"source .venv/bin/activate\n{text}"
            result = subprocess.run(["bash", "-ec", script], cwd=folder, capture_output=True, text=True)
            assert result.returncode == 0, (text, (result.stdout + result.stderr)[-3000:])
            printed = result.stdout.splitlines()
            assert "KILL" not in text or not table.exists() or "6 seeds" not in table.read_text()
        else:
            followed.shown.append(text.splitlines())
            followed.printed.append(printed[-len(text.splitlines()) :])
    assert {path: path.read_bytes() for path in records} == before
    return followed


def test_the_tutorial_is_what_happens(followed: Followed) -> None:
    """The same words."""
    assert len(followed.shown) == 7
    for lines in zip(followed.shown, followed.printed, strict=True):
        shown, printed = ([re.sub(r"\d+\.\d+|epoch \d+|[ -]+", " ", line) for line in of] for of in lines)
        assert shown == printed
    assert "6 seeds" in (followed.folder / "results/demo/table1.md").read_text()


@exact
def test_the_numbers_of_the_tutorial_are_those_that_are_printed(followed: Followed) -> None:
    for shown, printed in zip(followed.shown, followed.printed, strict=True):
        assert [top1(line) for line in shown] == [top1(line) for line in printed]
