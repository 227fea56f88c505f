"""Several processes train together, by torchrun, as one would alone, but for rounding."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import load_file

from rrl.training.processes import ALONE, Processes, given_gpus
from tests.helpers.clones import CLONE
from tests.helpers.trainings import SLOWLY, Stages
from workflow.run import failure

STAGES = ("pretrain", "finetune", "distill")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

# The loop in float64, so that nothing but rounding of the sixteenth digit may differ: 300 images in batches of
# argv[2], for argv[1].
IN_DOUBLE = """
import sys, torch
from rrl.networks.trunks import Network, build_trunk
from rrl.stages.distill import distillation
from rrl.training.processes import leave, meet
from rrl.config.settings import Constant, Recipe
from rrl.training.train import CLASSIFICATION, train
from rrl.training.training_state import Unsaved
torch.set_num_threads(1)
torch.manual_seed(0)
kind, size, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
network = Network(build_trunk("resnet8"), 6).double()
images = torch.randn(300, 1, 28, 28, dtype=torch.float64)
wanted = torch.arange(300) % 6 if kind == "labels" else torch.randn(300, 2, 3, dtype=torch.float64)
unsaved = Unsaved()
unsaved.processes = meet()
def batches(epoch, skipped):
    for chosen in torch.randperm(300, generator=torch.Generator().manual_seed(epoch)).split(size)[skipped:]:
        chosen = unsaved.processes.share(chosen)
        yield images[chosen], wanted[chosen]
recipe = Recipe(2, size, 0.1, 0.9, True, 5e-4, True, Constant("constant"), "float32")
objective = CLASSIFICATION if kind == "labels" else distillation(2.0)
train(network, batches, -(-300 // size), recipe, torch.device("cpu"), lambda epoch: None, objective, unsaved)
if unsaved.processes.first:
    torch.save(network.state_dict(), path)
leave()
"""


@pytest.mark.parametrize(("kind", "size"), [("labels", 299), ("teachers", 23)])  # 299: the second has none of the last
def test_two_processes_are_one(tmp_path: Path, kind: str, size: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(IN_DOUBLE)
    found, logs = [], []
    for command in ([sys.executable], TORCHRUN):
        words = [*command, str(script), kind, str(size), str(tmp_path / "network.pt")]
        environment = os.environ | {"PYTHONPATH": str(CLONE), "OMP_NUM_THREADS": "1"}
        result = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        found.append(torch.load(tmp_path / "network.pt"))
        logs.append(result.stderr)
    alone, together = found
    assert alone.keys() == together.keys() and not torch.equal(
        alone["trunk.stem.weight"], together["trunk.stem.weight"]
    )
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-11, atol=1e-12)
    assert logs[0] == logs[1]  # a line per epoch, of the first process alone


class Two(Stages):
    """The stages with two GPUs that are only named: two processes compute on the CPU. In this process, which names
    none, it is one."""

    gpus = 2

    def words(self, stage: str, **changed: Any) -> list[str]:
        return super().words(stage, **{"batch_size": 149, "epochs": 3, "learning_rate": 0.001, **changed})

    def start(self, stage: str, seconds: float | None = None) -> subprocess.Popen[str]:
        """As a job does; or, with seconds between saves, slowly."""
        how = ["-m", f"rrl.stages.{stage}"] if seconds is None else ["-c", SLOWLY, str(seconds), stage]
        command = [sys.executable] if seconds is None else [*TORCHRUN, "--shutdown-timeout=60", "--no-python"]
        command += [] if seconds is None else [sys.executable]
        environment = os.environ | {"PYTHONPATH": str(CLONE), "CUDA_VISIBLE_DEVICES": "0,1"}
        words = [*command, *how, *self.words(stage)]
        return subprocess.Popen(words, cwd=self.root, env=environment, stderr=subprocess.PIPE, text=True)

    def numbers(self, stage: str) -> dict[str, npt.NDArray[Any]]:
        """All that was computed: weights, logits."""
        folder = self.root / "networks"
        found = dict(load_file(folder / ("kept.safetensors" if stage == "finetune" else f"by-{stage}.safetensors")))
        if stage == "finetune":
            (logits,) = self.root.glob("finetuned/*.h5")
            with h5py.File(logits) as file:
                file.visititems(lambda name, of: found.update({name: of[:]}) if isinstance(of, h5py.Dataset) else None)
        self.taken(stage)
        return found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    return Two(tmp_path_factory.mktemp("two"))


def close(found: dict[str, npt.NDArray[Any]], expected: dict[str, npt.NDArray[Any]]) -> bool:
    """Whether they differ by the rounding of float32, and what nine steps make of it, at most."""
    assert found.keys() == expected.keys()
    return all(np.abs(found[name] - of).max() <= 1e-3 * max(1.0, np.abs(of).max()) for name, of in expected.items())


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_with_two_gpus_is_two_processes_that_stop_and_go_on(two: Two, stage: str) -> None:
    two.run(stage)
    alone = two.numbers(stage)
    process = two.start(stage)
    log = process.communicate()[1]
    assert process.returncode == 0, log
    assert len(re.findall("^epoch 1/3 ", log, re.M)) == 1 and "Warning" not in log
    together = two.numbers(stage)
    assert close(together, alone)
    assert any((together[name] != of).any() for name, of in alone.items())  # it were two

    process = two.start(stage, seconds=0.0)
    while process.poll() is None and not two.states():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    log = process.communicate()[1]
    assert process.returncode != 0
    assert len(re.findall("^SIGTERM: saved at epoch .*the same command goes on from the last save$", log, re.M)) == 1
    process = two.start(stage)
    log = process.communicate()[1]
    assert process.returncode == 0, log
    assert len(re.findall("^goes on at epoch", log, re.M)) == 1
    again = two.numbers(stage)
    assert all(np.array_equal(again[name], of) for name, of in together.items())


def test_the_loss_of_all_stops_all(two: Two) -> None:
    words = two.words("pretrain", learning_rate=1e20)
    environment = os.environ | {"PYTHONPATH": str(CLONE), "CUDA_VISIBLE_DEVICES": "0,1"}
    result = subprocess.run(
        [sys.executable, "-m", "rrl.stages.pretrain", *words],
        cwd=two.root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1 and not two.states()
    log = two.root / "log"
    log.write_text(result.stderr)
    assert re.search(r"^Error: epoch 1, step [23]: the loss is (nan|inf); lower learning_rate$", result.stderr, re.M)
    assert re.fullmatch(
        rf"{log}: Error: epoch 1, step [23]: the loss is \S+; lower learning_rate", failure(log, None, log)
    )


def test_shares_are_the_batch() -> None:
    for size in (0, 1, 2, 7, 8, 9):
        batch = torch.arange(size)
        assert torch.equal(torch.cat([Processes(rank, 8).share(batch) for rank in range(8)]), batch)
        assert ALONE.share(batch) is not None and torch.equal(ALONE.share(batch), batch)


@pytest.mark.parametrize(("named", "number"), [("0", 1), ("2,5", 2), ("", 0), ("GPU-8f3a,GPU-11c0,", 2)])
def test_given_gpus(monkeypatch: pytest.MonkeyPatch, named: str, number: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert given_gpus() == number
