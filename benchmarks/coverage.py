"""How often the 95 % intervals of a difference in accuracy hold the true one, and how wide they are.

    python -m benchmarks.coverage
    python -m benchmarks.coverage --images 40 --samples 200

Two networks: B has the accuracy that is named, A makes as many errors or 30 % fewer, and of the images that A has wrong
B has 70 % wrong too. `resampled` is the percentile interval of resampled images, drawn from simulated samples; `tango`
is exact, by enumeration of the images that one network alone has right.

A network against the mean of three: all right or wrong by a common difficulty of the image plus noise of their own,
correlation .7. `plain` resamples the images alone, `with two` has the two made-up images of `resampled_interval`. In
groups of five images, which share half of their difficulty, the groups are resampled.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, norm

from rrl.statistics import RESAMPLES, keeps, paired_interval, resampled_interval

IMAGES = (40, 100, 300, 1000, 5000)
ACCURACIES = (0.5, 0.8, 0.93, 0.97, 0.99)
FEWER = (0.0, 0.3)  # errors of A than of B
SHARED = 0.7  # of A's errors, those that are B's too
CORRELATION = 0.7
GROUP = 5
Found = tuple[float, float]  # coverage in percent, mean width in percentage points


def shares(accuracy: float, fewer: float) -> tuple[float, float]:
    """Of all images, those that A alone has right, and those that B alone has right."""
    wrong_b, wrong_a = 1 - accuracy, (1 - accuracy) * (1 - fewer)
    return wrong_b - SHARED * wrong_a, (1 - SHARED) * wrong_a


def outcomes(only_a: float, only_b: float, images: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Numbers of images that A and B alone have right, and how likely they are; all but 1e-9 of what can happen."""
    b = np.arange(images + 1)
    kept = b[binom.pmf(b, images, only_a) > 1e-14]
    first, second = (grid.ravel() for grid in np.meshgrid(kept, b, indexing="ij"))
    likely = binom.pmf(first, images, only_a) * binom.pmf(second, images - first, only_b / (1 - only_a))
    some = likely > 1e-14
    return first[some], second[some], likely[some]


def holds(low: Any, high: Any, true: float) -> Any:
    """Whether intervals hold the true difference, which is rounded."""
    return (low <= true + 1e-12) & (true - 1e-12 <= high)


def tango(only_a: float, only_b: float, images: int) -> Found:
    """Exact."""
    first, second, likely = outcomes(only_a, only_b, images)
    held = keeps(only_a - only_b, first, second, images)
    low, high = paired_interval(first, second, images)
    return 100 * float(likely @ held), 100 * float(likely @ (high - low))


def resampled(only_a: float, only_b: float, images: int, samples: int) -> Found:
    """Of simulated samples; the interval that was used before."""
    random = np.random.default_rng(1)
    drawn = random.multinomial(images, [only_a, only_b, 1 - only_a - only_b], samples)
    rows, counts = np.unique(drawn, axis=0, return_counts=True)
    held, width = 0.0, 0.0
    for row, count in zip(rows, counts, strict=True):
        again = np.random.default_rng(0).multinomial(images, row / images, RESAMPLES)
        low, high = np.percentile((again[:, 0] - again[:, 1]) / images, [2.5, 97.5])
        held += count * holds(low, high, only_a - only_b)
        width += count * (high - low)
    return 100 * held / samples, 100 * width / samples


def differences(accuracy: float, fewer: float, images: int, group: int, samples: int) -> npt.NDArray[np.float64]:
    """(samples, images): whether A is right, less the share of three others that are."""
    random = np.random.default_rng(2)
    own, common = random.standard_normal((4, samples, images)), random.standard_normal((samples, images))
    if group > 1:
        shared = random.standard_normal((samples, images // group)).repeat(group, 1)
        common = (common + shared) / np.sqrt(2)
    hard = np.sqrt(CORRELATION) * common + np.sqrt(1 - CORRELATION) * own
    accuracies = [1 - (1 - accuracy) * (1 - fewer), *[accuracy] * 3]
    right = hard < norm.ppf(accuracies)[:, None, None]
    result: npt.NDArray[np.float64] = right[0] - right[1:].mean(0)
    return result


def plain(values: npt.NDArray[np.float64], groups: npt.NDArray[np.int64] | None) -> tuple[float, float]:
    """Resampled images, or groups of one size, alone."""
    units = values if groups is None else values.reshape(-1, GROUP).mean(1)
    distinct, counts = np.unique(units, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(len(units), counts / len(units), RESAMPLES) @ distinct / len(units)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def simulated(
    way: Callable[..., tuple[float, float]], accuracy: float, fewer: float, images: int, group: int, samples: int
) -> Found:
    groups = None if group == 1 else np.arange(images) // group
    drawn = differences(accuracy, fewer, images, group, samples)
    ends = np.array([way(values, groups) for values in drawn])
    true = fewer * (1 - accuracy)
    held = holds(ends[:, 0], ends[:, 1], true)
    return 100 * float(held.mean()), 100 * float((ends[:, 1] - ends[:, 0]).mean())


def row(place: str, entries: list[Found]) -> str:
    return f"| {place} | " + " | ".join(f"{held:.1f}, {width:.2f}" for held, width in entries) + " |"


def heading(title: str, names: tuple[str, str], place: str) -> None:
    print(f"\n{title}. Coverage in percent, mean width in points\n")
    print(
        f"| {place} | " + " | ".join(f"{name}, {errors}" for errors in ("equal", "30 % fewer") for name in names) + " |"
    )
    print("|---" * (place.count("|") + 5) + "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", type=int, choices=IMAGES, default=list(IMAGES))
    parser.add_argument("--samples", type=int, default=2000, help="simulated ones; a quarter of them against a mean")
    arguments = parser.parse_args()
    heading("Two networks", ("resampled", "tango"), "images | accuracy of B")
    for images in arguments.images:
        for accuracy in ACCURACIES:
            entries = []
            for fewer in FEWER:
                both = shares(accuracy, fewer)
                entries += [resampled(*both, images, arguments.samples), tango(*both, images)]
            print(row(f"{images} | {accuracy}", entries), flush=True)
    samples = max(1, arguments.samples // 4)
    heading("A network against the mean of three", ("plain", "with two"), "images | in groups of | accuracy of B")
    for images in [count for count in arguments.images if count <= 100]:
        for group in (1, GROUP):
            for accuracy in ACCURACIES:
                ways = [(fewer, way) for fewer in FEWER for way in (plain, resampled_interval)]
                entries = [simulated(way, accuracy, fewer, images, group, samples) for fewer, way in ways]
                print(row(f"{images} | {group} | {accuracy}", entries), flush=True)


if __name__ == "__main__":
    main()
