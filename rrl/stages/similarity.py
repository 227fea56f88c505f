"""Stage `similarity`: linear CKA between all networks of a list, on the test images of one target.

The debiased estimate, and beside it the biased one, whose formula is the better known (rrl.figures.cka tells of both).
In float64, from the cached features, block by block: memory does not grow with the number of images.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from threadpoolctl import threadpool_limits

from rrl.errors import UserError
from rrl.figures.cka import FEWEST, Array, Hsic, cka, hsic
from rrl.job import Card, begin, remake, run
from rrl.store.features import BLOCK, CHUNK, file_digest, readable
from rrl.store.files import canonical_json

SPLIT = "test"


def check(cards: Sequence[Card]) -> int:
    """The number of images. Raises UserError if features are damaged, not of the same images, or of too few."""
    for card in cards:
        path = card.folder / f"{SPLIT}.h5"
        if file_digest(path) != card.facts["digests"][SPLIT]:
            raise UserError(f"{path}: altered since {card.path} was written; {remake(path)}")
    first, *others = (labels(card) for card in cards)
    for card, found in zip(cards[1:], others, strict=True):
        if not np.array_equal(found, first):
            raise UserError(f"{card.path}: its images are not those of {cards[0].path}")
    if len(first) < FEWEST:
        raise UserError(f"{cards[0].path}: {len(first)} test images; allowed are {FEWEST} or more")
    return len(first)


def labels(card: Card) -> Any:
    with readable(card.folder / f"{SPLIT}.h5") as file:
        return file["labels"][:]


def blocks(features: Sequence[h5py.Dataset], means: Sequence[Array | float]) -> Iterator[tuple[Array, ...]]:
    """Some images (B, D) at a time of each of the features (1, N, D), less their means."""
    _, count, _ = features[0].shape
    width = sum(of.shape[2] for of in features)
    rows = max(1, BLOCK // (CHUNK * width * 8)) * CHUNK
    for start in range(0, count, rows):
        part = slice(start, min(start + rows, count))
        yield tuple(of[0, part].astype(np.float64) - mean for of, mean in zip(features, means, strict=True))


def mean_of(card: Card) -> Array:
    """(D,) of all images."""
    with readable(card.folder / f"{SPLIT}.h5") as file:
        features = file["features"]
        total = sum((block.sum(0) for (block,) in blocks([features], [0.0])), np.zeros(features.shape[2]))
        return np.asarray(total / features.shape[1])


def between(first: Card, second: Card, means: Sequence[Array]) -> Hsic:
    with (
        readable(first.folder / f"{SPLIT}.h5") as one,
        readable(second.folder / f"{SPLIT}.h5") as other,
    ):
        return hsic((x, y) for x, y in blocks([one["features"], other["features"]], means))


def matrices(cards: Sequence[Card]) -> dict[str, list[list[float]]]:
    """Debiased and biased CKA of all pairs, (M, M) each. Raises UserError if the features of a network do not vary."""
    means = [mean_of(card) for card in cards]
    found = {
        (i, j): between(cards[i], cards[j], [means[i], means[j]])
        for i, j in itertools.combinations_with_replacement(range(len(cards)), 2)
    }
    for i, card in enumerate(cards):
        if not found[i, i].unbiased > 0:
            raise UserError(f"{card.path}: the features of its {SPLIT} images do not vary, so nothing is like them")
    result = {}
    for estimate, name in (("unbiased", "cka"), ("biased", "biased_cka")):
        value = {pair: getattr(of, estimate) for pair, of in found.items()}
        of_pair = {
            (i, j): 1.0 if i == j else cka(value[i, j], value[i, i], value[j, j]) for i, j in found
        }  # of the same features it is 1 but for rounding
        result[name] = [[of_pair[min(i, j), max(i, j)] for j in range(len(cards))] for i in range(len(cards))]
    return result


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("similarity", argv, __doc__)
    cards = job.inputs
    with threadpool_limits(job.threads):  # another number may round otherwise
        images = check(cards)
        result = matrices(cards)
    facts: dict[str, Any] = {
        "networks": [card.name for card in cards],
        "feature_dims": [card.facts["feature_dim"] for card in cards],
        "digests": [card.facts["digests"][SPLIT] for card in cards],
        "split": SPLIT,
        "images": images,
        "estimator": "linear CKA: cka debiased, biased_cka as first published",
        **result,
    }
    job.write_card(hashlib.sha256(canonical_json(facts).encode()).hexdigest(), facts)


if __name__ == "__main__":
    run(main)
