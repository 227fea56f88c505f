"""Logits on disk: {shots}/{selection}/{val,test} (N, C) float32, and labels/{val,test} (N,) int64."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from rrl.errors import UserError
from rrl.job import Card, remake
from rrl.store.files import complete
from rrl.store.hdf5 import UNREADABLE, writing
from rrl.store.record import ROWS

Scores = dict[str, dict[str, npt.NDArray[np.float32]]]  # "{shots}/{selection}" -> split -> (N, C)

Labels = dict[str, npt.NDArray[np.int64]]  # split -> (N,)


def logits_path(record: Path) -> Path:
    """The logits of a record, by the path of its card: logits/{target}/{representation}/{transfer}.h5."""
    *root, folder, target, representation, _ = record.parts
    assert folder == "records", record
    return Path(*root, "logits", target, representation, f"{record.stem}.h5")


class LogitsFile:
    """A file that is being written, block by block: what is in it need not fit into memory."""

    def __init__(self, file: h5py.File):
        self.file = file

    def add(self, name: str, split: str, shape: tuple[int, int], blocks: Iterable[npt.NDArray[np.float32]]) -> Any:
        """Logits of `shape` (N, C) in blocks of rows; returns them as a dataset that reads as an array does."""
        values, at = self.file.create_dataset(f"{name}/{split}", shape, np.float32), 0
        for block in blocks:
            values[at : at + len(block)] = block
            at += len(block)
        return values

    def finish(self, labels: Labels) -> str:
        """Returns the digest of the content."""
        scores = {
            f"{shots}/{selection}": splits for shots, rules in self.file.items() for selection, splits in rules.items()
        }
        for split, truth in sorted(labels.items()):
            self.file[f"labels/{split}"] = truth
        return _digest(scores, labels)


@contextmanager
def logits_file(path: Path, results: int, classes: int, labels: Labels) -> Iterator[LogitsFile]:
    """results : how many pairs of shots and selection the file is for."""
    images = sum(len(values) for values in labels.values())
    size = images * (results * classes * 4 + 8)
    with complete(path, size) as partial, writing(partial, "w") as file:
        yield LogitsFile(file)


def write_logits(path: Path, scores: Scores, labels: Labels) -> str:
    """Returns the digest of the content."""
    classes = next(values.shape[1] for splits in scores.values() for values in splits.values())
    with logits_file(path, len(scores), classes, labels) as file:
        for name, splits in sorted(scores.items()):
            for split, values in sorted(splits.items()):
                file.add(name, split, values.shape, [values])
        return file.finish(labels)


def read_logits(path: Path, record: Card) -> tuple[Scores, Labels]:
    """The logits (N, C) that `record` was written with, by `{shots}/{selection}` and split, and labels (N,) by split.

    path : the record's, with `logits` for `records` and `.h5` for `.json`.
    Raises UserError if they are missing or were altered.
    """
    scores: Scores = {}
    labels: Labels = {}
    try:
        with h5py.File(path, "r") as file:
            for shots, selections in file.items():
                if shots == "labels":
                    labels = {split: values[:] for split, values in selections.items()}
                    continue
                for selection, splits in selections.items():
                    scores[f"{shots}/{selection}"] = {split: values[:] for split, values in splits.items()}
    except (*UNREADABLE, TypeError) as error:
        raise UserError(f"{path}: missing or unreadable ({error}); {remake(path)}") from None
    if _digest(scores, labels) != record.digest:
        raise UserError(f"{path}: altered since {record.path} was written; {remake(path)}")
    return scores, labels


def _digest(scores: Mapping[str, Mapping[str, Any]], labels: Labels) -> str:
    """scores : arrays, or datasets of a file."""
    digest = hashlib.sha256()
    arrays: dict[str, Mapping[str, Any]] = {**scores, "labels": labels}
    for name, splits in sorted(arrays.items()):
        for split, values in sorted(splits.items()):
            digest.update(f"{name}/{split} {values.shape} ".encode())
            for start in range(0, len(values), ROWS):
                digest.update(np.ascontiguousarray(values[start : start + ROWS]).data)
    return digest.hexdigest()
