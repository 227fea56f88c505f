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
    data: Split, transform: Transform, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass for training: images (B, channels, height, width) float32 and labels (B,)."""
    labels = torch.from_numpy(data.labels)
    for chosen in shuffled(len(labels), batch_size, generator("batches", seed, epoch)):
        yield inputs(data, chosen.numpy(), transform, f"train/{seed}/{epoch}"), labels[chosen]


def step_batches(
    data: Split, transform: Transform, batch_size: int, seed: int, epoch: int, steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch of `steps` steps, however many passes over the images that is; one pass follows
    the other without regard to epochs."""
    of_a_pass = -(-len(data.labels) // batch_size)
    first, skipped = divmod(epoch * steps, of_a_pass)
    passes = (epoch_batches(data, transform, batch_size, seed, number) for number in itertools.count(first))
    yield from itertools.islice(itertools.chain.from_iterable(passes), skipped, skipped + steps)


def plain_batches(data: Split, transform: Transform, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass for evaluation: in order, not augmented."""
    labels = torch.from_numpy(data.labels)
    for start in range(0, len(labels), batch_size):
        positions = np.arange(start, min(start + batch_size, len(labels)))
        yield inputs(data, positions, transform, None), labels[start : start + batch_size]
