"""How fast a training step is on the CPU, against a plain PyTorch loop: torch.optim.SGD, inputs prepared before.

    python -m benchmarks.training --threads 1

pretraining : rrl.training.train.train as the stages call it, batches made of images in memory by
rrl.training.batches.epoch_batches, augmented. fine-tuning : the same with step_batches and the recipe of the paper.
The plain loop has the same network, recipe and layout (channels_last), and reads its loss in each step. Beside it, of
the plain loop itself: what channels_last gains over the usual layout, and autocast to bfloat16 over float32.
"""

import argparse
import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.ratios import Seconds, interleaved, line, ratio
from rrl.arithmetic import NATIVE
from rrl.config.settings import Cosine, PaddedCrop, Photographs, Recipe, Transform, WarmupCosine
from rrl.data.images import Split
from rrl.networks.trunks import Network, build_trunk
from rrl.training.batches import epoch_batches, step_batches
from rrl.training.device import prepare
from rrl.training.train import Batches, train

CPU = torch.device("cpu")
CLASSES = 10
PHOTOGRAPHS = Photographs(
    size=224, resize=256, scale=[0.08, 1.0], interpolation="bilinear", flip=True, mean=[0.5] * 3, std=[0.5] * 3
)
PICTURES = PaddedCrop(mean=0.286, std=0.353, pad=2, flip=True)
WANTED = 0.95
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    name: str
    arch: str
    batch_size: int
    shape: tuple[int, ...]
    transform: Transform
    images: int
    rounds: int


CASES = {
    "resnet50": Case("resnet50, 224 px", "resnet50", 16, (256, 256, 3), PHOTOGRAPHS, images=32, rounds=3),
    "resnet8": Case("resnet8, 28 px", "resnet8", 128, (28, 28), PICTURES, images=60 * 128, rounds=15),
}


def pretraining(batch_size: int) -> Recipe:
    return Recipe(1, batch_size, 0.001, 0.9, True, 5e-4, True, WarmupCosine("warmup-cosine", 0.1), "float32")


def fine_tuning(batch_size: int) -> Recipe:
    return Recipe(1, batch_size, 0.001, 0.9, False, 5e-4, False, Cosine("cosine", 1e-7), "float32")


def some_images(case: Case, steps: int) -> Split:
    count = steps * case.batch_size
    images = np.random.default_rng(0).integers(0, 256, (count, *case.shape), dtype=np.uint8)
    return Split(images, np.arange(count) % CLASSES)


def network_of(case: Case, layout: torch.memory_format = torch.channels_last) -> Network:
    torch.manual_seed(0)
    return Network(build_trunk(case.arch), CLASSES).to(memory_format=layout)


def by_rrl(network: Network, batches: Batches, steps: int, recipe: Recipe) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        train(network, batches, steps, recipe, CPU, after_epoch=lambda _: None)


def plain(network: Network, batches: list[Batch], recipe: Recipe, bfloat16: bool = False) -> None:
    """One rate for all steps: schedules cost nothing here."""
    network.train()
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )  # fmt: skip
    for inputs, labels in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = nn.functional.cross_entropy(network(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def drain(batches: Iterator[Batch]) -> None:
    for _ in batches:
        pass


def measure(case: Case, steps: int, rounds: int) -> Seconds:
    data = some_images(case, steps)
    size, transform = case.batch_size, case.transform
    ready = list(epoch_batches(data, transform, size, 0, 0))
    pretrained, tuned, by_hand, other = (network_of(case) for _ in range(4))
    usual = network_of(case, torch.contiguous_format)

    def of_epoch(epoch: int, skipped: int) -> Iterator[Batch]:
        return epoch_batches(data, transform, size, 0, epoch, skipped)

    def of_steps(epoch: int, skipped: int) -> Iterator[Batch]:
        return step_batches(data, transform, size, 0, epoch, steps, skipped)

    works: dict[str, Callable[[], None]] = {
        "plain": lambda: plain(by_hand, ready, pretraining(size)),
        "pretraining": lambda: by_rrl(pretrained, of_epoch, steps, pretraining(size)),
        "prepared": lambda: by_rrl(pretrained, lambda *_: iter(ready), steps, pretraining(size)),
        "fine-tuning": lambda: by_rrl(tuned, of_steps, steps, fine_tuning(size)),
        "inputs": lambda: drain(of_epoch(0, 0)),
        "usual layout": lambda: plain(usual, ready, pretraining(size)),
        "bfloat16": lambda: plain(other, ready, pretraining(size), bfloat16=True),
    }
    return interleaved(works, rounds)


def told(case: Case, seconds: Seconds, steps: int) -> None:
    step = f"{1000 * min(seconds['plain']) / steps:.1f} ms per step of the plain loop"
    for stage in ("pretraining", "fine-tuning"):
        line(f"{stage}, {case.name} x {case.batch_size} / plain loop", ratio(seconds, stage, "plain"), WANTED, step)
    line(f"training, {case.name}, inputs prepared / plain loop", ratio(seconds, "prepared", "plain"), WANTED)
    share = 1 / ratio(seconds, "inputs", "pretraining")
    line(f"pretraining, {case.name}, inputs in percent of the step", 100 * share, None)
    line(f"plain loop, {case.name}, channels_last / usual layout", ratio(seconds, "plain", "usual layout"), None)
    line(f"plain loop, {case.name}, bfloat16 / float32", ratio(seconds, "bfloat16", "plain"), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--images", type=int, help="in a round; default: 32 for resnet50, 7,680 for resnet8")
    parser.add_argument("--rounds", type=int, help="default: 3 for resnet50, 15 for resnet8")
    arguments = parser.parse_args()
    prepare(arguments.threads, NATIVE)
    for name in arguments.networks:
        case = CASES[name]
        steps = -(-(arguments.images or case.images) // case.batch_size)
        told(case, measure(case, steps, arguments.rounds or case.rounds), steps)


if __name__ == "__main__":
    main()
