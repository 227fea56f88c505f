"""Training linear heads on features, and picking among them by either selection rule."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rrl.errors import UserError
from rrl.randomness import generator
from rrl.record import SELECTED_ON
from rrl.schedule import Schedule, learning_rates
from rrl.sweep import Heads, Sweep, evaluate
from rrl.train import shuffled

HEAD_STD = 0.01  # of the initial weights; the paper's probes


@dataclass(frozen=True)
class Probe:
    """How heads are trained. An epoch is `steps_per_epoch` steps, or one pass over the images where it is 0."""

    epochs: int
    steps_per_epoch: int
    batch_size: int
    momentum: float
    nesterov: bool
    schedule: Schedule
    batch_norm: bool
    seed: int


PROBE_FLAGS = {
    "epochs": "number of epochs; heads are evaluated after each",
    "steps_per_epoch": "steps of an epoch; 0 for one pass over the images",
    "batch_size": "images of a step; all images where there are fewer",
    "momentum": "momentum of SGD",
    "nesterov": "true or false",
    "schedule": "learning-rate schedule, JSON",
    "batch_norm": "batch norm in front of the linear layer: true or false",
    "seed": "initial weights and batch order",
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


def shots_of_each_class(labels: Tensor, shots: int) -> Tensor:
    """Positions of the first `shots` images of each class. Raises UserError if a class has fewer."""
    chosen = []
    for label in labels.unique().tolist():
        positions = (labels == label).nonzero().squeeze(1)
        if len(positions) < shots:
            raise UserError(f"class {label}: found {len(positions)} training images, shots needs {shots}")
        chosen.append(positions[:shots])
    return torch.cat(chosen).sort().values


def train_heads(
    data: Data, evaluated: dict[str, Data], rules: list[str], classes: int, settings: list[Setting], probe: Probe
) -> tuple[dict[str, Selection], dict[str, Any]]:
    """One training of all settings on `data`, serving every rule in `rules`.

    Returns the selection of each rule, and curves: split -> {"correct", "loss"} -> (E, S). A split is
    evaluated only if a rule picks on it.
    """
    count, depth = data.features.shape[1:]
    weight = torch.randn(classes, depth, generator=generator("head", probe.seed)) * HEAD_STD
    heads = Heads.create(
        weight.to(data.features.device), torch.zeros(classes, device=data.features.device), len(settings)
    )
    device = data.features.device
    decays = torch.tensor([setting.weight_decay for setting in settings], device=device)
    factors = torch.tensor([setting.learning_rate for setting in settings], device=device)
    sweep = Sweep(heads, decays, factors, probe.momentum, probe.nesterov, probe.batch_norm)
    batch_size = min(probe.batch_size, count)
    if probe.batch_norm and 1 in (batch_size, count % batch_size):
        raise UserError(
            f"{count} images in batches of {batch_size} leave a batch of one image, which has no variance to "
            "normalise by; change probes.*.batch_size by one"
        )
    steps = probe.steps_per_epoch or -(-count // batch_size)
    rates = learning_rates(probe.schedule, 1.0, probe.epochs, steps)
    order = generator("probe batches", probe.seed)
    batches: list[Tensor] = []
    selections = {rule: Selection(rule) for rule in rules}
    curves: dict[str, Any] = {SELECTED_ON[rule]: {"correct": [], "loss": []} for rule in rules}
    for epoch in range(probe.epochs):
        view = data.features[epoch % len(data.features)]
        for step in range(epoch * steps, (epoch + 1) * steps):
            batches = batches or list(shuffled(count, batch_size, order))[::-1]
            chosen = batches.pop()
            losses = sweep.step(view[chosen].float(), data.labels[chosen], rates[step])
        if not torch.isfinite(losses).all():
            worst = settings[int((~torch.isfinite(losses)).nonzero()[0])]
            raise UserError(f"epoch {epoch + 1}: the loss of {worst} is not finite; remove it from the grid")
        for split, curve in curves.items():
            correct, loss = evaluate(heads, evaluated[split].features[0], evaluated[split].labels)
            curve["correct"].append(correct.tolist())
            curve["loss"].append(loss.tolist())
        for selection in selections.values():
            curve = curves[selection.split]
            selection.offer(heads, epoch, curve["correct"][-1], curve["loss"][-1])
    return selections, curves


def trainings(data: dict[str, Data], shots: int | str) -> list[tuple[list[str], Data]]:
    """The rules, and the images that they train on, for a number of shots."""
    train, val = data["train"], data["val"]
    if shots == "all":
        views = val.features[-len(train.features) :]  # its augmented views, or its plain one
        both = Data(torch.cat([train.features, views], dim=1), torch.cat([train.labels, val.labels]))
        return [(["heldout"], train), (["paper"], both)]
    assert isinstance(shots, int)
    chosen = shots_of_each_class(train.labels, shots)
    return [(["heldout", "paper"], Data(train.features[:, chosen], train.labels[chosen]))]
