"""The one training loop."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from rrl.bars import Bar
from rrl.config.settings import Recipe
from rrl.errors import UserError
from rrl.training.device import AHEAD, Coming, Movable, batches_on_device
from rrl.training.pooling import average_without_races
from rrl.training.processes import Processes
from rrl.training.schedule import learning_rates
from rrl.training.training_state import Group, Position, Unsaved

SECONDS_PER_LINE = 600.0  # of a log, in epochs that take longer


Batches = Callable[[int, int], Iterator[tuple[Tensor | Movable, Tensor]]]


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


class Tally:
    """Adds what each step came to to the sums of a position, `late` steps later. Asked for at once, a GPU's loss would
    keep the host waiting, and then the GPU for its next step."""

    def __init__(self, at: Position, processes: Processes, late: int):
        self.at, self.processes, self.late = at, processes, late
        self.waiting: deque[tuple[Coming, int, str]] = deque()

    def add(self, loss: Tensor, right: Tensor, images: int) -> None:
        """A step is over, with this loss, the mean over `images` images, of which so many were right."""
        self.at.step += 1
        where = f"epoch {self.at.epoch + 1}, step {self.at.step}"
        self.waiting.append((Coming(torch.stack([loss.detach().double(), right.double()])), images, where))
        self.settle(self.late)

    def settle(self, left: int = 0) -> None:
        """Count all steps but the last `left`. Raises UserError at the first whose loss is not finite."""
        while len(self.waiting) > left:
            coming, of_this, where = self.waiting.popleft()
            loss, right = coming.get().tolist()
            of_images = loss * of_this if of_this else 0.0
            total, right, images = self.processes.sums(of_images, right, of_this)
            if not math.isfinite(total):
                raise UserError(f"{where}: the loss is {total / images}; lower learning_rate")
            self.at.loss += total
            self.at.right += right
            self.at.seen += images


def train(
    network: nn.Module,
    batches: Batches,
    steps_per_epoch: int,
    recipe: Recipe,
    device: torch.device,
    after_epoch: Callable[[int], None],
    objective: Objective = CLASSIFICATION,
    saved: Unsaved | None = None,
) -> None:
    """Train `network` in place.

    batches : epoch, and number of its first batches to leave out, to an iterator of the rest of steps_per_epoch pairs:
    inputs (B, ...) and what is wanted of the outputs (B, ...), for classification labels (B,) int64. Where several
    processes train together, the share of this one.
    after_epoch : called with the number of each epoch, from 0, when it is over.
    saved : where the state is saved, whence a training that was killed goes on, and the processes that share it.
    Raises UserError at the first loss that is not finite, and at a batch of one image that batch norm cannot
    normalise, with epoch and step. On a GPU such a loss may be found a few steps late, before anything is saved.
    """
    groups: list[Group] = [
        (parameters, decay, [None] * len(parameters)) for parameters, decay in parameter_groups(network, recipe)
    ]
    rates = learning_rates(recipe.schedule, recipe.learning_rate, recipe.epochs, steps_per_epoch)
    mixed = recipe.precision == "bfloat16"
    saved = saved or Unsaved()
    at = Position()
    processes = saved.processes
    tally = Tally(at, processes, late=0 if device.type == "cpu" else AHEAD)
    if device.type == "cuda":
        average_without_races(network)
    forward = processes.shared(network)
    saved.begin(at, network, groups, after_epoch)
    steps, done = recipe.epochs * steps_per_epoch, at.epoch * steps_per_epoch + at.step
    with Bar("training", "step", steps, done=done, seconds=SECONDS_PER_LINE, shown=processes.first) as bar:
        while at.epoch < recipe.epochs:
            network.train()
            bar.what = f"epoch {at.epoch + 1}/{recipe.epochs}"
            for inputs, wanted in batches_on_device(batches(at.epoch, at.step), device):
                try:
                    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                        outputs = forward(inputs)
                except ValueError as error:  # of batch norm
                    if "more than 1 value per channel" not in str(error):
                        raise
                    where = f"epoch {at.epoch + 1}, step {at.step + 1}"
                    raise UserError(
                        f"{where}: a batch of one image has no variance to normalise by; change batch_size by one"
                    ) from None
                outputs = outputs.float() if mixed else outputs
                loss = objective.loss(outputs, wanted)
                network.zero_grad()
                processes.mean_loss(loss, outputs, len(wanted)).backward()
                for parameters, decay, velocities in groups:
                    descend(parameters, velocities, rates[at.epoch * steps_per_epoch + at.step], decay, recipe)
                tally.add(loss, objective.right(outputs, wanted), len(wanted))
                bar.add()
                saved.safe_point(tally.settle)
            tally.settle()
            result = f"loss {at.loss / at.seen:.4f} {objective.name} {at.right / at.seen:.4f}"
            saved.say(f"{bar.what} {result}")
            after_epoch(at.epoch)
            at.next_epoch()
            saved.safe_point()
    saved.end()


@torch.no_grad()
def descend(
    parameters: list[Tensor], velocities: list[Tensor | None], rate: float, decay: float, recipe: Recipe
) -> None:
    """One step of torch.optim.SGD on parameters that have gradients; velocities start as None.

    Its functional form: the optimizer class imports a second and a half of the compiler for its first step.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    assert len(gradients) == len(parameters)
    fused = parameters[0].is_cuda  # one kernel, which reads and writes everything once
    sgd(
        parameters, gradients, velocities, lr=rate, momentum=recipe.momentum, weight_decay=decay, dampening=0.0,
        nesterov=recipe.nesterov, maximize=False, foreach=not fused, fused=fused,
    )  # fmt: skip


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[tuple[list[Tensor], float]]:
    """Parameters and their weight decay, in two groups: those of normalisation layers may be spared.

    "published" spares what has `bn` in its name, which in a ResNet leaves decay on the batch norm of its shortcuts
    (`downsample.1`), and in a vision transformer on every layer norm. Source: optimizer_config in src/utils.py of
    github.com/TjuJianyu/RRL.
    """
    norms = {
        id(parameter)
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
        for parameter in module.parameters()
    }
    spared: list[Tensor] = []
    decayed: list[Tensor] = []
    for name, parameter in network.named_parameters():
        sparing = "bn" in name if recipe.decay_norm == "published" else id(parameter) in norms and not recipe.decay_norm
        (spared if sparing else decayed).append(parameter)
    return [(decayed, recipe.weight_decay)] + ([(spared, 0.0)] if spared else [])
