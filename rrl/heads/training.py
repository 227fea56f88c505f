"""Training linear heads on features by SGD: all settings of a grid at once, evaluated after each epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from rrl.bars import Bar
from rrl.config.settings import HeadTraining
from rrl.errors import UserError
from rrl.heads.cached import Data, Order
from rrl.heads.graphs import sweep_of
from rrl.heads.picking import Selection
from rrl.heads.sweep import BatchNorm, Heads, evaluate
from rrl.selection import SELECTED_ON
from rrl.training.randomness import generator
from rrl.training.schedule import learning_rates

HEAD_STD = 0.01  # of the initial weights; the paper's probes


@dataclass(frozen=True)
class Setting:
    learning_rate: float
    weight_decay: float


def grid_of(learning_rates: Sequence[float], weight_decays: Sequence[float]) -> list[Setting]:
    """Every learning rate with every weight decay."""
    return [Setting(rate, decay) for rate in learning_rates for decay in weight_decays]


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
    """Raises UserError if a loss (S,) is not finite."""
    if not torch.isfinite(losses).all():
        worst = settings[int((~torch.isfinite(losses)).nonzero()[0])]
        raise UserError(f"{what} of {worst} is not finite; remove it from the grid")


def selected(selection: Selection, settings: Sequence[Setting]) -> dict[str, Any]:
    """The setting that was picked, and its epoch, counted from 1."""
    return asdict(settings[selection.setting]) | {"epoch": selection.epoch + 1}


def grid_rows(settings: Sequence[Setting], curve: Any, images: int) -> list[dict[str, Any]]:
    """Each setting with its top-1 and loss after each epoch, on the `images` images that a rule picks on."""
    return [
        {
            **asdict(setting),
            "top1": [round(row[number] / images, 6) for row in curve["correct"]],
            "loss": [round(row[number], 6) for row in curve["loss"]],
        }
        for number, setting in enumerate(settings)
    ]
