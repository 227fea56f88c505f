"""Features made up so that it is known which networks help, as the stages leave them."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rrl.arithmetic import NATIVE
from rrl.config.settings import Features, PaddedCrop
from rrl.job import Job, read_card
from rrl.jobs.networks import Extract
from rrl.store.features import create, finish
from rrl.store.members import SPLITS, parse_member
from rrl.store.read_features import file_digest
from tests.helpers import jobs

COUNTS = {"train": 160, "val": 300, "test": 200}
CLASSES = 4
Arrays = dict[str, np.ndarray[Any, Any]]  # split -> (views, N, D), or labels (N,)


def labels_of(seed: int = 0) -> Arrays:
    random = np.random.default_rng(seed)
    return {split: random.permutation(np.arange(count) % CLASSES).astype(np.int64) for split, count in COUNTS.items()}


LABELS = labels_of()


def network(seed: int, width: int, first: float = 0, second: float = 0, views: int = 1) -> Arrays:
    """Noise, and this much of the first and of the second bit of the label; a linear head needs both for four classes."""
    random = np.random.default_rng(seed)
    direction = random.normal(size=(2, width))
    features = {}
    for split, labels in LABELS.items():
        bits = first * (labels[:, None] // 2 - 0.5) * direction[0] + second * (labels[:, None] % 2 - 0.5) * direction[1]
        count = views if split == "train" else 1 + views if split == "val" and views > 1 else 1
        noise = random.normal(size=(count, len(labels), width))
        features[split] = (bits + noise).astype(np.float32)
    return features


NETWORKS = {
    "useless-s0": network(0, 30),
    "first-s0": network(1, 3, first=3.0),
    "second-s0": network(2, 4, second=2.0),
    "noise-s0": network(3, 20),
}


def extracted(root: Path, name: str, features: Arrays, labels: Arrays, parameters: int, seed: int) -> Path:
    """The card of a network's features, as the stage `extract` leaves them."""
    digests = {}
    folder = root / f"features/made-up/{name}"
    folder.mkdir(parents=True)
    for split in SPLITS:
        views, count, width = features[split].shape
        create(folder / "partial", (views, count, width), "float32", labels[split])
        with h5py.File(folder / "partial", "r+") as file:
            file["features"][:] = features[split]
        digests[split] = file_digest(folder / "partial")
        finish(folder / "partial", folder / f"{split}.h5", {"digest": digests[split]})
    facts = {"feature_dim": width, "digests": digests, "parameters": parameters, "seed": seed, "classes": CLASSES,
             "counts": COUNTS, "views": features["train"].shape[0]}  # fmt: skip
    card = folder.with_suffix(".json")
    kept = Features(views=facts["views"], dtype="float32", precision="float32", batch_size=seed + 1)
    settings = Extract(NATIVE, PaddedCrop(mean=0.0, std=1.0, pad=0, flip=False), kept)
    Job("extract", settings, (), card).write_card(digests["test"], facts)
    return card


def represented(
    root: Path, networks: dict[str, Arrays], members: list[str] | None = None, labels: Arrays = LABELS
) -> Path:
    """The card of the representation `all` of networks, or of columns of them; the networks have 100, 200, ... parameters."""
    members = members or list(networks)
    cards = {
        name: extracted(root, name, features, labels, 100 * number, seed=number)
        for number, (name, features) in enumerate(networks.items(), start=1)
    }
    inputs = [read_card(cards[parse_member(member).network]) for member in members]
    output = root / "representations/made-up/all.json"
    return jobs.run("represent", {"members": members}, inputs, output).path
