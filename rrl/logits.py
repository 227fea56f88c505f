"""Logits on disk: {shots}/{selection}/{val,test} (N, C) float32, and labels/{val,test} (N,) int64."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from rrl.errors import UserError
from rrl.features import UNREADABLE
from rrl.files import complete
from rrl.provenance import Card, remake

Scores = dict[str, dict[str, npt.NDArray[np.float32]]]  # "{shots}/{selection}" -> split -> (N, C)
Labels = dict[str, npt.NDArray[np.int64]]  # split -> (N,)


def write_logits(path: Path, scores: Scores, labels: Labels) -> str:
    """Returns the digest of the content."""
    sizes = [values.nbytes for splits in scores.values() for values in splits.values()]
    size = sum(sizes) + sum(values.nbytes for values in labels.values())
    with complete(path, size) as partial, h5py.File(partial, "w") as file:
        for name, splits in sorted(scores.items()):
            for split, values in sorted(splits.items()):
                file[f"{name}/{split}"] = values
        for split, truth in sorted(labels.items()):
            file[f"labels/{split}"] = truth
    return _digest(scores, labels)


def read_logits(path: Path, record: Card) -> tuple[Scores, Labels]:
    """The logits that `record` was written with. Raises UserError if they are missing or were altered."""
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


def _digest(scores: Scores, labels: Labels) -> str:
    digest = hashlib.sha256()
    arrays: dict[str, Mapping[str, npt.NDArray[Any]]] = {**scores, "labels": labels}
    for name, splits in sorted(arrays.items()):
        for split, values in sorted(splits.items()):
            digest.update(f"{name}/{split} {values.shape} ".encode())
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
