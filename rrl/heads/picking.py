"""What every solver of linear heads shares: the best head by each selection rule, and its logits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rrl.heads.cached import Data
from rrl.heads.sweep import Heads, logits
from rrl.job import Card
from rrl.selection import SELECTED_ON, Best

EVALUATED = ("val", "test")  # splits that the picked heads are evaluated on


class Selection:
    """Remembers, for one rule, the head of the best setting at its best epoch, on the split that the rule picks on."""

    def __init__(self, rule: str):
        self.split = SELECTED_ON[rule]
        self.best = Best()
        self.setting = self.epoch = -1
        self._head: Heads | None = None

    @property
    def head(self) -> Heads:
        """The best head, as Heads with S = 1, once one was offered."""
        assert self._head is not None
        return self._head

    def offer(self, heads: Heads, epoch: int, correct: Sequence[int], losses: Sequence[float]) -> None:
        """Heads of all settings after an epoch, with the number of correct images and mean loss (S,) of each."""
        for setting, score in enumerate(zip(correct, losses, strict=True)):
            if self.best.offer(*score):
                self.setting, self.epoch = setting, epoch
                self._head = None  # which may be as large as memory allows only once
                self._head = heads.one(setting)


@dataclass(frozen=True)
class Picked:
    """What a selection rule picked.

    head : Heads with S = 1.
    selected : the setting, and where in its training; grid : all that were tried.
    members : positions in the representation of the members whose features the head takes; None for all.
    """

    head: Heads
    selected: dict[str, Any]
    grid: list[dict[str, Any]]
    members: Sequence[int] | None = None


def features_of(members: Sequence[int], data: Data, representation: Card) -> Data:
    """The features of some members of a representation, by their positions."""
    ends = [0]
    for member in representation.facts["members"]:
        start, stop, _ = member["columns"]
        ends.append(ends[-1] + stop - start)
    return data.with_columns([(ends[member], ends[member + 1]) for member in members])


def blocks_of_logits(head: Heads, data: Data) -> Iterator[npt.NDArray[np.float32]]:
    """Logits (rows, C) of a split by one head, block by block."""
    for features, _ in data.slices(head.rows()):
        yield logits(head, features.to(head.weight.dtype))[:, 0].cpu().numpy()


def all_logits(head: Heads, data: dict[str, Data]) -> dict[str, npt.NDArray[np.float32]]:
    """Logits (N, C) of val and test by one head."""
    return {split: np.concatenate(list(blocks_of_logits(head, data[split]))) for split in EVALUATED}
