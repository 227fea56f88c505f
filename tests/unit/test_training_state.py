"""Trainings that are killed go on from their last save and make the same bytes."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rrl.arithmetic import NATIVE
from rrl.config.settings import PaddedCrop, Recipe
from rrl.data import reading
from rrl.data.images import Split
from rrl.errors import UserError
from rrl.job import Job
from rrl.jobs.networks import Pretrain
from rrl.stages.finetune import BestEpoch, Evaluation
from rrl.training import batches, training_state
from rrl.training import train as loop
from rrl.training.train import train
from rrl.training.training_state import Saved
from tests.helpers.trainings import EPOCHS, RECIPE, RUN, STEPS, Stages

torch.set_num_threads(1)
CPU = torch.device("cpu")
PLAIN = PaddedCrop(0.0, 1.0, 0, False)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    made = Stages(tmp_path_factory.mktemp("stages"))
    made.put_the_best_epoch_inside()
    return made


Stop = Callable[..., None]


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """SIGTERM for this process in a step, or in an evaluation, of what runs next; counted from 1.

    It comes when the first of two groups of parameters was moved and the other was not.
    """
    descend, plain_batches = loop.descend, batches.plain_batches
    steps, evaluated = 0, 0
    stops: dict[str, int] = {}

    def counted(parameters: Any, velocities: Any, rate: float, decay: float, recipe: Recipe) -> None:
        nonlocal steps
        descend(parameters, velocities, rate, decay, recipe)
        steps += decay > 0
        if steps == stops.get("step"):
            os.kill(os.getpid(), signal.SIGTERM)

    def evaluation(*of: Any) -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal evaluated
        evaluated += 1
        if evaluated == stops.get("evaluation"):
            os.kill(os.getpid(), signal.SIGTERM)
        yield from plain_batches(*of)

    def set_(**of: int) -> None:
        nonlocal steps, evaluated
        steps = evaluated = 0
        stops.clear()
        stops.update(of)

    monkeypatch.setattr(loop, "descend", counted)
    monkeypatch.setattr("rrl.stages.finetune.plain_batches", evaluation)
    return set_


def stopped(run: Callable[[], None]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 143 and signal.getsignal(signal.SIGTERM) is before


# Stages that are stopped


@pytest.mark.parametrize("stage", ["pretrain", "finetune", "distill"])
def test_stages_of_this_file_are_long_enough(stages: Stages, stage: str) -> None:
    names = {"finetune": {f"{RUN}.h5", f"{RUN}.json", "kept.json", "kept.safetensors"}}
    plain = {f"by-{stage}.json", f"by-{stage}.safetensors"}
    assert set(stages.expected[stage]) == names.get(stage, plain)
    assert stages.made(stage) == stages.expected[stage]


@pytest.mark.parametrize(
    ("stage", "steps"),
    [
        ("pretrain", [1]), ("pretrain", [STEPS]), ("pretrain", [6, 3]), ("pretrain", [STEPS * EPOCHS]),
        ("distill", [7]), ("distill", [10, 1, 5]),
        ("finetune", [2]), ("finetune", [6]), ("finetune", [11]), ("finetune", [15]), ("finetune", [19]),
        ("finetune", [3, 11]), ("finetune", [9, 9]), ("finetune", [STEPS * EPOCHS]),
    ],
)  # fmt: skip
def test_a_stopped_training_goes_on_to_the_same_bytes(
    stages: Stages, stop: Stop, capsys: pytest.CaptureFixture[str], stage: str, steps: list[int]
) -> None:
    """steps : number of the step in which each run of the job is stopped."""
    done = 0
    for step in steps:
        stop(step=step)
        capsys.readouterr()
        stopped(lambda: stages.run(stage))
        done += step
        at = f"epoch {(done - 1) // STEPS + 1}, step {(done - 1) % STEPS + 1}"
        last = capsys.readouterr().err.splitlines()[-1]
        (state,) = stages.states()
        expected = f"SIGTERM: saved at {at}, in {state.parent}; the same command goes on from the last save"
        assert last == expected
        assert not any(path.name.endswith(".partial") for path in stages.unfinished())
    stop()
    stages.run(stage)
    assert f"goes on at {at}, from {state.parent}" in capsys.readouterr().err.splitlines()
    assert stages.taken(stage) == stages.expected[stage]


@pytest.mark.parametrize("evaluation", range(1, EPOCHS + 1))
def test_stopped_while_it_evaluates(
    stages: Stages, stop: Stop, capsys: pytest.CaptureFixture[str], evaluation: int
) -> None:
    stop(evaluation=evaluation)
    stopped(lambda: stages.run("finetune"))
    assert f"saved at epoch {evaluation}, step {STEPS}, in" in capsys.readouterr().err
    stop()
    stages.run("finetune")
    assert stages.taken("finetune") == stages.expected["finetune"]


def test_saved_after_every_step_and_batch_of_evaluation(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_state, "SECONDS", 0.0)
    assert stages.made("finetune") == stages.expected["finetune"]


def test_killed_after_the_last_epoch(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A long training is saved once more when it is over: what follows can take long."""
    with monkeypatch.context() as patched:
        patched.setattr(training_state, "SECONDS", 0.0)
        patched.setattr("rrl.stages.finetune.write_logits", lambda *of: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stages.run("finetune")
    (stages.root / "networks/kept.json").unlink()
    capsys.readouterr()
    stages.run("finetune")
    log = capsys.readouterr().err
    before, goes_on, after = log.partition(f"goes on at epoch {EPOCHS + 1}, step 0")
    assert goes_on and before.count("epoch ") == EPOCHS and f"epoch {EPOCHS}/" not in after
    assert stages.taken("finetune") == stages.expected["finetune"]


# States that are not used


def test_short_jobs_write_no_state(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*of: Any) -> None:
        raise AssertionError("a folder was claimed")

    monkeypatch.setattr(training_state, "claim", refuse)
    assert stages.made("pretrain") == stages.expected["pretrain"]


def test_a_state_of_another_key_is_never_used(stages: Stages, stop: Stop, capsys: pytest.CaptureFixture[str]) -> None:
    stop()
    other = stages.made("pretrain", seed=4)
    stop(step=6)
    stopped(lambda: stages.run("pretrain"))
    (state,) = stages.states()
    stop()
    capsys.readouterr()
    stages.run("pretrain", seed=4)
    assert "goes on" not in capsys.readouterr().err and state.exists()
    content = state.read_bytes()
    stages.run("pretrain")  # takes its own away
    stages.taken("pretrain")

    stop(step=2)
    stopped(lambda: stages.run("pretrain", seed=4))
    (own,) = stages.states()
    own.unlink()
    (own.parent / state.name).write_bytes(content)
    stop()
    capsys.readouterr()
    stages.run("pretrain", seed=4)
    assert f"{own.parent / state.name}: of another job, not used\ntraining starts anew" in capsys.readouterr().err
    assert stages.taken("pretrain") == other


def shorten(content: bytes) -> bytes:
    return content[:-1000]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
@pytest.mark.parametrize("spoil", [shorten, flip, lambda content: b""], ids=["shortened", "flipped", "empty"])
def test_a_spoilt_state_is_refused(
    stages: Stages, stop: Stop, capsys: pytest.CaptureFixture[str], stage: str, spoil: Callable[[bytes], bytes]
) -> None:
    stop(step=6)
    stopped(lambda: stages.run(stage))
    (state,) = stages.states()
    state.write_bytes(spoil(state.read_bytes()))
    stop()
    capsys.readouterr()
    stages.run(stage)
    log = capsys.readouterr().err
    assert f"{state}: damaged, not used\ntraining starts anew\n" in log and "goes on" not in log
    assert stages.taken(stage) == stages.expected[stage]


def test_a_state_that_was_cut_off_while_it_was_written_is_not_seen(
    stages: Stages, stop: Stop, capsys: pytest.CaptureFixture[str]
) -> None:
    stop(step=6)
    stopped(lambda: stages.run("pretrain"))
    (state,) = stages.states()
    (state.parent / "state.partial").write_bytes(state.read_bytes()[:1000])
    stop()
    capsys.readouterr()
    stages.run("pretrain")
    assert "goes on at epoch 2, step 2" in capsys.readouterr().err
    assert stages.taken("pretrain") == stages.expected["pretrain"]


def test_a_full_disk_costs_the_saves_only(
    stages: Stages, stop: Stop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """tests/long/test_full_disk.py fills a real one."""
    save = torch.save
    monkeypatch.setattr(training_state, "SECONDS", 0.0)
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr("torch.save", lambda state, file: save(state, full))
        stop()
        stages.run("pretrain")
    assert ": could not save (" in capsys.readouterr().err
    assert stages.taken("pretrain") == stages.expected["pretrain"]


def test_a_folder_in_use_is_refused(stages: Stages, stop: Stop) -> None:
    stop(step=6)
    stopped(lambda: stages.run("pretrain"))
    process = stages.start("pretrain", 0.0)
    (state,) = stages.states()
    try:
        while process.poll() is None and state.exists():
            time.sleep(0.01)
        stop()
        with pytest.raises(UserError, match="in use by process .*; wait for it or end it, then run again"):
            stages.run("pretrain")
    finally:
        process.communicate()
    assert stages.taken("pretrain") == stages.expected["pretrain"]


# The loop and the batches


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_random_states_and_missing_velocities_are_kept(tmp_path: Path, stop: Stop, momentum: float) -> None:
    recipe = replace(RECIPE, momentum=momentum, nesterov=momentum > 0, epochs=3)
    x = torch.rand(8, 4, 6, generator=torch.Generator().manual_seed(0))
    y = torch.arange(32).view(8, 4) % 3
    settings = Pretrain(NATIVE, "resnet8", 0, recipe, PLAIN)
    job = Job("pretrain", settings, (), tmp_path / "networks/a.json")

    def trained() -> dict[str, Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        network[1].register_buffer("unsaved", torch.zeros(1), persistent=False)
        data = list(zip(x, y, strict=True))
        with Saved(job) as saved:
            train(network, lambda epoch, skipped: iter(data[skipped:]), 8, recipe, CPU, lambda epoch: None, saved=saved)
        return network.state_dict()

    stop()
    whole = trained()
    for step in (3, 8, 13):
        stop(step=step)
        stopped(trained)  # type: ignore[arg-type]
        stop()
        torch.rand(7)
        resumed = trained()
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_the_best_state_before_any_evaluation_is_none() -> None:
    network: Any = nn.Linear(2, 2)
    best, other = (BestEpoch(network, Split(np.zeros(2), np.zeros(2)), Evaluation(PLAIN, 1, CPU)) for _ in range(2))
    other.restore(best.state())
    assert other.tensors == {} and other.epoch == -1


def test_skipped_batches_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    inputs = reading.inputs

    def counted(data: Split, positions: Any, *of: Any) -> Tensor:
        opened.append(len(positions))
        return inputs(data, positions, *of)

    monkeypatch.setattr(reading, "inputs", counted)
    noise = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    data = Split(noise, np.arange(10))
    moving = PaddedCrop(0.3, 0.4, 2, True)
    for steps, epoch in itertools.product((1, 2, 3, 5, 7), (0, 1, 3)):
        whole = list(batches.step_batches(data, moving, 4, 7, epoch, steps))
        for skipped in range(steps + 1):
            opened.clear()
            rest = list(batches.step_batches(data, moving, 4, 7, epoch, steps, skipped))
            assert len(opened) == len(rest) == steps - skipped
            for (images, labels), (a, b) in zip(rest, whole[skipped:], strict=True):
                assert torch.equal(images, a) and torch.equal(labels, b)
