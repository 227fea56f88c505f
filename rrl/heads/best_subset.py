"""Which of several networks to concatenate, found greedily on val by heads trained with SGD.

Starts with the network whose head is best on val, adds the one that helps most, and so on to all of them; the best set
on the way is picked. The selection rule is heldout alone: test has no say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rrl.config.settings import Probe
from rrl.heads.cached import Data
from rrl.heads.picking import Picked, Selection, features_of
from rrl.heads.training import grid_of, initial_head, selected, train_heads
from rrl.job import Card
from rrl.selection import Best

RULES = ("heldout",)


@dataclass(frozen=True)
class Search:
    """Heads on subsets of the members of a representation, by their positions."""

    images: Data
    val: Data
    representation: Card
    probe: Probe

    def run(self) -> Picked:
        """The best set; its grid: the best set of each size."""
        left = list(range(len(self.representation.facts["members"])))
        members: list[int] = []
        steps: list[dict[str, Any]] = []
        best, picked = Best(), None
        while left:
            added, selection = self._best_addition(members, left)
            members.append(added)
            left.remove(added)
            steps.append(self._step(members, selection))
            if best.offer(selection.best.correct, selection.best.loss):
                picked = Picked(selection.head, steps[-1], steps, tuple(members))
        assert picked is not None
        return picked

    def _best_addition(self, members: Sequence[int], candidates: Sequence[int]) -> tuple[int, Selection]:
        """The candidate that helps most, the first of equals, and the heads on its features and those of `members`."""
        best, addition = Best(), None
        for candidate in candidates:
            selection = self._train([*members, candidate])
            if best.offer(selection.best.correct, selection.best.loss):
                addition = candidate, selection
        assert addition is not None
        return addition

    def _train(self, members: Sequence[int]) -> Selection:
        images, val = (features_of(members, data, self.representation) for data in (self.images, self.val))
        probe, settings = self.probe, self._settings
        head = initial_head(self.representation.facts["classes"], images.features.shape[2], probe.seed)
        selections, _ = train_heads(head, images, {"val": val}, list(RULES), settings, probe, probe.batch_norm)
        return selections["heldout"]

    @property
    def _settings(self) -> list[Any]:
        return grid_of(self.probe.learning_rates, self.probe.weight_decays)

    def _step(self, members: Sequence[int], selection: Selection) -> dict[str, Any]:
        names = [self.representation.facts["members"][member]["member"] for member in members]
        top1, loss = selection.best.correct / len(self.val.labels), selection.best.loss
        score = {"val_top1": round(top1, 6), "val_loss": round(loss, 6)}
        return {"members": names, **selected(selection, self._settings), **score}


def fit(images: Data, rules: list[str], data: dict[str, Data], representation: Card, probe: Probe) -> dict[str, Picked]:
    """Search with heads trained on `images`; the picked set."""
    return {rule: Search(images, data["val"], representation, probe).run() for rule in rules}
