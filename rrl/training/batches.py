"""Batches of images, in an order and with an augmentation that depend on a seed and the epoch only."""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rrl.config.settings import Transform
from rrl.data.images import Split
from rrl.data.reading import CPU, Pixels, read
from rrl.training.randomness import generator, shuffled

Share = Callable[[Tensor], Tensor]  # of the positions of a batch (B,), those that are wanted here


def whole(positions: Tensor) -> Tensor:
    """The share of one that shares with nobody."""
    return positions


def epoch_batches(
    data: Split,
    transform: Transform,
    batch_size: int,
    seed: int,
    epoch: int,
    skipped: int = 0,
    share: Share = whole,
    device: torch.device = CPU,
) -> Iterator[tuple[Tensor | Pixels, Tensor]]:
    """One pass for training: images (B, channels, height, width) float32 and labels (B,).

    share : the part of each batch that is made; all parts are in the same order on any number of processes.
    skipped : number of batches that are left out at the beginning; their images are not opened.
    device : that the batches are for.
    """
    labels = torch.from_numpy(data.labels)
    order = shuffled(len(labels), batch_size, generator("batches", seed, epoch))
    parts = list(map(share, itertools.islice(order, skipped, None)))
    images = read(data, transform, ((part.numpy(), f"train/{seed}/{epoch}") for part in parts), device)
    yield from ((made, labels[part]) for made, part in zip(images, parts, strict=True))


def step_batches(
    data: Split, transform: Transform, batch_size: int, seed: int, epoch: int, steps: int,
    skipped: int = 0, share: Share = whole, device: torch.device = CPU,
) -> Iterator[tuple[Tensor | Pixels, Tensor]]:  # fmt: skip
    """The batches of an epoch of `steps` steps, however many passes over the images that is; one pass follows
    the other without regard to epochs. `share`, `skipped` and `device` as above."""
    of_a_pass = -(-len(data.labels) // batch_size)
    first, of_first = divmod(epoch * steps + skipped, of_a_pass)
    starts = itertools.chain([of_first], itertools.repeat(0))
    passes = (
        epoch_batches(data, transform, batch_size, seed, number, start, share, device)
        for number, start in zip(itertools.count(first), starts, strict=False)
    )
    yield from itertools.islice(itertools.chain.from_iterable(passes), steps - skipped)


def plain_batches(
    data: Split, transform: Transform, batch_size: int, share: Share = whole, device: torch.device = CPU
) -> Iterator[tuple[Tensor | Pixels, Tensor]]:
    """One pass for evaluation: in order, not augmented; of each batch the share, for a device."""
    labels = torch.from_numpy(data.labels)
    parts = [share(part) for part in torch.arange(len(labels)).split(batch_size)]
    images = read(data, transform, ((part.numpy(), None) for part in parts), device)
    yield from ((made, labels[part]) for made, part in zip(images, parts, strict=True))
