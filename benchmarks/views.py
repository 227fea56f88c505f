"""What caching the features of a few augmented views loses against augmenting anew in every epoch.

    python -m benchmarks.views --seeds 10 --threads 1 --networks results/demo/networks --output docs

Writes views.csv and views.svg into --output and prints the table. Linear probes on features of the demo's networks,
by the demo's probe with 28 epochs of one pass each. From the cache: v views through rrl.extract and rrl.heads, epoch e
on view e mod v; v = 1 is the plain images, v = 28 a view for each epoch. On-line: a plain PyTorch loop that augments
and runs the trunk in each step. Both start from the same heads and see the same batches; the draws of the augmentation
are independent of each other. Setting and epoch are picked on val, test is read once.
"""

import argparse
import copy
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import pandas as pd
import torch
import yaml
from scipy.stats import t as student
from torch import Tensor, nn

from rrl.architectures import JointTrunk, Trunk
from rrl.config import load_config
from rrl.device import prepare
from rrl.errors import UserError
from rrl.extract import extract_split
from rrl.figure import COLOURS, MARKERS, plt
from rrl.files import complete, write_text
from rrl.heads import Data, HeadTraining, Setting, initial_head, scores_of, train_heads
from rrl.images import Split, inputs, load_split
from rrl.provenance import read_card
from rrl.randomness import generator, shuffled
from rrl.shots import first_of_each_class
from rrl.stored_networks import load_trunk
from rrl.transforms import PaddedCrop

DEMO = Path(__file__).parent.parent / "workflow/config/demo.yaml"
AUGMENTATIONS = {"crop 2, flip": {"pad": 2, "flip": True}, "crop 1": {"pad": 1, "flip": False}}
ONLINE = 0  # in the column `views`
DTYPE, BATCH_SIZE = "float16", 250  # of the cache, as in the demo
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Task:
    """One probe: which images, which trunk, which training of which heads."""

    trunk: Trunk
    transform: PaddedCrop
    train: Split
    val: Data
    test: Data
    settings: list[Setting]
    training: HeadTraining

    @property
    def head(self) -> tuple[Tensor, Tensor]:
        return initial_head(int(self.test.labels.max()) + 1, self.trunk.feature_dim, self.training.seed)


def extracted(trunk: Trunk, split: Split, transform: PaddedCrop, draws: list[str | None], dtype: str = DTYPE) -> Data:
    """Features as the workflow caches them, read from the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.h5"
        extract_split(trunk, split, transform, draws, dtype, BATCH_SIZE, path, CPU)
        with h5py.File(path) as file:
            return Data(torch.from_numpy(file["features"][:]), torch.from_numpy(split.labels))


def from_cache(task: Task, draws: list[str | None], dtype: str = DTYPE) -> tuple[Tensor, float]:
    """Logits (N, C) of test, and the seconds spent on features."""
    started = time.perf_counter()
    train = extracted(task.trunk, task.train, task.transform, draws, dtype)
    seconds = time.perf_counter() - started
    data = {"val": task.val, "test": task.test}
    selections, _ = train_heads(task.head, train, data, ["heldout"], task.settings, task.training, batch_norm=True)
    return torch.from_numpy(scores_of(selections["heldout"], data)["test"]), seconds


def online_features(task: Task, positions: Tensor, draw: str) -> Tensor:
    with torch.no_grad():
        return task.trunk(inputs(task.train, positions.numpy(), task.transform, draw))


def online(task: Task, draws: list[str]) -> tuple[Tensor, float]:
    """The same by PyTorch's own means; `draws` has a name for each epoch. All heads share a trunk's pass."""
    weight, bias = task.head
    training, labels, seconds = task.training, torch.from_numpy(task.train.labels), 0.0
    heads, groups = [], []
    for setting in task.settings:
        norm, linear = nn.BatchNorm1d(weight.shape[1]), nn.Linear(*reversed(weight.shape))
        linear.load_state_dict({"weight": weight, "bias": bias})
        heads.append(nn.Sequential(norm, linear))
        groups.append({"params": linear.parameters(), "lr": setting.learning_rate, "weight_decay": setting.weight_decay})
        groups.append({"params": norm.parameters(), "lr": setting.learning_rate, "weight_decay": 0.0})
    optimizer = torch.optim.SGD(groups, momentum=training.momentum, nesterov=training.nesterov)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.epochs)
    order = generator("probe batches", training.seed)
    best, picked = (-1, 0.0), heads[0]
    for draw in draws:
        for chosen in shuffled(len(labels), training.batch_size, order):
            started = time.perf_counter()
            features = online_features(task, chosen, draw)
            seconds += time.perf_counter() - started
            optimizer.zero_grad()
            sum(nn.functional.cross_entropy(head(features), labels[chosen]) for head in heads).backward()
            optimizer.step()
        scheduler.step()
        for head in heads:
            scores = predicted(head, task.val)
            loss = float(nn.functional.cross_entropy(scores, task.val.labels))
            result = int((scores.argmax(1) == task.val.labels).sum()), -loss
            if result > best:
                best, picked = result, copy.deepcopy(head)
    return predicted(picked, task.test), seconds


@torch.no_grad()
def predicted(head: nn.Module, data: Data) -> Tensor:
    scores = head.eval()(data.features[0].float())
    head.train()
    return scores


def measure(arguments: argparse.Namespace) -> pd.DataFrame:
    """A row for each probe: where, method, network, seed, views, top1 in percent, seconds and those on features."""
    config = load_config(yaml.safe_load(DEMO.read_text()), [DEMO])
    demo = config.probes["demo"]
    settings = [Setting(rate, decay) for rate in demo.learning_rates for decay in demo.weight_decays]
    schedule = demo.schedule.model_dump()
    cards = sorted(arguments.networks.glob("erm-s?.json"))
    if len(cards) < max(arguments.sizes):
        raise UserError(f"{arguments.networks}: found {len(cards)} networks erm-s*; needed are {max(arguments.sizes)}")
    rows = []
    for target, augmentation in itertools.product(arguments.targets, AUGMENTATIONS):
        card = read_card(arguments.networks.parent / f"targets/{target}.json")
        transform = PaddedCrop(**config.targets[target].transform.model_dump() | AUGMENTATIONS[augmentation])
        trunks = [load_trunk(read_card(path), transform) for path in cards]
        splits = {split: load_split(card, split, arguments.data_root) for split in ("train", "val", "test")}
        for size, first in itertools.product(arguments.sizes, range(len(cards))):
            members = trunks[first : first + size]
            if len(members) < size:
                continue
            trunk = (members[0] if size == 1 else JointTrunk(members)).to(memory_format=torch.channels_last).eval()
            val, test = (extracted(trunk, splits[split], transform, [None]) for split in ("val", "test"))
            for shots, seed in itertools.product(arguments.shots, range(arguments.seeds)):
                train = splits["train"].take(first_of_each_class(splits["train"].labels, shots))
                training = HeadTraining(arguments.epochs, 0, 25, demo.momentum, demo.nesterov, schedule, seed)
                task = Task(trunk, transform, train, val, test, settings, training)
                where = {"augmentation": augmentation, "target": target, "shots": shots}
                who = {"method": f"CAT{size}" if size > 1 else "ERM", "network": first, "seed": seed}
                rows += [where | who | result for result in probes(task, [*arguments.views, arguments.epochs], target)]
            print(*where.values(), *who.values(), file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def probes(task: Task, views: list[int], target: str) -> list[dict[str, float]]:
    """One probe by each way, one behind the other, each time another first."""
    seed, epochs = task.training.seed, task.training.epochs
    ways: dict[int, Callable[[], tuple[Tensor, float]]] = {
        ONLINE: lambda: online(task, [f"on-line/{target}/train/{seed}/{epoch}" for epoch in range(epochs)])
    }
    for count in views:
        draws: list[str | None] = [f"cache/{target}/train/{seed}/{view}" for view in range(count)]
        ways[count] = lambda draws=[None] if count == 1 else draws: from_cache(task, draws)
    order = list(ways)
    results = []
    for count in order[seed % len(order) :] + order[: seed % len(order)]:
        started = time.perf_counter()
        scores, features = ways[count]()
        seconds = time.perf_counter() - started
        top1 = 100 * float((scores.argmax(1) == task.test.labels).double().mean())
        results.append({"views": count, "top1": top1, "seconds": seconds, "features": features})
    return results
