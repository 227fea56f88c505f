"""Two records on the same test images: is the difference more than chance?"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from rrl.artifacts.logits import read_logits
from rrl.artifacts.provenance import Card
from rrl.errors import UserError
from rrl.uncertainty import mcnemar, paired_interval


def compare_records(first: Card, second: Card) -> list[dict[str, Any]]:
    """An entry for each number of shots and selection rule that both have; first minus second, fractions.

    Raises UserError if one is no record, the test images differ, or they share no shots and rule.
    """
    (scores, labels), (other_scores, other_labels) = (_logits(card) for card in (first, second))
    if not np.array_equal(labels["test"], other_labels["test"]):
        raise UserError(f"{first.path} and {second.path}: not the same test images; allowed are records of one target")
    entries = []
    for name in sorted(scores.keys() & other_scores.keys(), key=_order):
        right = scores[name]["test"].argmax(1) == labels["test"]
        other = other_scores[name]["test"].argmax(1) == labels["test"]
        alone, other_alone = int((right & ~other).sum()), int((other & ~right).sum())
        shots, selection = name.split("/")
        entries.append(
            {
                "shots": shots,
                "selection": selection,
                "n_test": len(right),
                "top1": [float(right.mean()), float(other.mean())],
                "difference": float(right.mean() - other.mean()),
                "difference_interval": paired_interval(right, other),
                "right_alone": [alone, other_alone],
                "mcnemar_p": mcnemar(alone, other_alone),
            }
        )
    if not entries:
        raise UserError(f"{first.path} and {second.path}: no number of shots and selection rule that both have")
    return entries


def _order(name: str) -> tuple[float, str]:
    """Fewest images first, all of them last."""
    shots, selection = name.split("/")
    return float("inf") if shots == "all" else int(shots), selection


def _logits(card: Card) -> Any:
    if not card.artifact.startswith("records/"):
        raise UserError(
            f"{card.path}: not a record; allowed are results/.../records/{{target}}/{{representation}}/*.json"
        )
    return read_logits(card.root / f"{card.artifact.replace('records/', 'logits/', 1)}.h5", card)


def lines(first: Card, second: Card, entries: list[dict[str, Any]]) -> Iterator[str]:
    yield f"A: {first.artifact}"
    yield f"B: {second.artifact}"
    for entry in entries:
        low, high = (100 * bound for bound in entry["difference_interval"])
        a, b = (100 * top1 for top1 in entry["top1"])
        alone, other_alone = entry["right_alone"]
        yield f"shots {entry['shots']}, {entry['selection']}, {entry['n_test']} test images"
        yield f"  A {a:.2f} %, B {b:.2f} %; A - B {a - b:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}"
        yield f"  right alone: A {alone}, B {other_alone} images; McNemar p {entry['mcnemar_p']:.3g}"
    yield "The interval and p are over test images, for these very networks; another seed is another matter."
