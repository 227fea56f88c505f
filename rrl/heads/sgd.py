"""Training linear heads on features, and picking among them by either selection rule."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrl.bars import Bar
from rrl.config.settings import HeadTraining
from rrl.errors import UserError
from rrl.heads.cached import Data, Order
from rrl.heads.graphs import sweep_of
from rrl.heads.sweep import BatchNorm, Heads, evaluate, logits
from rrl.selection import SELECTED_ON, Best
from rrl.store.logits import LogitsFile
from rrl.training.randomness import generator
from rrl.training.schedule import learning_rates

HEAD_STD = 0.01  # of the initial weights; the paper's probes


@dataclass(frozen=True)
class Setting:
    learning_rate: float
    weight_decay: float


class Selection:
    """Remembers, for one rule, the head of the best setting at its best epoch, on the split that the rule picks on."""

    def __init__(self, rule: str):
        self.split = SELECTED_ON[rule]
        self.best = Best()
        self.setting = self.epoch = -1
        self.head: Heads | None = None

    def offer(self, heads: Heads, epoch: int, correct: list[int], losses: list[float]) -> None:
        for setting, score in enumerate(zip(correct, losses, strict=True)):
            if self.best.offer(*score):
                self.setting, self.epoch = setting, epoch
                self.head = None  # which may be as large as memory allows only once
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
    batch_norm: BatchNorm,
) -> tuple[dict[str, Selection], dict[str, Any]]:
    """One training of all settings on `data`, serving every rule in `rules`; each setting starts from `head`.

    head : weight (C, D) and bias (C,); heads are trained in their type.
    batch_norm : in front of the linear layer; "decayed": with weight decay on it too.
    Returns the selection of each rule, and curves: split -> {"correct", "loss"} -> (E, S). A split is
    evaluated only if a rule picks on it.
    """
    count, views = len(data.labels), data.features.shape[0]
    weight, bias = (part.to(data.device) for part in head)
    heads = Heads.create(weight, bias, len(settings), batch_norm)
    decays, factors = [setting.weight_decay for setting in settings], [setting.learning_rate for setting in settings]
    sweep = sweep_of(heads, decays, factors, training.momentum, training.nesterov, batch_norm)
    batch_size = min(training.batch_size, count)
    if batch_norm and 1 in (batch_size, count % batch_size):
        raise UserError(
            f"{count} images in batches of {batch_size} leave a batch of one image, which has no variance to "
            "normalise by; change probes.*.batch_size by one"
        )
    steps = training.steps_per_epoch or -(-count // batch_size)
    rates = learning_rates(training.schedule, 1.0, training.epochs, steps)
    batches = endless_batches(data, batch_size, generator("probe batches", training.seed))
    selections = {rule: Selection(rule) for rule in rules}
    curves: dict[str, Any] = {SELECTED_ON[rule]: {"correct": [], "loss": []} for rule in rules}
    with Bar("heads", "step", training.epochs * steps, kept=False) as bar:
        for epoch in range(training.epochs):
            for step in range(epoch * steps, (epoch + 1) * steps):
                features, labels = data.batch(epoch % views, *next(batches))
                losses = sweep.step(features, labels, rates[step])
                bar.add()
            _check(losses, settings, f"epoch {epoch + 1}: the loss")
            for split, curve in curves.items():
                correct, loss = evaluate(heads, evaluated[split].slices(heads.rows()))
                _check(loss, settings, f"epoch {epoch + 1}: the loss on {split}")
                curve["correct"].append(correct.tolist())
                curve["loss"].append(loss.tolist())
            for selection in selections.values():
                curve = curves[selection.split]
                selection.offer(heads, epoch, curve["correct"][-1], curve["loss"][-1])
    return selections, curves


def endless_batches(data: Data, batch_size: int, random: torch.Generator) -> Iterator[tuple[Order, int, int]]:
    """Pass after pass over the images; the last, smaller batch of a pass is used."""
    count = len(data.labels)
    while True:
        order = data.order(random)
        yield from ((order, start, min(start + batch_size, count)) for start in range(0, count, batch_size))


def _check(losses: Tensor, settings: list[Setting], what: str) -> None:
    """losses : (S,). Raises UserError if one is not finite."""
    if not torch.isfinite(losses).all():
        worst = settings[int((~torch.isfinite(losses)).nonzero()[0])]
        raise UserError(f"{what} of {worst} is not finite; remove it from the grid")


def scores_of(selection: Selection, data: Data) -> Iterator[npt.NDArray[np.float32]]:
    """Logits (rows, C) of a split by the head that was picked, block by block."""
    head = selection.head
    assert head is not None
    for features, _ in data.slices(head.rows()):
        yield logits(head, features.to(head.weight.dtype))[:, 0].cpu().numpy()


def all_scores(selection: Selection, data: dict[str, Data]) -> dict[str, npt.NDArray[np.float32]]:
    """Logits (N, C) of val and test by the head that was picked."""
    return {split: np.concatenate(list(scores_of(selection, data[split]))) for split in ("val", "test")}


def write_scores(
    file: LogitsFile, name: str, selection: Selection, data: dict[str, Data], classes: int
) -> dict[str, Any]:
    """Writes the logits of val and test by the head that was picked; returns them as datasets of the file."""
    return {
        split: file.add(name, split, (len(data[split].labels), classes), scores_of(selection, data[split]))
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
