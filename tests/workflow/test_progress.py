"""How far the tiny experiment is, against what Snakemake would run."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from rrl.cli.estimate import distinct
from rrl.cli.progress import main
from rrl.config.load import load_plan
from rrl.errors import UserError
from tests.helpers.clones import CLONE, duplicate, edited, planned_jobs


@pytest.fixture(scope="module")
def tiny(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that the tests of this file change, and put back."""
    return duplicate(tiny, tmp_path_factory.mktemp("tiny") / "clone")


CONFIG = "workflow/config/tiny.yaml"
ROOT = "results/tiny"
RUN = "erm-s0.mnist.heldout-lr0.1-wd0.0005-e2"
STAGES = {"finetune_kept": "finetune", "ensemble_finetune": "ensemble"}  # of rules named otherwise


def progress(folder: Path, config: str = CONFIG) -> str:
    command = [sys.executable, "-m", "rrl.cli.progress", config]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def to_run(output: str, part: str) -> dict[str, int]:
    """Stage -> jobs that are still to run, of a table or `In all`."""
    (found,) = re.findall(rf"^{part}.*?Jobs to run: ([^\n]*)$", output, flags=re.MULTILINE | re.DOTALL)
    return {
        stage: int(count.replace(",", "")) for count, stage in re.findall(r"(\d[\d,]*) (\w+)", found.partition("(")[2])
    }


def snakemake_runs(folder: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for rule, count in planned_jobs(folder).items():
        found[STAGES.get(rule, rule)] = found.get(STAGES.get(rule, rule), 0) + count
    return found


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
    of = current + stale + missing
    return f"{table}: {state}. Of {of} records {current} are current, {stale} stale, {missing} missing.\n"


def test_a_complete_experiment(tiny: Path) -> None:
    tables = [line(table, "current", records(tiny, table), 0, 0) for table in ("table1", "table2")]
    expected = "".join(f"{table}Jobs to run: none.\n\n" for table in tables)
    assert progress(tiny) == f"{expected}In all, each job once. Jobs to run: none.\n"


def test_a_deleted_record_is_missing(tiny: Path) -> None:
    with gone(tiny, "records/mnist/cat2/ensemble.json"):
        output, planned = progress(tiny), snakemake_runs(tiny)
    assert line("table1", "current", records(tiny, "table1"), 0, 0) + "Jobs to run: none.\n" in output
    assert (
        line("table2", "current", records(tiny, "table2") - 1, 0, 1)
        + (
            "| current records | fashion-source | mnist 5-shot | mnist 10-shot |\n"
            "|-----------------|---------------:|-------------:|--------------:|\n"
            "| CAT2^sub        |            1/1 |          0/1 |           0/1 |\n"
            "Jobs to run: 2 (1 ensemble, 1 table).\n"
        )
        in output
    )
    assert to_run(output, "In all") == planned == {"ensemble": 1, "collect": 1, "table": 1, "figure": 3}


def test_a_changed_setting_makes_records_stale(tiny: Path) -> None:
    with edited(tiny / CONFIG, "shots: [5, 10]", "shots: [5, 10, 11]"):
        output, planned = progress(tiny), snakemake_runs(tiny)
    of_mnist = records(tiny, "table2", "mnist/")
    assert line("table1", "current", records(tiny, "table1"), 0, 0) + "Jobs to run: none.\n" in output
    assert line("table2", "stale", records(tiny, "table2") - of_mnist, of_mnist, 0) in output
    assert "| ERM             |            2/2 | 0/2, 2 stale |  0/2, 2 stale |\n" in output
    assert to_run(output, "In all") == planned and planned["probe"] >= 7


def test_stale_and_missing_are_told_apart(tiny: Path) -> None:
    with (
        edited(tiny / CONFIG, "shots: [5, 10]", "shots: [5, 10, 11]"),
        gone(tiny, "records/mnist/erm-s1/linear_probe.json", "table2.csv"),
    ):
        output = progress(tiny)
    of_mnist = records(tiny, "table2", "mnist/")
    assert line("table2", "missing", records(tiny, "table2") - of_mnist, of_mnist - 1, 1) in output
    assert "| ERM             |            2/2 | 0/2, 1 stale |  0/2, 1 stale |\n" in output


CHANGES = {
    "a file of a table": ["table1.csv"],
    "a file of features, and a record that is made of it": [
        "features/mnist/erm-s0/val.h5", "records/mnist/cat2/linear_probe.json",
    ],
    "features that nothing is to be made of": ["features/mnist/erm-s0.json", "features/mnist/erm-s0"],
    "features, and a record that is made of them": [
        "features/mnist/wide2-s0.json", "features/mnist/wide2-s0", "records/mnist/wide2-s0/linear_probe.json",
    ],
    "a kept network, its features, and a record of two stages": [
        f"networks/{RUN}.json", f"networks/{RUN}.safetensors", f"features/mnist/{RUN}.json", f"features/mnist/{RUN}",
        "representations/mnist/cat2.heldout-lr0.1-wd0.0005-e2.json", "records/mnist/cat2/two_stage.json",
    ],
    "a similarity": ["similarities/mnist/similarity.json"],
    "a run of fine-tuning, and the record of it": [
        f"finetuned/{RUN}.json", "records/mnist/erm-s0/finetune.json",
    ],
}  # fmt: skip


@pytest.mark.parametrize("names", CHANGES.values(), ids=CHANGES)
def test_what_is_to_run_is_what_snakemake_would_run(tiny: Path, names: list[str]) -> None:
    with ExitStack() as stack:
        stack.enter_context(gone(tiny, *names))
        assert to_run(progress(tiny), "In all") == snakemake_runs(tiny)


def test_nothing_made(tiny: Path) -> None:
    with gone(tiny, ""):
        output, planned = progress(tiny), snakemake_runs(tiny)
    for table in ("table1", "table2"):
        assert line(table, "missing", 0, 0, records(tiny, table)) + "Jobs to run: " in output  # and no row by row
    assert to_run(output, "In all") == planned and sum(planned.values()) > 70


def test_the_papers_progress_needs_no_torch() -> None:
    code = "import sys; from rrl.cli.progress import main; main([]); assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    plan = load_plan(CLONE / "config.yaml")
    for table, of in plan.config.tables.items():
        assert re.search(rf"^{table}: \w+\. Of {len(plan.cells(of))} records ", result.stdout, flags=re.MULTILINE)
    assert 0 <= sum(to_run(result.stdout, "In all").values()) <= len(distinct(plan.jobs))


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing; name the config"):
        main([str(tmp_path / "none.yaml")])
