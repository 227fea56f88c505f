"""Each stage's `main` in this process makes the bytes that the workflow made."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

import rrl.networks.checkpoints
from rrl.arithmetic import NATIVE
from rrl.config.load import load_config
from rrl.job import read_card
from rrl.plan import Plan
from rrl.training.device import prepare
from tests.helpers.clones import duplicate
from tests.helpers.smoke import CONFIG, MAINS, RESULTS, ran, smoke_inputs


@pytest.fixture(scope="module")
def copy(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In which the stages run again."""
    return duplicate(smoke, tmp_path_factory.mktemp("smoke") / "clone")


@pytest.fixture
def in_copy(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This process works there, with its registry of checkpoints, as a job of the workflow does."""
    monkeypatch.chdir(copy)
    monkeypatch.setattr(rrl.networks.checkpoints, "FOLDER", copy / "rrl/networks")
    monkeypatch.setattr(rrl.networks.checkpoints, "PINS", copy / "rrl/networks/checkpoint_pins.json")
    threads = torch.get_num_threads()
    with smoke_inputs(copy) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        rrl.networks.checkpoints.checkpoints.cache_clear()
        yield copy
    rrl.networks.checkpoints.checkpoints.cache_clear()
    prepare(threads, NATIVE)


def test_every_card_has_the_key_of_the_plan(in_copy: Path) -> None:
    pins = yaml.safe_load(Path("workflow/pins.yaml").read_text())
    plan = Plan(load_config(yaml.safe_load(CONFIG.read_text()), []), pins)
    assert len(plan.jobs) > 50
    for job in plan.jobs:
        assert read_card(RESULTS / f"{job.artifact}.json").key == job.key, job.artifact


@pytest.mark.parametrize("stage", MAINS)
def test_a_stage_makes_the_same_bytes_in_this_process(smoke: Path, in_copy: Path, stage: str) -> None:
    job = min((job for job in ran(smoke) if job.stage == stage), key=lambda job: len(job.words))
    for path in job.made:
        path.unlink()
    importlib.import_module(f"rrl.stages.{stage}").main(job.words)
    for path in job.made:
        assert path.exists(), path
        if not path.name.endswith(".run.json"):  # times, and the host
            assert path.read_bytes() == (smoke / path).read_bytes(), path
