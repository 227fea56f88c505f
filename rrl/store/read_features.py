"""The one reader of cached features, of a network or of a representation: verified, then in memory or left on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import h5py
import numpy as np
import numpy.typing as npt

from rrl.errors import UserError
from rrl.job import Card, remake
from rrl.store.features import blocks, labels_digest
from rrl.store.hdf5 import UNREADABLE, readable

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """Columns start..stop of the features (V, N, D) in a file that stays open; view 0 here is its view `first`."""

    features: h5py.Dataset
    start: int
    stop: int
    first: int = 0

    @property
    def width(self) -> int:
        return self.stop - self.start

    def part(self, start: int, stop: int) -> "Columns":
        """Columns start..stop of these."""
        return replace(self, start=self.start + start, stop=self.start + stop)

    def rows(self, view: int, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start..stop of a view, (stop - start, D). Raises UserError if the file cannot be read."""
        values = np.empty((stop - start, self.width), self.features.dtype)
        self.read(view, [(start, stop)], values)
        return values

    def read(self, view: int, ranges: Sequence[tuple[int, int]], into: npt.NDArray[Any]) -> None:
        """Read ranges of rows of a view, one after the other, into a contiguous array (B, stop - start).

        A whole chunk goes straight to its place. Raises UserError if the file cannot be read.
        """
        (_, rows, depth), read_chunk = self.features.chunks, self.features.id.read_direct_chunk
        all_bytes, row = into.reshape(-1).view(np.uint8), depth * into.itemsize
        at = 0
        try:
            for start, stop in ranges:
                while start < stop:
                    skipped = start % rows
                    count = min(rows - skipped, stop - start)
                    place = self.first + view, start - skipped, 0
                    if count == rows and self.width == depth:
                        read_chunk(place, out=all_bytes[at * row : (at + count) * row])
                    else:
                        chunk = np.empty((rows, depth), into.dtype)
                        read_chunk(place, out=chunk.view(np.uint8).reshape(-1))
                        into[at : at + count] = chunk[skipped : skipped + count, self.start : self.stop]
                    start, at = start + count, at + count
        except UNREADABLE as error:
            path = self.features.file.filename
            raise UserError(f"{path}: unreadable ({error}); {remake(path)}") from None


def open_features(path: Path) -> h5py.Dataset:
    """The features (V, N, D) of a file that stays open, for reading whole chunks as they lie there."""
    features = h5py.File(path, "r", rdcc_nbytes=0)["features"]
    if not features.chunks or features.id.get_create_plist().get_nfilters() or not features.dtype.isnative:
        raise UserError(f"{path}: features are not in plain chunks; {remake(path)}")
    return features


class Source(NamedTuple):
    """A file of one network's features: its columns start..stop of `depth` are read; digest of all its content."""

    path: Path
    start: int
    stop: int
    depth: int
    digest: str


@overload
def read_split(card: Card, split: str, in_memory: Literal[True] = True) -> tuple[npt.NDArray[Any], Labels]: ...


@overload
def read_split(card: Card, split: str, in_memory: Literal[False]) -> tuple[list[Columns], Labels]: ...


def read_split(card: Card, split: str, in_memory: bool = True) -> tuple[npt.NDArray[Any] | list[Columns], Labels]:
    """Features (V, N, D) in the type of the cache, and labels (N,), of a network's features or of a representation.

    in_memory : if false the features stay on disk, as columns of files side by side.

    All features are read once, from the networks' own files, and must have the digests that the card was written with.
    The virtual file of a representation, by which others read, must show these columns of these files: HDF5 gives
    zeros, silently, where one is missing. Raises UserError otherwise, with the file and what rebuilds it.
    """
    path = card.folder / f"{split}.h5"
    (views, count, width), dtype = shape_of(path)
    sources = _sources(card, split, width)
    if width != sum(source.stop - source.start for source in sources):
        raise UserError(f"{path}: {width} features are not those of its members; {remake(path)}")
    for source in sources:
        shape, planned = shape_of(source.path)[0], (views, count, source.depth)
        if shape != planned:
            raise UserError(f"{source.path}: features have shape {shape}, planned {planned}; {remake(source.path)}")
    values = np.empty((views, count, width), dtype) if in_memory else None
    at = 0
    for source in sources:
        end = at + source.stop - source.start
        into = None if values is None else values[:, :, at:end]
        if file_digest(source.path, slice(source.start, source.stop), into) != source.digest:
            raise UserError(f"{source.path}: altered since {card.path} was written; {remake(source.path)}")
        at = end
    labels = _labels(path, sources)
    if values is not None:
        return values, labels
    return [Columns(open_features(source.path), source.start, source.stop) for source in sources], labels


def shape_of(path: Path) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Shape (V, N, D) and type of the features in a file. Raises UserError if they cannot be read."""
    with readable(path) as file:
        views, count, depth = file["features"].shape
        return (views, count, depth), file["features"].dtype


def file_digest(path: Path, columns: slice = slice(0), into: npt.NDArray[Any] | None = None) -> str:
    """The digest of a file's labels and features, in one pass and with little memory.

    into : array (V, N, ...) that gets some columns of the features.
    Raises UserError if the file cannot be read.
    """
    with readable(path) as file:
        features = file["features"]
        digest = labels_digest(file["labels"][:])
        for view, rows in blocks(features.shape, features.dtype):
            block = features[view, rows]
            digest.update(block.data)
            if into is not None:
                into[view, rows] = block[:, columns]
        return str(digest.hexdigest())


def _sources(card: Card, split: str, width: int) -> list[Source]:
    """The files that a card's features of a split lie in, side by side."""
    if "members" not in card.facts:
        return [Source(card.folder / f"{split}.h5", 0, width, width, card.facts["digests"][split])]
    sources = []
    for member in card.facts["members"]:
        start, stop, depth = member["columns"]
        path = card.root / member["features"] / f"{split}.h5"
        sources.append(Source(path, start, stop, depth, member["digests"][split]))
    return sources


def _labels(path: Path, sources: list[Source]) -> Labels:
    """The labels in a file, which, where it is a virtual one, must be those of its sources and show their features."""
    with readable(sources[0].path) as file:
        expected: Labels = file["labels"][:]
    if path == sources[0].path:
        return expected
    with readable(path) as file:
        labels: Labels = file["labels"][:]
        shown = _shown(file)
    wanted = [(source.path.resolve(), source.start, source.stop) for source in sources]
    if not np.array_equal(labels, expected) or shown != wanted:
        raise UserError(f"{path}: not the features and labels of its members; {remake(path)}")
    return labels


def _shown(file: h5py.File) -> list[tuple[Path, int, int]]:
    """File and columns start..stop that each part of a virtual file shows, in order."""
    folder, parts = Path(file.filename).parent, []
    for source in file["features"].virtual_sources():
        low, high = source.src_space.get_select_bounds()
        here = source.vspace.get_select_bounds()
        parts.append((here[0][2], (folder / source.file_name).resolve(), low[2], high[2] + 1))
    return [(path, start, stop) for _, path, start, stop in sorted(parts)]
