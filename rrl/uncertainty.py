"""How sure a top-1 accuracy is, from the number of test images alone; seeds are another matter."""

import math

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


def paired_interval(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The 95 % interval of the difference in accuracy, first minus second, by resampling the images (N,).

    A resample's difference depends only on how many images each has right alone, so these counts are drawn.
    """
    count = len(first)
    shares = [(first & ~second).mean(), (second & ~first).mean(), (first == second).mean()]
    drawn = np.random.default_rng(0).multinomial(count, shares, RESAMPLES)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / count, [2.5, 97.5])
    return float(low), float(high)
