"""How sure a top-1 accuracy is, from the number of test images alone; seeds are another matter."""

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

RESAMPLES = 10_000


def interval(top1: float, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy, a fraction, on so many test images: Wilson's (1927)."""
    found = binomtest(round(top1 * images), images).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that two classifiers are equally good; images that one alone has right (McNemar 1947)."""
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
