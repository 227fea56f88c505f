"""The one training loop."""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


def train(network: nn.Module, batches: Batches, steps_per_epoch: int, recipe: Recipe, device: torch.device) -> None:
    """Train `network` in place by cross-entropy.

    batches : epoch to an iterator of steps_per_epoch pairs, inputs (B, ...) and labels (B,) int64.
    Raises UserError at the first loss that is not finite, with its epoch and step.
    """
    optimizer = torch.optim.SGD(
        parameter_groups(network, recipe), lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov
    )
    rates = learning_rates(recipe.schedule, recipe.learning_rate, recipe.epochs, steps_per_epoch)
    loss_function = nn.CrossEntropyLoss()
    network.train()
    for epoch in range(recipe.epochs):
        correct = seen = 0
        total_loss = 0.0
        for step, (inputs, labels) in enumerate(batches(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = rates[epoch * steps_per_epoch + step]
            inputs, labels = inputs.to(device), labels.to(device)
            logits = network(inputs)
            loss = loss_function(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if not math.isfinite(loss.item()):
                raise UserError(f"epoch {epoch + 1}, step {step + 1}: the loss is {loss.item()}; lower learning_rate")
            total_loss += loss.item() * len(labels)
            correct += int((logits.argmax(1) == labels).sum())
            seen += len(labels)
        print(
            f"epoch {epoch + 1}/{recipe.epochs} loss {total_loss / seen:.4f} top1 {correct / seen:.4f}", file=sys.stderr
        )


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Two groups: what is decayed, and the parameters of normalisation layers where they are not."""
    norms = {
        id(parameter)
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
        for parameter in module.parameters()
    }
    spared = [p for p in network.parameters() if id(p) in norms and not recipe.decay_norm]
    decayed = [p for p in network.parameters() if id(p) not in norms or recipe.decay_norm]
    groups: list[dict[str, object]] = [{"params": decayed, "weight_decay": recipe.weight_decay}]
    return groups + ([{"params": spared, "weight_decay": 0.0}] if spared else [])


def shuffled(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Positions of one pass over `count` images in random order; the last, smaller batch is used."""
    yield from torch.randperm(count, generator=generator).split(batch_size)


def prepare(threads: int) -> torch.device:
    """Set the number of threads; the device to compute on.

    Deterministic algorithms are asked for on a GPU only: on the CPU the operations used here have no
    other, and asking imports a second of unrelated modules.
    """
    torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.use_deterministic_algorithms(True)
    return torch.device("cuda")
