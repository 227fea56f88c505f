"""Training linear heads on features, and picking among them by either selection rule."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from rrl.errors import UserError
from rrl.features import read_split
from rrl.members import SPLITS
from rrl.provenance import Card
from rrl.randomness import generator, shuffled
from rrl.record import SELECTED_ON
from rrl.schedule import Schedule, learning_rates
from rrl.shots import first_of_each_class
from rrl.sweep import Heads, Sweep, evaluate, logits

HEAD_STD = 0.01  # of the initial weights; the paper's probes


@dataclass(frozen=True)
class HeadTraining:
    """How heads are trained. An epoch is `steps_per_epoch` steps, or one pass over the images where it is 0."""

    epochs: int
    steps_per_epoch: int
    batch_size: int
    momentum: float
    nesterov: bool
    schedule: Schedule
    seed: int


HEAD_TRAINING_FLAGS = {
    "epochs": "number of epochs; heads are evaluated after each",
    "steps_per_epoch": "steps of an epoch; 0 for one pass over the images",
    "batch_size": "images of a step; all images where there are fewer",
    "momentum": "momentum of SGD",
    "nesterov": "true or false",
    "schedule": "learning-rate schedule, JSON",
    "seed": "initial weights, where they are drawn, and batch order",
}


@dataclass
class Data:
    """features (V, N, D) in the type of the cache and labels (N,) of one split."""

    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Setting:
    learning_rate: float
    weight_decay: float


class Selection:
    """Remembers, for one rule, the best epoch of the best setting on the split that the rule picks on.

    Best is most images correct; of equals, the lower cross-entropy; of equals, the earlier one.
    """

    def __init__(self, rule: str):
        self.split = SELECTED_ON[rule]
        self.best = (-1, -math.inf)
        self.setting = self.epoch = -1
        self.head: Heads | None = None

    def offer(self, heads: Heads, epoch: int, correct: list[int], losses: list[float]) -> None:
        for setting, score in enumerate(zip(correct, (-loss for loss in losses), strict=True)):
            if score > self.best:
                self.best, self.setting, self.epoch = score, setting, epoch
                self.head = heads.of(setting)


def initial_head(classes: int, depth: int, seed: int) -> tuple[Tensor, Tensor]:
    """weight (C, D) and bias (C,) of a probe before training."""
    return torch.randn(classes, depth, generator=generator("head", seed)) * HEAD_STD, torch.zeros(classes)


def train_heads(
    head: tuple[Tensor, Tensor],
    data: Data,
    evaluated: dict[str, Data],
    rules: list[str],
    settings: list[Setting],
    training: HeadTraining,
    batch_norm: bool,
) -> tuple[dict[str, Selection], dict[str, Any]]:
    """One training of all settings on `data`, serving every rule in `rules`; each setting starts from `head`.

    head : weight (C, D) and bias (C,); heads are trained in their type.
    batch_norm : in front of the linear layer.
    Returns the selection of each rule, and curves: split -> {"correct", "loss"} -> (E, S). A split is
    evaluated only if a rule picks on it.
    """
    count, device = len(data.labels), data.features.device
    weight, bias = (part.to(device) for part in head)
    heads = Heads.create(weight, bias, len(settings), batch_norm)
    decays = weight.new_tensor([setting.weight_decay for setting in settings])
    factors = weight.new_tensor([setting.learning_rate for setting in settings])
    sweep = Sweep(heads, decays, factors, training.momentum, training.nesterov, batch_norm)
    batch_size = min(training.batch_size, count)
    if batch_norm and 1 in (batch_size, count % batch_size):
        raise UserError(
            f"{count} images in batches of {batch_size} leave a batch of one image, which has no variance to "
            "normalise by; change probes.*.batch_size by one"
        )
    steps = training.steps_per_epoch or -(-count // batch_size)
    rates = learning_rates(training.schedule, 1.0, training.epochs, steps)
    order = generator("probe batches", training.seed)
    batches: list[Tensor] = []
    selections = {rule: Selection(rule) for rule in rules}
    curves: dict[str, Any] = {SELECTED_ON[rule]: {"correct": [], "loss": []} for rule in rules}
    for epoch in range(training.epochs):
        view = data.features[epoch % len(data.features)]
        for step in range(epoch * steps, (epoch + 1) * steps):
            batches = batches or list(shuffled(count, batch_size, order))[::-1]
            chosen = batches.pop()
            losses = sweep.step(view[chosen].to(weight.dtype), data.labels[chosen], rates[step])
        _check(losses, settings, f"epoch {epoch + 1}: the loss")
        for split, curve in curves.items():
            correct, loss = evaluate(heads, evaluated[split].features[0], evaluated[split].labels)
            _check(loss, settings, f"epoch {epoch + 1}: the loss on {split}")
            curve["correct"].append(correct.tolist())
            curve["loss"].append(loss.tolist())
        for selection in selections.values():
            curve = curves[selection.split]
            selection.offer(heads, epoch, curve["correct"][-1], curve["loss"][-1])
    return selections, curves


def _check(losses: Tensor, settings: list[Setting], what: str) -> None:
    """losses : (S,). Raises UserError if one is not finite."""
    if not torch.isfinite(losses).all():
        worst = settings[int((~torch.isfinite(losses)).nonzero()[0])]
        raise UserError(f"{what} of {worst} is not finite; remove it from the grid")


def trainings(data: dict[str, Data], shots: int | str) -> list[tuple[list[str], Data]]:
    """The rules, and the images that they train on, for a number of shots."""
    train, val = data["train"], data["val"]
    if shots == "all":
        views = val.features[-len(train.features) :]  # its augmented views, or its plain one
        both = Data(torch.cat([train.features, views], dim=1), torch.cat([train.labels, val.labels]))
        return [(["heldout"], train), (["paper"], both)]
    assert isinstance(shots, int)
    chosen = torch.from_numpy(first_of_each_class(train.labels.cpu().numpy(), shots))
    return [(["heldout", "paper"], Data(train.features[:, chosen], train.labels[chosen]))]


def scores_of(selection: Selection, data: dict[str, Data]) -> dict[str, Any]:
    """Logits (N, C) of val and test by the head that was picked, as numpy arrays."""
    head = selection.head
    assert head is not None
    return {
        split: torch.cat(
            [logits(head, part.to(head.weight.dtype))[:, 0] for part in data[split].features[0].split(8192)]
        )
        .cpu()
        .numpy()
        for split in ("val", "test")
    }


def grid_rows(settings: list[Setting], curve: Any, images: int) -> list[dict[str, Any]]:
    """Each setting with its top-1 and loss after each epoch, on the `images` images that a rule picks on."""
    return [
        {
            **asdict(setting),
            "top1": [round(row[number] / images, 6) for row in curve["correct"]],
            "loss": [round(row[number], 6) for row in curve["loss"]],
        }
        for number, setting in enumerate(settings)
    ]


def read_data(representation: Card, device: torch.device) -> dict[str, Data]:
    """All splits of a representation."""
    data = {}
    for split in SPLITS:
        features, labels = read_split(representation, split)
        data[split] = Data(torch.from_numpy(features).to(device), torch.from_numpy(labels).to(device))
    return data
