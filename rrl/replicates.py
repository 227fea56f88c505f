"""How sure a difference between two methods is, from replicates that share no network; of test images nothing is said.

scipy is imported where it is needed: small jobs would spend half a second on it.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 4  # replicates, or blocks, that an interval is made from
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """First minus second.

    n : replicates of each. blocks : that they are paired by; None where they share none.
    means : of each, over blocks or over replicates; None where a side has none.
    interval : 95 %; None for the stated `reason`.
    """

    n: tuple[int, int]
    blocks: int | None
    means: tuple[float, float] | None
    interval: tuple[float, float] | None
    reason: str


def compare_blocks(first: Sequence[tuple[str, float]], second: Sequence[tuple[str, float]]) -> Difference:
    """Compare two methods by the block and the value of each replicate.

    Methods with the same blocks are compared block by block, methods without a common block by Welch's interval.
    """
    n, names = (len(first), len(second)), [sorted({block for block, _ in side}) for side in (first, second)]
    paired = names[0] == names[1]
    values = [_block_means(side) if paired else [value for _, value in side] for side in (first, second)]
    means = (statistics.fmean(values[0]), statistics.fmean(values[1])) if all(values) else None
    reason = _no_interval(set(names[0]), set(names[1]), n)
    interval = None if reason else (paired_t_interval if paired else welch_interval)(*values)
    return Difference(n, len(names[0]) if paired else None, means, interval, reason)


def _no_interval(first: set[str], second: set[str], n: tuple[int, int]) -> str:
    """Why replicates in these blocks give no interval; empty if they do."""
    if first != second and first & second:
        alone = sorted(first ^ second)
        more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
        return f"only one of the two has replicates in block {alone[0]}{more}"
    fewest, what = (len(first), "block") if first == second else (min(n), "replicate")
    plural = "" if fewest == 1 else "s"
    return f"{fewest} {what}{plural}; an interval needs {FEWEST}" if fewest < FEWEST else ""


def _block_means(replicates: Sequence[tuple[str, float]]) -> list[float]:
    """In the order of the blocks' names."""
    names = sorted({block for block, _ in replicates})
    return [statistics.fmean(value for block, value in replicates if block == name) for name in names]


def paired_t_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of first - second, both one value per block: Student's t, n - 1 degrees of freedom.

    Raises ValueError for fewer than 4 blocks, or another number on each side.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    if len(differences) < FEWEST:
        raise ValueError(f"{len(differences)} blocks; at least {FEWEST} are needed")
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return _around(statistics.fmean(differences), error, len(differences) - 1)


def welch_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of mean(first) - mean(second), of independent replicates whose variances may differ.

    Welch (1947), with the degrees of freedom of Welch and Satterthwaite. Raises ValueError for fewer than 4 replicates
    on either side.
    """
    if min(len(first), len(second)) < FEWEST:
        raise ValueError(f"{len(first)} and {len(second)} replicates; at least {FEWEST} of each are needed")
    shares = [statistics.variance(side) / len(side) for side in (first, second)]
    total = sum(shares)
    terms = (share**2 / (len(side) - 1) for share, side in zip(shares, (first, second), strict=True))
    freedom = total**2 / sum(terms) if total else 1.0
    return _around(statistics.fmean(first) - statistics.fmean(second), math.sqrt(total), freedom)


def _around(mean: float, error: float, freedom: float) -> tuple[float, float]:
    from scipy.stats import t

    margin = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    return mean - margin, mean + margin
