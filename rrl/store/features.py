"""Features on disk: one HDF5 file per split, written in blocks. rrl.store.read_features reads them.

features (V, N, D) float16 or float32, labels (N,) int64; chunks of 256 rows, no compression.
A representation is the same file with `features` as a virtual dataset over its members' files.
"""

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from rrl.errors import UserError
from rrl.store.files import space_for
from rrl.store.hdf5 import writing

CHUNK = 256
BLOCK = 2**25  # bytes that are read or digested at once


def views_of(split: str, target: str, views: int) -> list[str | None]:
    """The views of a split, as names of draws that depend on target, split and view only; None is the plain image."""
    augmented: list[str | None] = [f"{target}/{split}/{view}" for view in range(views)]
    if views == 1 or split == "test":
        return [None]
    return augmented if split == "train" else [None, *augmented]


def create(path: Path, shape: tuple[int, int, int], dtype: str, labels: npt.NDArray[np.int64]) -> None:
    """A file of zeros of shape (V, N, D), all space allocated, so that blocks can be written in any order.

    Raises UserError if the disk has no space for it; then there is no file.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize + labels.nbytes
    path.unlink(missing_ok=True)
    with space_for(path, size):
        try:
            with writing(path, "w") as file:
                chunks = (1, max(1, min(CHUNK, shape[1])), shape[2])
                layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                layout.set_chunk(chunks)
                layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
                _create(file, layout, shape, dtype)
                file.create_dataset("labels", data=labels)
        except Exception:
            path.unlink(missing_ok=True)
            raise


def _create(file: h5py.File, layout: Any, shape: tuple[int, ...], dtype: str) -> None:
    """The dataset `features` without its time of creation, so that the file has the same bytes whenever it is made."""
    layout.set_obj_track_times(False)
    kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
    h5py.h5d.create(file.id, b"features", kind, h5py.h5s.create_simple(shape), dcpl=layout)


def to_dtype(features: npt.NDArray[np.float32], dtype: str, first_row: int) -> npt.NDArray[Any]:
    """Features (B, D) in the type of the cache. Raises UserError where one does not fit."""
    with np.errstate(over="ignore"):
        stored = features.astype(dtype)
    check_fits(features, stored, first_row)
    return stored


def check_fits(features: npt.NDArray[np.float32], stored: npt.NDArray[Any], first_row: int) -> None:
    """Raises UserError where a feature (B, D) of an image from first_row on is not finite as it is stored (B, D)."""
    largest = np.finfo(stored.dtype).max
    if not features.size or (features.max() <= largest and features.min() >= -largest):  # neither if one is no number
        return
    if not np.isfinite(stored).all():
        row, column = (int(at) for at in np.argwhere(~np.isfinite(stored))[0])
        value, dtype = features[row, column], stored.dtype.name
        advice = "set features.dtype to float32" if np.isfinite(value) else "the network makes it"
        raise UserError(f"image {first_row + row}, feature {column}: {value} does not fit {dtype}; {advice}")


def blocks(shape: tuple[int, int, int], dtype: npt.DTypeLike) -> Iterator[tuple[int, slice]]:
    """Views and ranges of rows, in the order of the digest, each of a few chunks."""
    views, count, depth = shape
    rows = max(1, BLOCK // (CHUNK * depth * np.dtype(dtype).itemsize)) * CHUNK
    for view in range(views):
        for start in range(0, count, rows):
            yield view, slice(start, min(start + rows, count))


def labels_digest(labels: npt.NDArray[np.int64]) -> Any:
    """The digest of a split begins with its labels."""
    return hashlib.sha256(np.ascontiguousarray(labels).data)


def finish(path: Path, final: Path, attributes: dict[str, Any]) -> None:
    """Write the attributes, of which `digest` is that of the content, push the file to disk, give it its final name."""
    with writing(path, "r+") as file:
        if dict(file.attrs) != attributes:  # writing them again, after a kill, would give the file other bytes
            file.attrs.update(attributes)
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    final.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, final)


def write_virtual(path: Path, sources: Sequence[tuple[Path, int, int]], shape: tuple[int, int], dtype: str) -> None:
    """A virtual file at `path`: columns start..stop of each source's features, side by side.

    sources : (file, start, stop), named relative to the virtual file, so the results can be moved as a whole.
    shape : (V, N) of every source. Labels are those of the first source.
    """
    width = sum(stop - start for _, start, stop in sources)
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    at = 0
    for source, start, stop in sources:
        with h5py.File(source, "r") as file:
            depth = file["features"].shape[2]
        there, here = h5py.h5s.create_simple((*shape, depth)), h5py.h5s.create_simple((*shape, width))
        there.select_hyperslab((0, 0, start), (*shape, stop - start))
        here.select_hyperslab((0, 0, at), (*shape, stop - start))
        name = os.path.relpath(source, path.parent)
        if not os.path.exists(path.parent / name):  # the folder is behind a link, so `..` leads elsewhere
            name = os.path.relpath(source.resolve(), path.parent.resolve())
        layout.set_virtual(here, name.encode(), b"features", there)
        at += stop - start
    with writing(path, "w") as file:
        _create(file, layout, (*shape, width), dtype)
    with h5py.File(sources[0][0], "r") as source, writing(path, "r+") as file:
        file.create_dataset("labels", data=source["labels"][:])
