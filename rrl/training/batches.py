"""Batches of images, in an order and with an augmentation that depend on a seed and the epoch only."""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rrl.targets.images import Split, inputs
from rrl.targets.transforms import Transform
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
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass for training: images (B, channels, height, width) float32 and labels (B,).

    share : the part of each batch that is made; all parts are in the same order on any number of processes.
    skipped : number of batches that are left out at the beginning; their images are not opened.
    """
    labels = torch.from_numpy(data.labels)
    order = shuffled(len(labels), batch_size, generator("batches", seed, epoch))
    for chosen in map(share, itertools.islice(order, skipped, None)):
        yield inputs(data, chosen.numpy(), transform, f"train/{seed}/{epoch}"), labels[chosen]


def step_batches(
    data: Split, transform: Transform, batch_size: int, seed: int, epoch: int, steps: int,
    skipped: int = 0, share: Share = whole,
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """The batches of an epoch of `steps` steps, however many passes over the images that is; one pass follows
    the other without regard to epochs. `share` and `skipped` as above."""
    of_a_pass = -(-len(data.labels) // batch_size)
    first, of_first = divmod(epoch * steps + skipped, of_a_pass)
    starts = itertools.chain([of_first], itertools.repeat(0))
    passes = (
        epoch_batches(data, transform, batch_size, seed, number, start, share)
        for number, start in zip(itertools.count(first), starts, strict=False)
    )
    yield from itertools.islice(itertools.chain.from_iterable(passes), steps - skipped)


def plain_batches(
    data: Split, transform: Transform, batch_size: int, share: Share = whole
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass for evaluation: in order, not augmented; of each batch the share."""
    labels = torch.from_numpy(data.labels)
    for start in range(0, len(labels), batch_size):
        positions = share(torch.arange(start, min(start + batch_size, len(labels))))
        yield inputs(data, positions.numpy(), transform, None), labels[positions]
