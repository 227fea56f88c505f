"""Features that stay on disk give the very numbers of features in memory."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from rrl.config.settings import Constant, HeadTraining
from rrl.heads import cached
from rrl.heads.cached import Data, OnDisk, Order, join, read_data
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.job import read_card
from rrl.selection import rules_by_training, training_images
from rrl.store.features import create
from rrl.store.read_features import Columns, open_features
from rrl.training.randomness import generator

D, C = 6, 3
SETTINGS = [Setting(0.1, 0.0), Setting(0.1, 0.1)]
TRAINING = HeadTraining(4, 0, 32, 0.9, True, Constant(name="constant"), seed=0)


def stored(path: Path, views: int, count: int) -> np.ndarray:
    """Features (V, N, D) in a file; labels go round the classes."""
    random = np.random.default_rng(count)
    labels = np.arange(count) % C
    features = (random.normal(size=(views, count, D)) + labels[:, None]).astype(np.float16)
    create(path, features.shape, "float16", labels)
    with h5py.File(path, "r+") as file:
        file["features"][:] = features
    return features


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Data], dict[str, Data]]:
    """The same splits in memory and on disk; pools of two chunks, some of them not whole."""
    monkeypatch.setattr(cached, "POOL", 2 * cached.CHUNK * D * 2)
    memory, disk = {}, {}
    for split, views, count in (("train", 2, 1300), ("val", 3, 700), ("test", 1, 300)):
        features = stored(tmp_path / f"{split}.h5", views, count)
        labels = torch.arange(count) % C
        memory[split] = Data(torch.from_numpy(features)[:, :, [2, 3, 4, 5, 0, 1]], labels)
        # side by side: columns 2.. and columns ..2 of one file, as the features would be of two
        file = open_features(tmp_path / f"{split}.h5")
        on_disk = OnDisk([[Columns(file, 2, D), Columns(file, 0, 2)]], views, torch.device("cpu"))
        disk[split] = Data(on_disk, labels)
    return memory, disk


@pytest.mark.parametrize("steps", [0, 7], ids=["an epoch is a pass", "an epoch ends within a pass"])
@pytest.mark.parametrize("shots", ["all", 20])
def test_a_probe_from_disk_is_that_from_memory(data, shots: int | str, steps: int) -> None:
    training = HeadTraining(4, steps, 32, 0.9, True, Constant(name="constant"), seed=0)
    for rules in rules_by_training(shots):
        images, from_disk = (training_images(of, rules[0], shots, join) for of in data)
        found = [
            train_heads(initial_head(C, D, 0), train, of, rules, SETTINGS, training, True)
            for train, of in zip((images, from_disk), data, strict=True)
        ]
        assert found[0][1] == found[1][1]
        for rule in rules:
            heads = [selections[rule].head for selections, _ in found]
            assert torch.equal(heads[0].weight, heads[1].weight)
            assert torch.equal(heads[0].variance, heads[1].variance)


def test_a_pass_has_every_image_once_and_pools_are_chunks(data) -> None:
    train = data[1]["train"]
    orders = [of["train"].order(generator("test")) for of in data]
    assert torch.equal(orders[0].positions, orders[1].positions)
    positions, starts = orders[0].positions, orders[0].starts
    assert sorted(positions.tolist()) == list(range(len(train.labels)))
    assert len(starts) == 3
    for start, stop in zip(starts, [*starts[1:], len(positions)], strict=True):
        pool = positions[start:stop]
        assert len((pool // cached.CHUNK).unique()) == 2
        assert not torch.equal(pool, pool.sort().values)
    again = train.order(generator("another"))
    assert not torch.equal(again.positions, positions)


def test_few_images_are_shuffled_as_one_pool() -> None:
    order = Order.draw(1000, 100, generator("test"))
    assert torch.equal(order.positions, torch.randperm(1000, generator=generator("test")))
    assert order.starts == [0]


def test_columns_and_joined_files(data) -> None:
    memory, disk = data
    for of in (memory, disk):
        both = join(of["train"], of["val"])
        assert tuple(both.features.shape) == (2, 2000, D)
        narrow = both.with_columns([(3, 6), (0, 1)])
        order = both.order(generator("test"))
        for start in range(0, 2000, 250):
            chosen = order.positions[start : start + 250]
            expected = torch.cat([memory["train"].features, memory["val"].features[1:]], 1)[1, chosen]
            features, labels = both.batch(1, order, start, start + 250)
            assert torch.equal(features, expected)
            assert torch.equal(labels, torch.cat([memory["train"].labels, memory["val"].labels])[chosen])
            assert torch.equal(narrow.batch(1, order, start, start + 250)[0], expected[:, [3, 4, 5, 0]])


def test_images_picked_from_disk(data) -> None:
    memory, disk = data
    chosen = np.array([1299, 3, 700, 256, 255])
    taken = [of["train"].take(chosen) for of in (memory, disk)]
    assert torch.equal(taken[0].features, taken[1].features)
    assert torch.equal(taken[0].labels, taken[1].labels)


def test_a_representation_is_held_where_it_is_small(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = read_card(tiny / "results/tiny/representations/mnist/cat2.json")
    held = read_data(card, torch.device("cpu"))
    monkeypatch.setattr(cached, "HELD", 1000)
    left = read_data(card, torch.device("cpu"))
    for split, of in held.items():
        assert isinstance(of.features, torch.Tensor)
        assert isinstance(left[split].features, OnDisk)
        assert torch.equal(left[split].features.read(0, 0, len(of.labels)), of.features[0])
