"""Batches of images, in an order and with an augmentation that depend on a seed and the epoch only."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from rrl.images import Split, inputs
from rrl.randomness import generator, shuffled
from rrl.transforms import Transform


def epoch_batches(
    data: Split, transform: Transform, batch_size: int, seed: int, epoch: int, skipped: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass for training: images (B, channels, height, width) float32 and labels (B,).

    skipped : number of batches that are left out at the beginning; their images are not opened.
    """
    labels = torch.from_numpy(data.labels)
    order = shuffled(len(labels), batch_size, generator("batches", seed, epoch))
    for chosen in itertools.islice(order, skipped, None):
        yield inputs(data, chosen.numpy(), transform, f"train/{seed}/{epoch}"), labels[chosen]


def step_batches(
    data: Split, transform: Transform, batch_size: int, seed: int, epoch: int, steps: int, skipped: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch of `steps` steps, however many passes over the images that is; one pass follows
    the other without regard to epochs. `skipped` as above."""
    of_a_pass = -(-len(data.labels) // batch_size)
    first, of_first = divmod(epoch * steps + skipped, of_a_pass)
    starts = itertools.chain([of_first], itertools.repeat(0))
    passes = (
        epoch_batches(data, transform, batch_size, seed, number, start)
        for number, start in zip(itertools.count(first), starts, strict=False)
    )
    yield from itertools.islice(itertools.chain.from_iterable(passes), steps - skipped)


def plain_batches(data: Split, transform: Transform, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass for evaluation: in order, not augmented."""
    labels = torch.from_numpy(data.labels)
    for start in range(0, len(labels), batch_size):
        positions = np.arange(start, min(start + batch_size, len(labels)))
        yield inputs(data, positions, transform, None), labels[start : start + batch_size]
