"""How sure a difference between two methods is, from replicates that share no network; of test images nothing is said.

scipy is imported where it is needed: small jobs would spend half a second on it.
"""

import math
import statistics
from collections.abc import Sequence

FEWEST = 4  # replicates, or blocks, that an interval is made from
LEVEL = 0.95


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
