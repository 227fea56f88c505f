"""The images of a target's split, as inputs for a network."""

import csv
import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from rrl.config.settings import PaddedCrop, Photographs, Transform
from rrl.data.pictures import Unreadable
from rrl.data.sources import DATASETS
from rrl.data.targets import source_of
from rrl.errors import UserError
from rrl.job import Card, remake

Made = TypeVar("Made")


@dataclass(frozen=True)
class Split:
    """labels : (N,) int64 in 0..C-1, in the order of the index.
    images : (N, height, width) uint8 in memory; or, where `open` is given, (N,) whatever `open` makes a picture of.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    open: Callable[[Any], Image.Image] | None = None

    def take(self, chosen: npt.NDArray[np.int64]) -> "Split":
        return Split(self.images[chosen], self.labels[chosen], self.open)


def join(splits: Iterable[Split]) -> Split:
    """Splits of one target, one after the other."""
    parts = list(splits)
    images, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels"))
    return Split(images, labels, parts[0].open)


def load_split(target: Card, split: str, data_root: Path) -> Split:
    """data_root : folder of the data sets. Raises UserError if the index or the data are not those of the card."""
    index = target.path.with_suffix(".csv")
    text = index.read_bytes() if index.exists() else b""
    if hashlib.sha256(text).hexdigest() != target.digest:
        raise UserError(f"{index}: missing, or altered since {target.path} was written; {remake(index)}")
    reader = csv.DictReader(io.StringIO(text.decode("utf-8", "surrogateescape"), newline=""))
    rows = [row for row in reader if row["split"] == split]
    labels = np.array([int(row["label"]) for row in rows], dtype=np.int64)
    images, open_ = import_module(DATASETS[source_of(target)["dataset"]].kind).images(target, rows, data_root)
    return Split(images, labels, open_)


def inputs(data: Split, positions: npt.NDArray[np.int64], transform: Transform, draw: str | None) -> torch.Tensor:
    """The images at `positions` (B,) of a split, normalised: (B, channels, height, width) float32.

    draw : with a transform that augments, what chance depends on besides the position; None for the plain images.
    """
    if isinstance(transform, PaddedCrop):
        return torch.from_numpy(normalise(_grey(data, positions, transform, draw), transform))
    return _photographs(data, positions, transform, draw)


def pixels_of(
    data: Split, positions: npt.NDArray[np.int64], transform: Transform, draw: str | None
) -> npt.NDArray[np.uint8]:
    """What `inputs` gives, before it is normalised: (B, height, width, channels). By one thread."""
    if isinstance(transform, PaddedCrop):
        return _grey(data, positions, transform, draw)[..., None]
    from rrl.data.photographs import pixels

    batch = np.empty((len(positions), transform.size, transform.size, transform.channels), dtype=np.uint8)
    for place, position in zip(batch, positions.tolist(), strict=True):
        place[...] = _from_picture(pixels, data, position, transform, draw)
    return batch


def _grey(
    data: Split, positions: npt.NDArray[np.int64], transform: PaddedCrop, draw: str | None
) -> npt.NDArray[np.uint8]:
    """(B, height, width)."""
    if data.open is not None:
        raise UserError("a transform with pad is for grey images in memory; here it must be one with a size")
    images = data.images[positions]
    return images if draw is None else augment(images, positions, draw, transform)


def _from_picture(
    make: Callable[[Image.Image, Photographs, str | None], Made],
    data: Split,
    position: int,
    transform: Photographs,
    draw: str | None,
) -> Made:
    """What `make` makes of the picture at a position. Raises UserError if the picture cannot be read."""
    reference = data.images[position]
    try:
        picture = data.open(reference) if data.open is not None else Image.fromarray(reference)
        return make(picture, transform, None if draw is None else f"{draw}/{position}")
    except Unreadable as error:
        raise UserError(f"{reference}: {error}") from None


def _photographs(
    data: Split, positions: npt.NDArray[np.int64], transform: Photographs, draw: str | None
) -> torch.Tensor:
    """As many pictures are decoded at once as torch has threads: decoding and resizing leave Python's lock alone."""
    from rrl.data.photographs import network_input

    # Not a tensor: one that is made in inference mode, as in evaluation, other threads may not write to.
    batch = np.empty((len(positions), len(transform.mean), transform.size, transform.size), dtype=np.float32)

    def fill(place: npt.NDArray[np.float32], position: int) -> None:
        place[...] = _from_picture(network_input, data, position, transform, draw).numpy()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        deque(pool.map(fill, batch, positions.tolist()), maxlen=0)  # raises what they raise
    return torch.from_numpy(batch)


def normalise(images: npt.NDArray[np.uint8], transform: PaddedCrop) -> npt.NDArray[np.float32]:
    """(N, height, width) uint8 to (N, 1, height, width) float32."""
    scaled = images.astype(np.float32) / np.float32(255)
    return ((scaled - np.float32(transform.mean)) / np.float32(transform.std))[:, None]


def augment(
    images: npt.NDArray[np.uint8], positions: range | npt.NDArray[np.int64], draw: str, transform: PaddedCrop
) -> npt.NDArray[np.uint8]:
    """Crop and flip each image by chance, the chance depending on `draw` and its position in the split only.

    So image i in view k is the same crop for every network, whatever the batch or the worker.
    images (B, height, width) uint8 at `positions` (B,) of their split; returns the same shape.
    """
    if not transform.augments:
        return images
    height, width = images.shape[1:]
    pad = transform.pad
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad)))
    result = np.empty_like(images)
    for row, position in enumerate(positions):
        chance = hashlib.sha256(f"{draw}/{position}".encode()).digest()
        top, left = (int.from_bytes(chance[at : at + 4], "big") % (2 * pad + 1) for at in (0, 4))
        crop = padded[row, top : top + height, left : left + width]
        result[row] = crop[:, ::-1] if transform.flip and chance[8] % 2 else crop
    return result
