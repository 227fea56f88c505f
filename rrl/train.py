"""The one training loop."""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from rrl.errors import UserError
from rrl.schedule import Schedule, learning_rates


@dataclass(frozen=True)
class Recipe:
    """How a network is trained by SGD. `decay_norm`: weight decay on normalisation layers too."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    nesterov: bool
    weight_decay: float
    decay_norm: bool
    schedule: Schedule


RECIPE_FLAGS = {
    "epochs": "passes over the training split",
    "batch_size": "images of a step",
    "learning_rate": "base learning rate",
    "momentum": "momentum of SGD",
    "nesterov": "true or false",
    "weight_decay": "L2 penalty of SGD",
    "decay_norm": "weight decay on normalisation layers too: true or false",
    "schedule": "learning-rate schedule, JSON",
}

Batches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Objective:
    """What a network is trained for, as functions of its outputs (B, ...) and of what is wanted of them (B, ...).

    loss : the mean over the batch.
    right : how many images of the batch are right; the log has their share, called `name`.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    right: Callable[[Tensor, Tensor], Tensor]
    name: str


CLASSIFICATION = Objective(
    loss=nn.functional.cross_entropy, right=lambda logits, labels: (logits.argmax(1) == labels).sum(), name="top1"
)


def train(
    network: nn.Module,
    batches: Batches,
    steps_per_epoch: int,
    recipe: Recipe,
    device: torch.device,
    after_epoch: Callable[[int], None],
    objective: Objective = CLASSIFICATION,
) -> None:
    """Train `network` in place.

    batches : epoch to an iterator of steps_per_epoch pairs, inputs (B, ...) and what is wanted of the outputs (B, ...):
    for classification, labels (B,) int64.
    after_epoch : called with the number of each epoch, from 0, when it is over.
    Raises UserError at the first loss that is not finite, with its epoch and step.
    """
    groups: list[tuple[list[Tensor], float, list[Tensor | None]]] = [
        (parameters, decay, [None] * len(parameters)) for parameters, decay in parameter_groups(network, recipe)
    ]
    rates = learning_rates(recipe.schedule, recipe.learning_rate, recipe.epochs, steps_per_epoch)
    for epoch in range(recipe.epochs):
        network.train()
        seen = 0
        total_loss = right = 0.0
        for step, (inputs, wanted) in enumerate(batches(epoch)):
            inputs, wanted = inputs.to(device), wanted.to(device)
            outputs = network(inputs)
            loss = objective.loss(outputs, wanted)
            network.zero_grad()
            loss.backward()
            for parameters, decay, velocities in groups:
                descend(parameters, velocities, rates[epoch * steps_per_epoch + step], decay, recipe)
            if not math.isfinite(loss.item()):
                raise UserError(f"epoch {epoch + 1}, step {step + 1}: the loss is {loss.item()}; lower learning_rate")
            total_loss += loss.item() * len(wanted)
            right += float(objective.right(outputs, wanted))
            seen += len(wanted)
        print(
            f"epoch {epoch + 1}/{recipe.epochs} loss {total_loss / seen:.4f} {objective.name} {right / seen:.4f}",
            file=sys.stderr,
        )
        after_epoch(epoch)


@torch.no_grad()
def descend(
    parameters: list[Tensor], velocities: list[Tensor | None], rate: float, decay: float, recipe: Recipe
) -> None:
    """One step of torch.optim.SGD on parameters that have gradients; velocities start as None.

    Its functional form: the optimizer class imports a second and a half of the compiler for its first step.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    assert len(gradients) == len(parameters)
    sgd(
        parameters, gradients, velocities, lr=rate, momentum=recipe.momentum, weight_decay=decay, dampening=0.0,
        nesterov=recipe.nesterov, maximize=False, foreach=True,
    )  # fmt: skip


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[tuple[list[Tensor], float]]:
    """Parameters and their weight decay, in two groups: those of normalisation layers may be spared."""
    norms = {
        id(parameter)
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
        for parameter in module.parameters()
    }
    spared: list[Tensor] = [p for p in network.parameters() if id(p) in norms and not recipe.decay_norm]
    decayed: list[Tensor] = [p for p in network.parameters() if id(p) not in norms or recipe.decay_norm]
    return [(decayed, recipe.weight_decay)] + ([(spared, 0.0)] if spared else [])
