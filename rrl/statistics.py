"""How sure a top-1 accuracy, or a difference of two, is from the test images alone; seeds are another matter."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
NORMAL = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def interval(top1: float, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy, a fraction, on so many test images: Wilson's (1927).

    To the last bit as scipy.stats has it, which half a second of imports would be spent on in every small job.
    """
    correct = round(top1 * images)
    share, square = correct / images, NORMAL * NORMAL
    whole = 2 * (images + square)
    centre = (2 * images * share + square) / whole
    margin = NORMAL / whole * math.sqrt(4 * images * share * (1 - share) + square)
    return 0.0 if correct == 0 else centre - margin, 1.0 if correct == images else centre + margin


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that two classifiers are equally good; images that one alone has right (McNemar 1947)."""
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def paired_interval(only_first: npt.ArrayLike, only_second: npt.ArrayLike, images: int) -> Any:
    """The 95 % interval of a difference in accuracy, first minus second, on the same images: Tango's score interval.

    only_first, only_second : images that one alone has right; numbers, or arrays (K,) of them for K intervals.
    Returns low and high, numbers or arrays (K,), from -1 to 1. Where no image differs they are not 0: images that were
    not drawn may differ.

    The interval holds every difference that the score test does not reject, its variance being that of the most likely
    shares under that difference. Tango, Statistics in Medicine 17 (1998) 891-908.
    """
    b, c = np.asarray(only_first, np.float64), np.asarray(only_second, np.float64)
    observed = (b - c) / images
    low, high = (_last_kept(b, c, images, observed, end) for end in (-1.0, 1.0))
    return (float(low), float(high)) if observed.ndim == 0 else (low, high)


def keeps(difference: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike, images: int) -> npt.NDArray[np.bool_]:
    """Whether Tango's test, two-sided at 5 %, keeps a difference, b and c being the images that one alone has right."""
    d, b, c = (np.asarray(value, np.float64) for value in (difference, b, c))
    linear = (2 * images - b + c) * d - b - c
    root = np.sqrt(np.maximum(linear**2 + 8 * images * c * d * (1 - d), 0))
    second = (root - linear) / (4 * images)  # most likely share of images that the second alone has right
    kept: npt.NDArray[np.bool_] = (b - c - images * d) ** 2 <= NORMAL**2 * images * (2 * second + d * (1 - d))
    return kept


def _last_kept(
    b: npt.NDArray[np.float64], c: npt.NDArray[np.float64], images: int, observed: npt.NDArray[np.float64], end: float
) -> npt.NDArray[np.float64]:
    """The difference nearest to `end` that the test keeps, by bisection from the observed one."""
    inside, outside = observed, np.full_like(observed, end)
    for _ in range(60):  # to the last bit
        middle = (inside + outside) / 2
        kept = keeps(middle, b, c, images)
        inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
    return inside


def resampled_interval(
    differences: npt.NDArray[np.floating[Any]], groups: npt.NDArray[np.integer[Any]] | None = None
) -> tuple[float, float]:
    """The 95 % interval of a mean difference per image, by resampling images, or groups of images as wholes.

    differences : (N,), from -1 to 1, such as whether one network is right less the share of several that are.
    groups : (N,), images of one number were taken together (of a patient, of a video); None: each by itself.

    Where few images differ, resamples of them alone hardly vary, and where none does not at all. So two made-up images
    join them, each by itself, with the largest differences there can be, 1 and -1: as Bonett and Price (2012) do with
    the pairs of two proportions. If no image differs and all images of a group stand or fall
    together, the interval is too narrow by the size of the groups: nothing that was measured says so.
    """
    count = len(differences)
    place = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = np.stack([np.bincount(place, differences), np.bincount(place)], 1)  # sum and size of each
    units = np.concatenate([units, [[1, 1], [-1, 1]]])
    distinct, counts = np.unique(units, axis=0, return_counts=True)
    random = np.random.default_rng(0)
    at_once = max(1, 2_000_000 // len(distinct))
    parts = []
    for start in range(0, RESAMPLES, at_once):
        drawn = random.multinomial(len(units), counts / len(units), min(at_once, RESAMPLES - start)) @ distinct
        parts.append(drawn[:, 0] / drawn[:, 1])
    low, high = np.percentile(np.concatenate(parts), [2.5, 97.5])
    return float(low), float(high)


def difference(right: npt.NDArray[np.bool_], others: Sequence[npt.NDArray[np.bool_]]) -> dict[str, Any]:
    """Compare accuracies on the same images: `right` minus the mean of `others`, each (N,), True where right.

    The interval of two is Tango's, with the images that one alone has right and McNemar's p; against several it is from
    resampled images, and these two are None.
    """
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
