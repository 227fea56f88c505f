"""Records on the same test images: is the difference more than chance?"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rrl.errors import UserError
from rrl.job import Card
from rrl.statistics import mcnemar, paired_interval, resampled_interval
from rrl.store.logits import read_logits

Right = npt.NDArray[np.bool_]


def compare_records(first: Card, others: Sequence[Card]) -> list[dict[str, Any]]:
    """An entry for each number of shots and selection rule that all have; first minus the mean of the others.

    Accuracies are fractions. The interval of two records is Tango's, and comes with the images that one alone has right
    and McNemar's p. Against the mean of several records it is from resampled images, and these two are None.
    Raises UserError if one is no record, the test images differ, or they share no shots and rule.
    """
    read = [(card, *_logits(card)) for card in (first, *others)]
    for card, _, labels in read[1:]:
        if not np.array_equal(labels["test"], read[0][2]["test"]):
            raise UserError(
                f"{first.path} and {card.path}: not the same test images; allowed are records of one target"
            )
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


def difference(right: Right, others: Sequence[Right]) -> dict[str, Any]:
    """Of accuracies on the same images: right minus the mean of the others, each (N,), whether an image is right."""
    counts: list[int] | None = None
    p_value: float | None = None
    if len(others) == 1:
        alone, other_alone = int((right & ~others[0]).sum()), int((others[0] & ~right).sum())
        counts, p_value = [alone, other_alone], mcnemar(alone, other_alone)
        bounds = paired_interval(alone, other_alone, len(right))
    else:
        bounds = resampled_interval(right - np.mean(others, axis=0))
    top1 = [float(record.mean()) for record in (right, *others)]
    return {
        "n_test": len(right),
        "top1": top1,
        "difference": top1[0] - float(np.mean(top1[1:])),
        "difference_interval": bounds,
        "right_alone": counts,
        "mcnemar_p": p_value,
    }


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


def lines(first: Card, others: Sequence[Card], entries: list[dict[str, Any]]) -> Iterator[str]:
    names = [f"B{number}" for number in range(1, len(others) + 1)] if len(others) > 1 else ["B"]
    for name, card in zip(["A", *names], [first, *others], strict=True):
        yield f"{name}: {card.artifact}"
    minus = "B" if len(others) == 1 else f"mean of {names[0]} to {names[-1]}"
    for entry in entries:
        low, high = (100 * bound for bound in entry["difference_interval"])
        named = zip(["A", *names], entry["top1"], strict=True)
        top1 = ", ".join(f"{name} {100 * share:.2f} %" for name, share in named)
        gain = f"A - {minus} {100 * entry['difference']:+.2f} points"
        yield f"shots {entry['shots']}, {entry['selection']}, {entry['n_test']} test images"
        yield f"  {top1}; {gain}, 95 % interval {low:+.2f} to {high:+.2f}"
        if entry["right_alone"]:
            alone, other_alone = entry["right_alone"]
            yield f"  right alone: A {alone}, B {other_alone} images; McNemar p {entry['mcnemar_p']:.3g}"
    yield "The interval is over test images, for these very networks; another seed is another matter."
