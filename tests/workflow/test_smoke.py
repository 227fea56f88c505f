"""The smoke experiment: every rule and every stage, by the workflow. tests/stages runs the stages once more."""

import re
from pathlib import Path

import pytest
import yaml

from rrl.config.schema import Config
from tests.helpers.clones import CLONE, duplicate, planned_jobs, snakemake
from tests.helpers.jobs import Printed
from tests.helpers.smoke import CONFIG, MAINS, make_inputs, ran


@pytest.fixture(scope="module")
def jobs(smoke: Path) -> list[Printed]:
    return ran(smoke)


def test_every_rule_ran(smoke: Path, jobs: list[Printed]) -> None:
    listed = snakemake(smoke, options=("--list-rules",), config="smoke", quiet=False)
    rules = set(re.findall(r"^(\w+)$", listed, re.MULTILINE))
    assert {"pretrain", "finetune_kept", "library_network"} <= rules
    assert rules - {job.rule for job in jobs} == {"all"}, f"what {CONFIG} does not run"


def test_every_stage_ran(jobs: list[Printed]) -> None:
    assert {job.stage for job in jobs} == set(MAINS) and len(MAINS) == 18


def test_every_kind_of_figure_is_drawn() -> None:
    figures = yaml.safe_load((CLONE / CONFIG).read_text())["figures"]
    (known,) = Config.model_json_schema()["properties"]["figures"]["patternProperties"].values()
    assert {figure["kind"] for figure in figures.values()} == set(known["discriminator"]["mapping"])


def test_the_inputs_are_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        make_inputs(folder)
    files = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert {path: (first / path).read_bytes() for path in files} == {
        path: (second / path).read_bytes() for path in files
    }


def test_a_second_run_has_nothing_to_do(smoke: Path, tmp_path: Path) -> None:
    folder = duplicate(smoke, tmp_path / "clone")
    assert "Nothing to be done" in snakemake(folder, config="smoke", quiet=False)
    assert planned_jobs(folder, config="smoke") == {}
