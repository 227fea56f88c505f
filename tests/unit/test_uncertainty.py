"""Intervals of accuracies and of their differences, against published values and by enumeration."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from benchmarks.coverage import ACCURACIES, FEWER, shares, tango
from rrl import statistics as uncertainty
from rrl.statistics import difference, interval, keeps, mcnemar, paired_interval, resampled_interval


def test_interval_of_an_accuracy() -> None:
    """Wilson's formula, written out."""
    for top1, images in ((0.5, 10), (0.903, 5000), (1.0, 30), (0.0, 30)):
        z, p = norm.ppf(0.975), round(top1 * images) / images
        centre, half = p + z**2 / (2 * images), z * np.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))
        expected = [(centre + sign * half) / (1 + z**2 / images) for sign in (-1, 1)]
        assert interval(top1, images) == pytest.approx(expected)


@pytest.mark.parametrize("images", [1, 7, 100, 999])
def test_interval_is_that_of_scipy_to_the_last_bit(images: int) -> None:
    for correct in range(images + 1):
        found = binomtest(correct, images).proportion_ci(0.95, method="wilson")
        assert interval(correct / images, images) == (found.low, found.high)


def test_mcnemar_is_exact() -> None:
    assert mcnemar(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(0, 0) == mcnemar(7, 7) == 1


@pytest.mark.parametrize(
    ("only_first", "only_second", "images", "level", "expected"),
    [
        (6, 16, 161, 0.95, (-0.1240, -0.0054)),  # Fagerland, Lydersen and Laake 2017: complete response (Cavo 2012)
        (1, 7, 21, 0.95, (-0.517, -0.026)),  # the same: airway hyper-responsiveness (Bentur 2009)
        (28, 25, 618, 0.90, (-0.0148, 0.0247)),  # scoreci.mp(25, 28, 618, 0.90) of R's PropCIs
    ],
)
def test_paired_interval_is_that_of_others(
    only_first: int,
    only_second: int,
    images: int,
    level: float,
    expected: tuple[float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uncertainty, "NORMAL", norm.ppf((1 + level) / 2))
    places = 3 if images == 21 else 4  # that are published
    assert tuple(round(bound, places) for bound in paired_interval(only_first, only_second, images)) == expected


@pytest.mark.parametrize("images", [1, 40, 5000])
def test_paired_interval_where_no_image_differs(images: int) -> None:
    """The closed form that the equation of the score test has there."""
    square = norm.ppf(0.975) ** 2
    bound = square / (images + square)
    assert paired_interval(0, 0, images) == pytest.approx((-bound, bound))


def test_paired_interval_solves_the_equation_of_the_score_test() -> None:
    """The most likely shares under a difference, by maximising the likelihood instead of by formula."""
    for only_first, only_second, images in ((5, 1, 40), (0, 3, 60), (12, 9, 100)):
        for bound in paired_interval(only_first, only_second, images):
            shares = np.linspace(max(0, -bound), (1 - bound) / 2, 2_000_001)[1:-1]  # that the second alone has right
            likelihood = only_second * np.log(shares) + only_first * np.log(shares + bound)
            likelihood += (images - only_first - only_second) * np.log(1 - 2 * shares - bound)
            second = shares[likelihood.argmax()]
            score = (only_first - only_second - images * bound) / np.sqrt(images * (2 * second + bound - bound**2))
            assert abs(score) == pytest.approx(norm.ppf(0.975), abs=1e-3)


@pytest.mark.parametrize("images", [1, 2, 9, 40])
def test_paired_interval_is_symmetric_and_within_bounds(images: int) -> None:
    first, second = (grid.ravel() for grid in np.meshgrid(np.arange(images + 1), np.arange(images + 1)))
    first, second = first[first + second <= images], second[first + second <= images]
    low, high = paired_interval(first, second, images)
    found = (first - second) / images
    assert np.all((low >= -1) & (low <= found) & (found <= high) & (high <= 1) & (low < high))
    mirrored = paired_interval(second, first, images)
    np.testing.assert_allclose((-high, -low), mirrored, atol=1e-12)
    assert np.all(keeps(low, first, second, images) & keeps(high, first, second, images))
    assert paired_interval(int(first[-1]), int(second[-1]), images) == (low[-1], high[-1])


@pytest.mark.parametrize("images", [40, 100])
@pytest.mark.parametrize("accuracy", ACCURACIES)
@pytest.mark.parametrize("fewer", FEWER)
def test_paired_interval_holds_the_true_difference(images: int, accuracy: float, fewer: float) -> None:
    """In 95 % of all samples, exactly: every outcome with its probability, none drawn."""
    coverage, width = tango(*shares(accuracy, fewer), images)
    assert coverage > 94.4 and width < 250 / np.sqrt(images)


def test_resampled_interval_is_nearly_that_of_plain_resampling_where_many_images_differ() -> None:
    random = np.random.default_rng(1)
    differences = random.choice([-1, -1 / 3, 0, 1 / 3, 1], 2000, p=[0.05, 0.1, 0.5, 0.2, 0.15])
    drawn = random.integers(0, 2000, (2000, 2000))
    plain = np.percentile(differences[drawn].mean(1), [2.5, 97.5])
    assert resampled_interval(differences) == pytest.approx(plain, abs=0.003)
    assert resampled_interval(differences, np.arange(2000)) == resampled_interval(differences)
    order = random.permutation(2000)
    assert resampled_interval(differences[order]) == resampled_interval(differences)


def test_resampled_interval_where_no_image_differs_is_not_nothing() -> None:
    """The binomial bound on what was seen in none of 100 images: 2.95 % (95 %) to 3.62 % (97.5 %)."""
    low, high = resampled_interval(np.zeros(100))
    assert low == -high and 0.025 < high < 0.037


def test_groups_are_resampled_as_wholes() -> None:
    """Each image ten times over, as a group: the interval is that of the images once, and wider than of so many."""
    differences = np.random.default_rng(2).choice([-1.0, 0, 1], 300, p=[0.1, 0.7, 0.2])
    groups = np.arange(300).repeat(10)
    low, high = resampled_interval(differences.repeat(10), groups)
    alone, of_one = resampled_interval(differences), resampled_interval(differences.repeat(10))
    assert (low, high) == pytest.approx(alone, abs=0.01) and high - low > 2.5 * (of_one[1] - of_one[0])


def test_difference_to_one_and_to_the_mean_of_several() -> None:
    random = np.random.default_rng(3)
    right, *others = (random.random((4, 500)) < 0.8).astype(bool)
    one, several = difference(right, others[:1]), difference(right, others)
    assert one["difference_interval"] == paired_interval(*one["right_alone"], 500)
    assert one["right_alone"] == [(right & ~others[0]).sum(), (others[0] & ~right).sum()]
    assert several["difference"] == pytest.approx(right.mean() - np.mean([of.mean() for of in others]))
    low, high = several["difference_interval"]
    assert low < several["difference"] < high and several["right_alone"] is several["mcnemar_p"] is None
    assert several["top1"] == [right.mean(), *(of.mean() for of in others)]
