"""The smoke experiment: every rule and every stage, by the workflow, and each stage once more in this process."""

import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

import rrl.trunks.checkpoints
from rrl.artifacts.provenance import read_card
from rrl.experiment.config import load_config
from rrl.experiment.plan import Plan
from rrl.experiment.schema import Config
from rrl.training.device import prepare
from tests.helpers.clones import CLONE, duplicate, planned_jobs, snakemake
from tests.helpers.smoke import CONFIG, RESULTS, make_inputs, smoke_inputs

DECLARED = re.compile(r'ommand\("(\w+)", __doc__\)')  # Command, or probe_command
STAGES = sorted({name for path in (CLONE / "rrl").glob("*.py") for name in DECLARED.findall(path.read_text())})
MAINS = [*STAGES, "download"]  # whose flags people type too
INFO = r"(?: .*\n)*"
JOB = re.compile(
    rf"^(?:local)?rule (\w+):\n{INFO}    output: (.*)\n{INFO}Shell command: \S+ -m rrl\.(\w+) (.*) 2> \S+$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Ran:
    """A job: its rule, the files that it made, and its command line."""

    rule: str
    made: tuple[Path, ...]
    stage: str
    words: tuple[str, ...]


@pytest.fixture(scope="module")
def jobs(smoke: Path) -> list[Ran]:
    """All that ran."""
    found = JOB.findall((smoke / "smoke.log").read_text())
    return [
        Ran(rule, tuple(Path(file.split()[0]) for file in made.split(", ")), stage, tuple(shlex.split(words)))
        for rule, made, stage, words in found
    ]


@pytest.fixture(scope="module")
def copy(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In which the stages run again."""
    return duplicate(smoke, tmp_path_factory.mktemp("smoke") / "clone")


@pytest.fixture
def in_copy(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This process works there, with its registry of checkpoints, as a job of the workflow does."""
    monkeypatch.chdir(copy)
    monkeypatch.setattr(rrl.trunks.checkpoints, "FOLDER", copy / "rrl/trunks")
    monkeypatch.setattr(rrl.trunks.checkpoints, "PINS", copy / "rrl/trunks/checkpoint_pins.json")
    threads = torch.get_num_threads()
    with smoke_inputs(copy) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        rrl.trunks.checkpoints.checkpoints.cache_clear()
        yield copy
    rrl.trunks.checkpoints.checkpoints.cache_clear()
    prepare(threads)


def test_every_rule_ran(copy: Path, jobs: list[Ran]) -> None:
    listed = snakemake(copy, options=("--list-rules",), config="smoke", quiet=False)
    rules = set(re.findall(r"^(\w+)$", listed, re.MULTILINE))
    assert {"pretrain", "finetune_kept", "ensemble_finetune"} <= rules
    assert rules - {job.rule for job in jobs} == {"all"}, f"what {CONFIG} does not run"


def test_every_stage_ran(jobs: list[Ran]) -> None:
    assert len(STAGES) > 20
    assert {job.stage for job in jobs} == set(MAINS)


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


def test_every_card_has_the_key_of_the_plan(in_copy: Path) -> None:
    pins = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())
    plan = Plan(load_config(yaml.safe_load(CONFIG.read_text()), []), pins)
    assert len(plan.jobs) > 50
    for job in plan.jobs:
        assert read_card(RESULTS / f"{job.artifact}.json").key == job.key, job.artifact


@pytest.mark.parametrize("stage", MAINS)
def test_a_stage_makes_the_same_bytes_in_this_process(smoke: Path, in_copy: Path, jobs: list[Ran], stage: str) -> None:
    job = min((job for job in jobs if job.stage == stage), key=lambda job: len(job.words))
    for path in job.made:
        path.unlink()
    importlib.import_module(f"rrl.{stage}").main(job.words)
    for path in job.made:
        assert path.exists(), path
        if not path.name.endswith(".run.json"):  # times, and the host
            assert path.read_bytes() == (smoke / path).read_bytes(), path
