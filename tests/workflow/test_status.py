"""How far the tiny experiment is."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rrl.config.load import load_plan
from tests.helpers.clones import CLONE, duplicate, edited


@pytest.fixture(scope="module")
def tiny(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that the tests of this file change, and put back."""
    return duplicate(tiny, tmp_path_factory.mktemp("tiny") / "clone")


CONFIG = "workflow/config/tiny.yaml"
ROOT = "results/tiny"


def status(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "rrl.cli", "status", CONFIG, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def own_reasons(output: str) -> dict[str, int]:
    """Stage -> artifacts with a reason of their own to be made."""
    listed = re.findall(r"to be made \((.*?)\); what depends", output)
    return {stage: int(count) for count, stage in re.findall(r"(\d+) (\w+)", "".join(listed))}


@contextmanager
def gone(folder: Path, *names: str) -> Iterator[None]:
    """Files or folders of the results taken away, then put back."""
    aside = folder / "aside"
    aside.mkdir()
    try:
        for number, name in enumerate(names):
            shutil.move(folder / ROOT / name, aside / str(number))
        yield
    finally:
        for number, name in enumerate(names):
            shutil.move(aside / str(number), folder / ROOT / name)
        aside.rmdir()


def records(folder: Path, table: str, target: str = "") -> int:
    """How many a table has, or has of a target."""
    plan = load_plan(folder / CONFIG)
    return sum(job.artifact.startswith(f"records/{target}") for job in plan.cells(plan.config.tables[table]))


def line(table: str, state: str, current: int, stale: int, missing: int) -> str:
    total = current + stale + missing
    return f"{table}: {state}. Of {total} records: {current} current, {stale} stale, {missing} missing.\n"


def test_a_complete_experiment(tiny: Path) -> None:
    tables = "".join(f"{line(table, 'current', records(tiny, table), 0, 0)}\n" for table in ("table1", "table2"))
    assert status(tiny) == f"{tables}Figures: 4 current.\nEvery artifact is as planned.\n"


def test_a_deleted_record_is_missing(tiny: Path) -> None:
    with gone(tiny, "records/mnist/cat2/ensemble.json"):
        output, content = status(tiny), json.loads(status(tiny, "--json"))
    assert line("table1", "current", records(tiny, "table1"), 0, 0) + "\n" in output
    assert (
        line("table2", "current", records(tiny, "table2") - 1, 0, 1)
        + (
            "| current records | fashion-source | mnist 5-shot | mnist 10-shot |\n"
            "|-----------------|---------------:|-------------:|--------------:|\n"
            "| CAT2^sub        |            1/1 |          0/1 |           0/1 |\n"
        )
        in output
    )
    assert "1 artifact has a reason of its own to be made (1 ensemble); what depends on it follows." in output
    assert f"Reasons: rrl why {CONFIG}; all jobs: rrl run {CONFIG} --dry-run\n" in output
    assert content["own_reason"] == {"ensemble": 1} and content["results"] == ROOT
    assert content["tables"]["table2"]["records"]["missing"] == 1
    assert [row["method"] for row in content["tables"]["table2"]["unfinished"]] == ["CAT2^sub"]


def test_a_changed_setting_makes_records_stale(tiny: Path) -> None:
    with edited(tiny / CONFIG, "shots: [5, 10]", "shots: [5, 10, 11]"):
        output = status(tiny)
    of_mnist = records(tiny, "table2", "mnist/")
    assert line("table1", "current", records(tiny, "table1"), 0, 0) in output
    assert line("table2", "stale", records(tiny, "table2") - of_mnist, of_mnist, 0) in output
    assert "| ERM             |            2/2 | 0/2 (2 stale) | 0/2 (2 stale) |\n" in output
    assert own_reasons(output)["probe"] >= 7


def test_stale_and_missing_are_kept_apart(tiny: Path) -> None:
    with (
        edited(tiny / CONFIG, "shots: [5, 10]", "shots: [5, 10, 11]"),
        gone(tiny, "records/mnist/erm-s1/linear_probe.json", "table2.json"),
    ):
        output = status(tiny)
    of_mnist = records(tiny, "table2", "mnist/")
    assert line("table2", "missing", records(tiny, "table2") - of_mnist, of_mnist - 1, 1) in output
    assert "| ERM             |            2/2 | 0/2 (1 stale) | 0/2 (1 stale) |\n" in output


def test_nothing_made(tiny: Path) -> None:
    with gone(tiny, ""):
        output = status(tiny)
    for table in ("table1", "table2"):
        assert line(table, "missing", 0, 0, records(tiny, table)) + "\n" in output  # and no row by row
    assert own_reasons(output) == {"target": 2}  # all else is made of them


def test_the_papers_status_needs_no_torch() -> None:
    code = "import sys; from rrl.cli.main import main; main(['status'], standalone_mode=False); assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    plan = load_plan(CLONE / "config.yaml")
    for table, of in plan.config.tables.items():
        assert re.search(rf"^{table}: \w+\. Of {len(plan.cells(of))} records: ", result.stdout, flags=re.MULTILINE)
