"""Differences between records on the same test images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.errors import UserError
from rrl.job import Card
from rrl.statistics import difference
from rrl.store.logits import read_logits


def compare_records(first: Card, others: Sequence[Card]) -> list[dict[str, Any]]:
    """An entry for each number of shots and selection rule that all have; first minus the mean of the others.

    Accuracies are fractions. The interval of two records is Tango's, and comes with the images that one alone has right
    and McNemar's p. Against the mean of several records it is from resampled images, and these two are None.
    Raises UserError if one is no record, the test images differ, or they share no shots and rule.
    """
    read = [(card, *_logits(card)) for card in (first, *others)]
    for card, _, labels in read[1:]:
        if not np.array_equal(labels["test"], read[0][2]["test"]):
            raise UserError(f"{first.path} and {card.path}: not the same test images; compare records of one target")
    names = set.intersection(*(set(scores) for _, scores, _ in read))
    if not names:
        paths = " and ".join(str(card.path) for card in (first, *others))
        raise UserError(f"{paths}: no number of shots and selection rule that all have")
    entries = []
    for name in sorted(names, key=_order):
        shots, selection = name.split("/")
        right = [scores[name]["test"].argmax(1) == labels["test"] for _, scores, labels in read]
        entries.append({"shots": shots, "selection": selection, **difference(right[0], right[1:])})
    return entries


def _order(name: str) -> tuple[float, str]:
    """Fewest images first, all of them last."""
    shots, selection = name.split("/")
    return float("inf") if shots == "all" else int(shots), selection


def _logits(card: Card) -> Any:
    if not card.artifact.startswith("records/"):
        raise UserError(f"{card.path}: not a record; must be results/.../records/{{target}}/{{representation}}/*.json")
    return read_logits(card.root / f"{card.artifact.replace('records/', 'logits/', 1)}.h5", card)
