"""Intervals over replicates, against scipy, and how often they cover the truth."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from rrl.replicates import paired_t_interval, welch_interval

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("first", "second"), [(4, 4), (4, 10), (20, 4), (6, 5)])
def test_welch_is_that_of_scipy(first: int, second: int) -> None:
    for _ in range(20):
        a, b = RANDOM.normal(80, 3, first), RANDOM.normal(78, 0.5, second)
        expected = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
        assert welch_interval(a.tolist(), b.tolist()) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("count", [4, 5, 20])
def test_paired_is_that_of_scipy(count: int) -> None:
    for _ in range(20):
        a = RANDOM.normal(80, 3, count)
        b = a + RANDOM.normal(1, 0.5, count)
        expected = ttest_rel(a, b).confidence_interval(0.95)
        assert paired_t_interval(a.tolist(), b.tolist()) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_values_without_spread_have_an_interval_without_width() -> None:
    assert paired_t_interval([2.0] * 4, [1.0] * 4) == welch_interval([2.0] * 4, [1.0] * 5) == (1.0, 1.0)


@pytest.mark.parametrize("interval", [paired_t_interval, welch_interval])
def test_fewer_than_four_give_no_interval(interval: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="3"):
        interval([1.0, 2.0, 3.0], [2.0, 3.0, 5.0])


def test_a_pair_without_its_partner_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_t_interval([1.0] * 5, [2.0] * 4)


def test_they_cover_the_truth_as_often_as_they_say() -> None:
    """1,000 made-up experiments: 95 %, give or take four standard errors; Welch's is an approximation."""
    random = np.random.default_rng(1)
    paired = welch = 0
    for _ in range(1000):
        shared, a, b, c = random.normal(0, 3, 4), *random.normal(0, 1, (2, 4)), random.normal(0, 2, 10)
        low, high = paired_t_interval((shared + a).tolist(), (shared + b - 1).tolist())
        paired += low < 1 < high
        low, high = welch_interval((1 + a).tolist(), c.tolist())
        welch += low < 1 < high
    assert paired / 1000 == pytest.approx(0.95, abs=0.028) and welch / 1000 == pytest.approx(0.95, abs=0.035)
