"""Intervals hold what they promise, for few samples too."""

import numpy as np
import pytest

from metrics import MeanIoU, PixelAccuracy, Statistic, bootstrap, interval, intervals, wilson
from metrics.intervals import BOOTSTRAP, WIDENED, WILSON

pytestmark = pytest.mark.numerical

DRAWS = {  # near an end, at both ends, at one end but for a few, in the middle; each with its mean
    "near 1": (lambda rng, size: rng.beta(20, 1, size), 20 / 21),
    "near 0": (lambda rng, size: rng.beta(1, 20, size), 1 / 21),
    "both ends": (lambda rng, size: rng.beta(0.3, 0.1, size), 0.75),
    "mostly 1": (lambda rng, size: np.where(rng.random(size) < 0.9, 1, rng.random(size)), 0.95),
    "uniform": (lambda rng, size: rng.random(size), 0.5),
}


def coverage(found, mean) -> float:
    return float(np.mean((found.low <= mean) & (mean <= found.high)))


@pytest.mark.parametrize("n", [5, 8, 20, 29])
@pytest.mark.parametrize("kind", DRAWS)
def test_an_interval_of_a_bounded_mean_of_few_samples_holds_its_mean_as_often_as_it_says(kind, n):
    draw, mean = DRAWS[kind]
    samples = draw(np.random.default_rng(n), (400, n))
    found = intervals([Statistic.mean(each, bounds=(0, 1)) for each in samples], resamples=800)
    assert set(found.kinds) == {WIDENED}
    assert coverage(found, mean) >= 0.917  # 0.95, less three deviations of 400 draws


def test_the_percentile_interval_alone_does_not():
    draw, mean = DRAWS["mostly 1"]
    samples = draw(np.random.default_rng(8), (400, 8))
    assert coverage(intervals([Statistic.mean(each) for each in samples], resamples=800), mean) < 0.7


@pytest.mark.parametrize("n", [8, 30, 200])
def test_wilson_holds_a_proportion_as_often_as_it_says(n):
    shares = np.linspace(0.01, 0.99, 99)
    hits = np.random.default_rng(0).binomial(n, shares, (4000, 99))
    low, high = wilson(hits / n, n)
    held = ((low <= shares) & (shares <= high)).mean(axis=0)
    assert held.mean() == pytest.approx(0.95, abs=0.01)
    assert held.min() > 0.82  # known: near 0 and 1 the coverage of any such interval swings


def test_wilson_as_published():
    low, high = wilson([0.0, 0.1, 1.0], 10)  # Newcombe, Statistics in Medicine 17, 1998, gives such ends
    assert low == pytest.approx([0.0, 0.0179, 0.7225], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.4042, 1.0], abs=1e-4)


def test_a_share_has_wilsons_interval_in_its_own_unit():
    hits = [True] * 9 + [False]
    found = intervals([Statistic.share(hits, scale=100)])
    assert found.kinds == [WILSON]
    assert (found.low[0], found.high[0]) == pytest.approx((59.58, 98.21), abs=0.01)
    with pytest.raises(ValueError, match="true or false"):
        Statistic.share([0.5, 1.0])


def test_samples_that_agree_give_an_interval_with_a_width():
    many = intervals([Statistic.mean(np.full(50, 0.9), bounds=(0, 1))])
    assert many.kinds == [WIDENED]
    assert many.low[0] < 0.9 < many.high[0]
    perfect = intervals([Statistic.mean(np.full(8, 90.0), bounds=(0, 90))])
    assert perfect.high[0] == 90
    assert perfect.low[0] < 75


def test_where_the_bootstrap_serves_it_stays():
    values = np.random.default_rng(1).random(40)
    found = intervals([Statistic.mean(values, bounds=(0, 1))], resamples=500, seed=3)
    low, high = interval(bootstrap([Statistic.mean(values)], 500, seed=3))
    assert found.kinds == [BOOTSTRAP]
    assert (found.low[0], found.high[0]) == (low[0], high[0])


def test_ratios_of_sums_gain_a_sample_of_mean_size_at_either_end():
    columns = {
        "correct": np.full(6, 80),
        "labelled": np.full(6, 100),
        "intersection": [[60, 20]] * 6,
        "union": [[80, 40]] * 6,
    }
    for metric, value in ((PixelAccuracy, 80.0), (MeanIoU, 62.5)):
        statistic = metric(name="m", title="m").statistics(columns)[0]
        worst, best = (statistic.reduce(each) for each in statistic.ends)
        assert (worst, best) == (0, 100)
        found = intervals([statistic])
        assert found.kinds == [WIDENED]
        assert found.low[0] < value < found.high[0]


def test_the_range_of_a_metric_bounds_its_means_and_nothing_else():
    percent = Statistic.mean([0.2, 0.7], scale=100).bounded(0, 100)
    assert percent.ends.tolist() == [[0, 1], [1, 1]]
    assert Statistic.mean([0.2, 7.0]).bounded(0, 1).ends is None  # the range is not its own
    assert Statistic.mean([0.2, 0.7]).bounded(0, np.inf).ends is None
    ratio = Statistic(np.ones((4, 2)), lambda sums: sums[..., 0] / sums[..., 1])
    assert ratio.bounded(0, 1) is ratio


def test_a_statistic_of_no_sample_has_no_interval():
    nobody = Statistic.mean([0.5, 0.5], defined=[False, False], bounds=(0, 1))
    found = intervals([nobody, Statistic.mean([0.1, 0.9], bounds=(0, 1))])
    assert np.isnan(found.low[0])
    assert np.isnan(found.high[0])
    assert not np.isnan(found.low[1])
