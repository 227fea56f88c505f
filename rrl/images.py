"""The images of a target's split, normalised for a network."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rrl.datasets import open_part
from rrl.errors import UserError
from rrl.provenance import Card, remake


@dataclass(frozen=True)
class Split:
    """images: (N, height, width) uint8; labels: (N,) int64 in 0..C-1, both in the order of the index."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Transform:
    """(x / 255 - mean) / std; in training also a random crop after zero padding by `pad`, and a flip."""

    mean: float
    std: float
    pad: int
    flip: bool

    @property
    def augments(self) -> bool:
        return self.pad > 0 or self.flip


TRANSFORM_FLAGS = {
    "mean": "subtracted from pixels in [0, 1]",
    "std": "what the difference is divided by",
    "pad": "zero padding before the random crop in training, in pixels",
    "flip": "random horizontal flip in training: true or false",
}


def load_split(target: Card, split: str, data_root: Path) -> Split:
    """Raises UserError if the index or the data set's files are not those of the card."""
    index = target.path.with_suffix(".csv")
    text = index.read_bytes()
    if hashlib.sha256(text).hexdigest() != target.digest:
        raise UserError(f"{index}: altered since {target.path} was written; {remake(index)}")
    dataset = target.settings["dataset"]
    for name, size in target.facts["fingerprint"]:
        path = data_root / dataset / name
        if not path.exists() or path.stat().st_size != size:
            raise UserError(
                f"{path}: missing, or not the {size} bytes that {target.path} was made from; delete it if it is there, "
                f"then: python -m rrl.fetch --dataset {dataset} --data-root {data_root}"
            )
    rows = [row for row in csv.DictReader(text.decode("utf-8").splitlines()) if row["split"] == split]
    positions: dict[str, list[int]] = {}
    for row in rows:
        positions.setdefault(row["part"], []).append(int(row["position"]))
    images = [open_part(dataset, part, data_root).images[chosen] for part, chosen in positions.items()]
    return Split(np.concatenate(images), np.array([int(row["label"]) for row in rows], dtype=np.int64))


def normalise(images: npt.NDArray[np.uint8], transform: Transform) -> npt.NDArray[np.float32]:
    """(N, height, width) uint8 to (N, 1, height, width) float32."""
    scaled = images.astype(np.float32) / np.float32(255)
    return ((scaled - np.float32(transform.mean)) / np.float32(transform.std))[:, None]


def augment(
    images: npt.NDArray[np.uint8], positions: range | npt.NDArray[np.int64], draw: str, transform: Transform
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
