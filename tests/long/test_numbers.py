"""Numbers that are none, and too few images: a message with the place, never a wrong number."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rrl.arithmetic import NATIVE
from rrl.config.settings import Constant, HeadTraining, PaddedCrop, Recipe
from rrl.data.images import Split
from rrl.errors import UserError
from rrl.heads.cached import Data
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.job import Job
from rrl.jobs.networks import Pretrain
from rrl.networks.stored_networks import save_network
from rrl.networks.trunks import Network, build_trunk
from rrl.stages.finetune import BestEpoch, Evaluation
from rrl.store.record import entry
from rrl.training.train import train
from tests.helpers.clones import copy_clone, run_snakemake, snakemake

CPU = torch.device("cpu")
RECIPE = Recipe(1, 4, 0.01, 0.9, True, 0.0, True, Constant("constant"), "float32")


@pytest.mark.parametrize(
    ("old", "new", "target", "stage", "said"),
    [
        ("learning_rate: 0.1\n", "learning_rate: 1.0e+20\n", "networks/erm-s0.json", "pretrain", r"epoch 1, step \d+: the loss is \S+; lower learning_rate"),
        ("learning_rates: [0.05, 0.1]", "learning_rates: [1.0e+20, 0.1]", "finetuned/erm-s0.mnist.heldout-lr100000000000000000000-wd0.0005-e2.json", "finetune", r"epoch 1(, step \d+)?: the loss (in evaluation )?is \S+; lower learning_rate"),
        ("learning_rates: [0.1]", "learning_rates: [1.0e+20]", "records/mnist/erm-s0/linear_probe.json", "probe", r"epoch 1: the loss (on val )?of Setting\(learning_rate=1e\+20, weight_decay=0.0\) is not finite; remove it from the grid"),
    ],
    ids=["pretrain", "finetune", "probe"],
)  # fmt: skip
def test_a_loss_that_is_not_finite_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, target: str, stage: str, said: str
) -> None:
    clone = copy_clone(tmp_path)
    config = clone / "workflow/config/tiny.yaml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new, 1))
    result = run_snakemake(clone, f"results/tiny/{target}")
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output
    assert re.search(rf"^results/tiny/logs/{stage}/\S+\.log: Error: {said}$", output, re.M), output
    assert not (clone / f"results/tiny/{target}").exists()


def test_fewer_images_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    """Of training, fine-tuning and probing."""
    found = []
    for batch_size, name in ((500, "all"), (10_000, "more")):
        (tmp_path / name).mkdir()
        clone = copy_clone(tmp_path / name)
        config = clone / "workflow/config/tiny.yaml"
        text = config.read_text()
        assert "batch_size: 50\n" in text and "train_per_class: 100" in text
        config.write_text(text.replace("batch_size: 50\n", f"batch_size: {batch_size}\n", 1))
        snakemake(clone, "results/tiny/networks/erm-s0.json")
        found.append(load_file(clone / "results/tiny/networks/erm-s0.safetensors"))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_a_network_with_numbers_that_are_not_finite_is_not_saved(tmp_path: Path) -> None:
    trunk = build_trunk("resnet8")
    next(trunk.parameters()).data[0] = math.inf
    settings = Pretrain(NATIVE, "resnet8", 0, RECIPE, PaddedCrop(mean=0.3, std=0.4, pad=0, flip=False))
    job = Job("pretrain", settings, (), tmp_path / "networks/wild.json")
    with pytest.raises(UserError, match=r"wild: trunk\.\S+ holds numbers that are not finite.*lower learning_rate"):
        save_network(job, {"trunk": trunk}, "resnet8", "pretrain", 0, {})
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_have_no_top1(value: float) -> None:
    labels = {split: np.array([0, 1]) for split in ("val", "test")}
    scores = {split: np.eye(2, dtype=np.float32) for split in ("val", "test")}
    assert entry(5, "heldout", 10, scores, labels, {}, None)["top1"] == 1.0
    scores["test"][1, 0] = value
    with pytest.raises(UserError, match="^shots 5, heldout: the logits of image 1 of test are not finite; lower"):
        entry(5, "heldout", 10, scores, labels, {}, None)


def test_an_evaluation_that_is_not_finite_stops_fine_tuning() -> None:
    """The last step of an epoch may be the one that is too large."""
    transform = PaddedCrop(mean=0.3, std=0.4, pad=0, flip=False)
    network = Network(build_trunk("resnet8"), 2)
    network.head.bias.data[0] = math.nan
    images = np.zeros((4, 28, 28), dtype=np.uint8)
    best = BestEpoch(network, Split(images, np.array([0, 1, 0, 1])), Evaluation(transform, 4, CPU))
    with pytest.raises(UserError, match="^epoch 3: the loss in evaluation is nan; lower learning_rate"):
        best(2)


def test_an_evaluation_that_is_not_finite_stops_a_probe() -> None:
    data = Data(torch.randn(1, 8, 4), torch.tensor([0, 1] * 4))
    wild = Data(torch.full((1, 8, 4), math.nan), data.labels)
    training = HeadTraining(1, 0, 4, 0.9, True, Constant("constant"), 0)
    with pytest.raises(UserError, match=r"^epoch 1: the loss on val of Setting\(.*\) is not finite; remove it from"):
        train_heads(initial_head(2, 4, 0), data, {"val": wild}, ["heldout"], [Setting(0.1, 0.0)], training, True)


def test_a_last_batch_of_one_image_that_batch_norm_cannot_normalise() -> None:
    """Where the features are one pixel large."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))

    def batches(*of: Any) -> Any:
        sizes: list[Tensor] = [torch.randn(4, 1, 2, 2), torch.randn(1, 1, 2, 2)]
        return ((images, torch.zeros(len(images), dtype=torch.int64)) for images in sizes)

    with pytest.raises(UserError, match="^epoch 1, step 2: a batch of one image has no variance.*change batch_size by"):
        train(network, batches, 2, RECIPE, CPU, after_epoch=lambda epoch: None)
