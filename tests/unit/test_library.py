"""The protocol on modules and arrays, and the README's example of it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rrl.errors import UserError
from rrl.job import read_card
from rrl.library import concatenate, extract, probe
from rrl.networks import load
from rrl.store.read_features import read_split
from tests.helpers.clones import CLONE


def test_the_example_of_the_readme_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", (CLONE / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 12
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["features"].shape == (120, 512 + 1024) and 0 <= names["result"].top1 <= 1


def test_features_are_those_of_the_workflow(tiny: Path) -> None:
    """The demo's network on the demo's images, extracted here and there (where they are kept as float16)."""
    from rrl.config.settings import PaddedCrop
    from rrl.data.images import load_split, normalise

    root = tiny / "results/tiny"
    data = load_split(read_card(root / "targets/mnist.json"), "test", tiny / "data")
    images = normalise(data.images, PaddedCrop(0.286, 0.353, 0, False))
    networks = [load(root / f"networks/erm-s{seed}.safetensors") for seed in (0, 1)]
    ours = concatenate([extract(network, images, batch_size=250) for network in networks])
    theirs, labels = read_split(read_card(root / "representations/mnist/cat2.json"), "test")
    np.testing.assert_allclose(ours, theirs[0].astype(np.float32), atol=2e-3, rtol=1e-3)
    assert labels.tolist() == data.labels.tolist()


def separable(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    return (np.eye(3)[labels] * 4 + random.normal(size=(count, 3))).astype(np.float32), labels


def test_a_probe_learns_what_can_be_learnt() -> None:
    result = probe(separable(300, 0), separable(200, 1), separable(400, 2), learning_rates=(0.1,))
    assert result.top1 > 0.95 and result.interval[0] < result.top1 < result.interval[1]
    assert result.logits.shape == (400, 3) and result.weight_decay in (1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2)
    features, labels = separable(300, 0)
    chance = probe((features, np.random.default_rng(3).permutation(labels)), separable(200, 1), separable(400, 2))
    assert chance.top1 < 0.7


class Broken(nn.Module):
    def __init__(self, value: torch.Tensor):
        super().__init__()
        self.value = value

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.value


def test_mistakes_are_named() -> None:
    images = torch.rand(3, 1, 4, 4)
    with pytest.raises(UserError, match=r"gives \(3, 1, 4, 4\); must be features \(images, D\)"):
        extract(nn.Identity(), images)
    with pytest.raises(UserError, match="image 1: its features are not finite"):
        extract(Broken(torch.tensor([[0.0], [float("nan")], [0.0]])), images)
    with pytest.raises(UserError, match=r"features of \[3, 2\] images"):
        concatenate([np.zeros((3, 1), np.float32), np.zeros((2, 1), np.float32)])
    good = separable(30, 0)
    with pytest.raises(UserError, match=r"val: features and labels of shapes \(30, 3\) and \(29,\)"):
        probe(good, (good[0], good[1][:-1]), good)
    with pytest.raises(UserError, match="features of {'train': 3, 'val': 2, 'test': 3}"):
        probe(good, (good[0][:, :2], good[1]), good)
    with pytest.raises(UserError, match="test: labels from -1"):
        probe(good, good, (good[0], good[1] - 1))
