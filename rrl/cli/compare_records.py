"""Records on the same test images: is the difference more than chance?"""

from collections.abc import Iterator, Sequence
from typing import Any

from rrl.job import Card


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
