"""Small data sets that are fetched: the demo's. Images and labels of their files, as arrays."""

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import numpy.typing as npt

from rrl.config.settings import DemoSource
from rrl.data.fetch import fetch, fetch_command
from rrl.data.sources import DATASETS
from rrl.data.targets import Row, Target, source_of
from rrl.errors import UserError
from rrl.job import Card

RULE = (
    "images are ordered by sha256 of 'split_seed/part/position'; in that order each class gives its first "
    "train_per_class images to train and the next val_per_class to val; test is the published test part, "
    "or all images that are left where there is none"
)


@dataclass(frozen=True)
class Part:
    """images: (N, height, width) uint8; labels: (N,) int64, as published."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def make(source: DemoSource, pins: Mapping[str, str], data_root: Path, threads: int) -> Target:
    """The target of some classes of a data set, which is fetched if it is missing."""
    dataset = source.dataset
    folder = fetch(dataset, dict(pins), data_root)
    labels = {part: open_part(dataset, part, data_root).labels.tolist() for part in DATASETS[dataset].files}
    rows = split_images(labels, source.classes, source.train_per_class, source.val_per_class, source.split_seed)
    fingerprint = [[name, (folder / name).stat().st_size] for name in sorted(pins)]
    return Target(rows, "position", {"classes": len(source.classes), "rule": RULE, "fingerprint": fingerprint})


def split_images(
    labels: dict[str, Sequence[int]], classes: list[int], train_per_class: int, val_per_class: int, split_seed: int
) -> list[Row]:
    """Rows of the index by RULE, split by split.

    labels : published label of every image, per part ("train" and "test", or "all").
    Labels in the rows count 0..C-1 in the order of `classes`.
    Raises UserError if a class has too few images.
    """
    (first, *rest) = labels
    splits: dict[str, list[Row]] = {"train": [], "val": [], "test": []}
    taken = dict.fromkeys(classes, 0)
    for position in _order(first, len(labels[first]), split_seed):
        published = labels[first][position]
        if published in taken:
            count = taken[published]
            split = "train" if count < train_per_class else "val" if count < train_per_class + val_per_class else "test"
            taken[published] += 1
            if split != "test" or not rest:
                splits[split].append((split, first, position, classes.index(published)))
    needed = train_per_class + val_per_class + (0 if rest else 1)
    for published, count in taken.items():
        if count < needed:
            raise UserError(
                f"class {published}: found {count} images, the split needs at least {needed}; "
                "lower train_per_class or val_per_class, or take another class"
            )
    for part in rest:
        for position, published in enumerate(labels[part]):
            if published in taken:
                splits["test"].append(("test", part, position, classes.index(published)))
    return [row for split in splits.values() for row in split]


def _order(part: str, count: int, seed: int) -> list[int]:
    """A permutation that no library version can change."""
    return sorted(range(count), key=lambda position: hashlib.sha256(f"{seed}/{part}/{position}".encode()).digest())


def images(target: Card, rows: list[dict[str, str]], data_root: Path) -> tuple[npt.NDArray[np.uint8], None]:
    """Images (N, height, width) of rows of the index. Raises UserError if a file is not as long as it was."""
    dataset = source_of(target)["dataset"]
    for name, size in target.facts["fingerprint"]:
        path = data_root / dataset / name
        if not path.exists() or path.stat().st_size != size:
            raise UserError(
                f"{path}: missing, or not the {size} bytes that {target.path} was made from; delete it if it is there, "
                f"then: {fetch_command(dataset, data_root)}"
            )
    positions: dict[str, list[int]] = {}
    for row in rows:
        positions.setdefault(row["part"], []).append(int(row["position"]))
    chosen = [open_part(dataset, part, data_root).images[numbers] for part, numbers in positions.items()]
    return np.concatenate(chosen), None


def open_part(dataset: str, part: str, data_root: Path) -> Part:
    """One part of a data set. Raises UserError if a file is missing or is not what it should be."""
    entry = DATASETS[dataset]
    paths = [data_root / dataset / name for name in entry.files[part]]
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: missing; to fetch it: {fetch_command(dataset, data_root)}")
    opened: Part = resolve_name(entry.opener)(paths)
    return opened


def open_idx(paths: list[Path]) -> Part:
    """Images and labels, each in a file."""
    return Part(_open_idx(paths[0], 3), _open_idx(paths[1], 1).astype(np.int64))


def _open_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The idx format (http://yann.lecun.com/exdb/mnist): magic, big-endian sizes, bytes; mapped, not read."""
    header = np.fromfile(path, dtype=">i4", count=1 + dimensions)
    size = int(np.prod(header[1:], dtype=np.int64))
    if len(header) != 1 + dimensions or header[0] != 0x0800 + dimensions or size != path.stat().st_size - header.nbytes:
        raise UserError(f"{path}: not an idx file of {dimensions} dimensions, or cut off; delete it and run again")
    shape = tuple(int(length) for length in header[1:])
    return np.memmap(path, dtype=np.uint8, mode="r", offset=header.nbytes, shape=shape)


def open_csv(paths: list[Path]) -> Part:
    """A row per image: 784 pixels, then the label."""
    text = gzip.decompress(paths[0].read_bytes()).replace(b"\n", b",").strip(b",")
    rows = np.fromstring(text.decode("ascii"), dtype=np.int64, sep=",").reshape(-1, 785)
    return Part(rows[:, :784].astype(np.uint8).reshape(-1, 28, 28), rows[:, 784])
