"""Batches of a network's inputs, one after the other.

For the CPU they are made when they are asked for, by its threads. For a GPU they are made ahead by processes of their
own, since threads of Python hold each other up: sixteen decoded 2.5 times as many pictures as one. What comes from
there are pixels, a quarter of the bytes, which the GPU normalises itself. Grey images in memory, which are neither
decoded nor resized, are made by the thread that asks: to crop one takes 6 us, to receive it from another process 30.
"""

import atexit
import ctypes
import gc
import itertools
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrl.config.settings import PaddedCrop, Transform
from rrl.data.images import Split, inputs, pixels_of

CPU = torch.device("cpu")
CHUNK = 32  # images that a process makes at once
AHEAD = 2  # chunks that each process is given before the first is fetched
PR_SET_PDEATHSIG = 1  # of linux/prctl.h: the signal that a process gets when the thread that forked it ends
KEPT = 2  # splits whose processes stay: training alternates with evaluation

Wanted = tuple[npt.NDArray[np.int64], str | None]  # positions (B,), and the draw of their augmentation


@dataclass(frozen=True)
class Pixels:
    """Images (B, height, width, channels) uint8, and how they become inputs."""

    values: Tensor
    transform: Transform

    def __len__(self) -> int:
        return len(self.values)

    def on(self, device: torch.device) -> Tensor:
        """As inputs (B, channels, height, width) float32, channels last, on a device. Does not wait for it."""
        there = self.values.pin_memory() if device.type == "cuda" else self.values
        numbers = np.atleast_1d(self.transform.mean).tolist(), np.atleast_1d(self.transform.std).tolist()
        whole, mean, std = _constants(tuple(numbers[0]), tuple(numbers[1]), device)
        scaled = there.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(whole)
        return scaled.sub_(mean).div_(std)


@cache
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """255, mean and standard deviation, as (channels, 1, 1) on the device. Tensors: a GPU divides by a number by
    multiplying with its inverse, which rounds twice."""
    values = np.array([[255] * len(mean), mean, std], np.float32)
    whole, means, deviations = torch.from_numpy(values)[:, :, None, None].to(device)
    return whole, means, deviations


def read(
    data: Split, transform: Transform, wanted: Iterable[Wanted], device: torch.device = CPU
) -> Iterator[Tensor | Pixels]:
    """The images at the positions of each item of `wanted`, in order: `inputs`, or for a GPU what becomes them there.

    Raises UserError like `inputs`.
    """
    if device.type == "cpu":
        for positions, draw in wanted:
            yield inputs(data, positions, transform, draw)
    elif isinstance(transform, PaddedCrop):
        for positions, draw in wanted:
            yield Pixels(torch.from_numpy(pixels_of(data, positions, transform, draw)), transform)
    else:
        yield from Readers.of(data, transform, torch.get_num_threads()).read(wanted)


class Readers:
    """Processes that make pixels of a split, for one pass after the other."""

    kept: ClassVar[deque["Readers"]] = deque()

    def __init__(self, data: Split, transform: Transform, number: int):
        from torch.utils.data import DataLoader

        self.data, self.transform = data, transform
        self.chunks: Iterator[Wanted] = iter(())
        # Forked: the images, and what opens them, are there at once, and the processes leave CUDA alone.
        self.loader = DataLoader(
            cast(Any, Chunks(data, transform)), batch_size=None, sampler=cast(Any, self), num_workers=number,
            prefetch_factor=AHEAD, persistent_workers=True, multiprocessing_context="fork", collate_fn=as_it_is,
            worker_init_fn=begin_work, generator=torch.Generator(),
        )  # fmt: skip

    @staticmethod
    def of(data: Split, transform: Transform, number: int) -> "Readers":
        """Those of an earlier pass, if they are still there."""
        for readers in Readers.kept:
            if readers.data is data and readers.transform == transform:
                return readers
        if len(Readers.kept) == KEPT:
            Readers.kept.popleft().stop()
        Readers.kept.append(Readers(data, transform, number))
        atexit.register(stop_all)  # after what waits for processes, that is: it runs before that
        return Readers.kept[-1]

    def __iter__(self) -> Iterator[Wanted]:
        return self.chunks

    def read(self, wanted: Iterable[Wanted]) -> Iterator[Pixels]:
        """A pass; it ends the one before, if that is not over."""
        counts: deque[tuple[int, int]] = deque()  # images and chunks of each batch that was begun

        def cut() -> Iterator[Wanted]:
            for positions, draw in wanted:
                parts = [positions[start : start + CHUNK] for start in range(0, len(positions), CHUNK)] or [positions]
                counts.append((len(positions), len(parts)))
                for part in parts:
                    yield part, draw

        self.chunks = cut()
        made = iter(self.loader)
        while (first := next(made, None)) is not None:
            images, parts = counts.popleft()
            chunks = [_whole(chunk) for chunk in itertools.chain([first], itertools.islice(made, parts - 1))]
            batch = torch.empty((images, *chunks[0].shape[1:]), dtype=torch.uint8, pin_memory=_pinned())
            yield Pixels(torch.cat(chunks, out=batch), self.transform)

    def stop(self) -> None:
        """End the processes."""
        if (running := self.loader._iterator) is not None:
            cast(Any, running)._shutdown_workers()


class Chunks:
    """What the processes of a split have: chunks of its images, by what is wanted of them."""

    def __init__(self, data: Split, transform: Transform):
        self.data, self.transform = data, transform

    def __getitem__(self, wanted: Wanted) -> Tensor | Exception:
        """(B, height, width, channels), or what prevented it."""
        positions, draw = wanted
        try:
            return torch.from_numpy(pixels_of(self.data, positions, self.transform, draw))
        except Exception as error:
            return error


def as_it_is(chunk: Any) -> Any:
    return chunk


def begin_work(number: int) -> None:
    """In a process that makes pixels, before the first.

    SIGTERM and SIGINT, which clusters and terminals send to all processes of a job, are left to the job: it ends its
    readers once its state is saved. If the job is killed they die with it, as they hold its locks. What was there
    before the fork is never let go of: some of it may be the GPU's, which is not for this process.
    """
    gc.freeze()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def stop_all() -> None:
    """End all processes that make pixels."""
    while Readers.kept:
        Readers.kept.pop().stop()


def _whole(chunk: Tensor | Exception) -> Tensor:
    if isinstance(chunk, Exception):
        raise chunk
    return chunk


@cache
def _pinned() -> bool:
    return torch.cuda.is_available()
