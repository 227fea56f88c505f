"""Stage `similarity`: linear CKA between all networks of a list, on the test images of one target.

The debiased estimate, and beside it the biased one, whose formula is the better known (rrl.figures.cka tells of both).
In float64, from the cached features, block by block: memory does not grow with the number of images.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from rrl.errors import UserError
from rrl.figures.cka import FEWEST, Array, Hsic, cka, hsic
from rrl.job import Card, begin, run
from rrl.store.features import BLOCK, CHUNK
from rrl.store.files import canonical_json
from rrl.store.read_features import Columns, read_split

SPLIT = "test"


def opened(cards: Sequence[Card]) -> list[Columns]:
    """The test features of each network, verified, on disk.

    Raises UserError if features are damaged, not of the same images, or of too few.
    """
    features = []
    labels: Any = None
    for card in cards:
        (columns,), truth = read_split(card, SPLIT, in_memory=False)
        if labels is not None and not np.array_equal(truth, labels):
            raise UserError(f"{card.path}: its images are not those of {cards[0].path}")
        features.append(columns)
        labels = truth
    if len(labels) < FEWEST:
        raise UserError(f"{cards[0].path}: {len(labels)} test images; must be {FEWEST} or more")
    return features


def blocks(features: Sequence[Columns], means: Sequence[Array | float]) -> Iterator[tuple[Array, ...]]:
    """Some images (B, D) at a time of each of the features (1, N, D), less their means."""
    count = features[0].features.shape[1]
    width = sum(columns.width for columns in features)
    rows = max(1, BLOCK // (CHUNK * width * 8)) * CHUNK
    for start in range(0, count, rows):
        part = start, min(start + rows, count)
        yield tuple(
            columns.rows(0, *part).astype(np.float64) - mean for columns, mean in zip(features, means, strict=True)
        )


def mean_of(columns: Columns) -> Array:
    """Mean feature (D,) of all images."""
    total = sum((block.sum(0) for (block,) in blocks([columns], [0.0])), np.zeros(columns.width))
    return np.asarray(total / columns.features.shape[1])


def matrices(cards: Sequence[Card], features: Sequence[Columns]) -> dict[str, list[list[float]]]:
    """Debiased and biased CKA of all pairs, (M, M) each. Raises UserError if the features of a network do not vary."""
    means = [mean_of(columns) for columns in features]
    pairs: dict[tuple[int, int], Hsic] = {}
    for i, j in itertools.combinations_with_replacement(range(len(cards)), 2):
        pairs[i, j] = hsic((x, y) for x, y in blocks([features[i], features[j]], [means[i], means[j]]))
    for i, card in enumerate(cards):
        if not pairs[i, i].unbiased > 0:
            raise UserError(f"{card.path}: the features of its {SPLIT} images do not vary, so nothing is like them")
    result = {}
    for estimate, name in (("unbiased", "cka"), ("biased", "biased_cka")):
        value = {pair: getattr(estimates, estimate) for pair, estimates in pairs.items()}
        similar = {
            (i, j): 1.0 if i == j else cka(value[i, j], value[i, i], value[j, j]) for i, j in pairs
        }  # of the same features it is 1 but for rounding
        result[name] = [[similar[min(i, j), max(i, j)] for j in range(len(cards))] for i in range(len(cards))]
    return result


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("similarity", argv, __doc__)
    cards = job.inputs
    with threadpool_limits(job.threads):  # another number may round otherwise
        features = opened(cards)
        result = matrices(cards, features)
    facts: dict[str, Any] = {
        "networks": [card.name for card in cards],
        "feature_dims": [card.facts["feature_dim"] for card in cards],
        "digests": [card.facts["digests"][SPLIT] for card in cards],
        "split": SPLIT,
        "images": features[0].features.shape[1],
        "estimator": "linear CKA: cka debiased, biased_cka as first published",
        **result,
    }
    job.write_card(hashlib.sha256(canonical_json(facts).encode()).hexdigest(), facts)


if __name__ == "__main__":
    run(main)
