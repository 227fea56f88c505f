"""Linear CKA: how alike the features are that two networks have of the same images, whatever turns or scales them.

Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited" (2019): with centred
features X (N, D) and Y (N, E), |X'Y|^2 / (|X'X| |Y'Y|) in Frobenius norms, which is HSIC(X, Y) / sqrt(HSIC(X, X)
HSIC(Y, Y)) of the kernels XX' and YY', by a biased estimate of HSIC. Features that have nothing in common get about
sqrt(D E) / N, if all features vary as much: .2 for 2,048 features of 10,000 images, so that of two pairs of networks
the wider ones look more alike. The debiased CKA has in place of it the unbiased estimate of Song, Smola, Gretton, Bedo
and Borgwardt, "Feature Selection via Dependence Maximization" (2012): about 0 for these, a little below as often as
above. 1 is X = Y but for a rotation and a scale, in both.

Neither needs the kernels (N, N): products (D, E) and sums over images do.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
FEWEST = 4  # images that the unbiased estimate is defined for


@dataclass(frozen=True)
class Hsic:
    """Estimates of HSIC, each up to a factor that is the same for all features of as many images."""

    biased: float
    unbiased: float


def hsic(blocks: Iterable[tuple[Array, Array]]) -> Hsic:
    """Of the centred features of the same images: (B, D) and (B, E) of some images each, all in all N of 4 or more.

    Memory: a product (D, E), whatever N is.
    """
    count, both, diagonal = 0, np.zeros(()), 0.0
    sums: tuple[Array, Array] = np.zeros(()), np.zeros(())
    weighted: tuple[Array, Array] = np.zeros(()), np.zeros(())  # images counted by the squared norm of the other's
    squares = [0.0, 0.0]
    for x, y in blocks:
        of_x, of_y = (x * x).sum(1), (y * y).sum(1)
        count += len(x)
        both = both + x.T @ y
        diagonal += float(of_x @ of_y)
        sums = sums[0] + x.sum(0), sums[1] + y.sum(0)
        weighted = weighted[0] + of_y @ x, weighted[1] + of_x @ y
        squares = [squares[0] + float(of_x.sum()), squares[1] + float(of_y.sum())]
    # Of the kernels without their diagonals: sums of their product, of each, and of the products of their rows' sums.
    norm = float((both * both).sum())
    product = norm - diagonal
    (first, second) = (float(total @ total) - square for total, square in zip(sums, squares, strict=True))
    rows = float(sums[0] @ both @ sums[1] - sums[0] @ weighted[0] - sums[1] @ weighted[1]) + diagonal
    unbiased = product + first * second / ((count - 1) * (count - 2)) - 2 * rows / (count - 2)
    return Hsic(norm, unbiased)


def cka(both: float, first: float, second: float) -> float:
    """Of HSIC(X, Y), HSIC(X, X) and HSIC(Y, Y), all estimated alike; the last two above 0."""
    return both / math.sqrt(first * second)
