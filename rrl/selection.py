"""The two selection rules: which images each trains on, which split it picks on, and which of two candidates is better.

heldout : trains on train, picks setting and epoch on val, and reads test once, after the pick.
paper   : trains on train and val, picks setting and epoch on test, as published.
With a number of shots both train on the first images of each class of train, so one training serves both rules.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from rrl.errors import UserError

SELECTED_ON = {"heldout": "val", "paper": "test"}


class Images(Protocol):
    """Labelled images, or their features."""

    @property
    def labels(self) -> Any: ...

    def take(self, positions: npt.NDArray[np.int64]) -> Self: ...


Part = TypeVar("Part", bound=Images)


def rules_by_training(shots: int | str, rules: Iterable[str] = SELECTED_ON) -> list[list[str]]:
    """Some rules in groups that train on the same images, so that one training serves a group."""
    return [[rule] for rule in rules] if shots == "all" else [list(rules)]


def training_splits(rule: str, shots: int | str) -> list[str]:
    """The splits that a rule takes its training images from."""
    return ["train", "val"] if rule == "paper" and shots == "all" else ["train"]


def training_images(data: Mapping[str, Part], rule: str, shots: int | str, join: Callable[[Part, Part], Part]) -> Part:
    """The images that a rule trains on. Raises UserError if a class has fewer than `shots` images."""
    train = data["train"]
    if shots != "all":
        return train.take(first_of_each_class(np.array(train.labels.tolist()), int(shots)))
    return join(train, data["val"]) if training_splits(rule, shots) == ["train", "val"] else train


def training_count(rule: str, shots: int | str, counts: Mapping[str, int], classes: int) -> int:
    """Number of images that a rule trains on, of a target with `counts` images in each split."""
    if shots != "all":
        return int(shots) * classes
    return sum(counts[split] for split in training_splits(rule, shots))


def first_of_each_class(labels: npt.NDArray[np.int64], shots: int) -> npt.NDArray[np.int64]:
    """Positions of the first `shots` images of each class, in order. Raises UserError if a class has fewer."""
    chosen = []
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        if len(positions) < shots:
            raise UserError(f"class {label}: found {len(positions)} training images, shots needs {shots}")
        chosen.append(positions[:shots])
    return np.sort(np.concatenate(chosen))


@dataclass
class Best:
    """The best score so far: most images correct; of equals, the lower mean cross-entropy; of equals, the earlier.

    correct : number of images, or their fraction, as long as all candidates give the same of the two.
    """

    correct: float = -1
    loss: float = math.inf

    def offer(self, correct: float, loss: float) -> bool:
        """Whether this candidate is the best so far; if so, its score is kept."""
        better = (correct, -loss) > (self.correct, -self.loss)
        if better:
            self.correct, self.loss = correct, loss
        return better
