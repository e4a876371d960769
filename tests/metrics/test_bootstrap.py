import importlib
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import Statistic, bootstrap, interval, miou

pytestmark = pytest.mark.numerical

EXACT = 1e-9  # relative; sums in another order, on whatever processor, differ by less


def slowly(rows, metric, resamples, seed):
    """The definition: draw n samples with replacement and compute their metric, again and again."""
    n = len(rows)
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
    return np.array([metric(rows[chosen]) for chosen in drawn])


def overlaps(n, rng):
    """Made-up rows of a segmentation, (n, 4): intersections and unions of background and foreground."""
    union = rng.integers(50, 5000, size=(n, 2))
    return np.concatenate([(union * rng.random((n, 2))).astype(int), union], axis=1)


def mean_iou(rows):
    return 100 * (rows[:, :2].sum(0) / rows[:, 2:].sum(0)).mean()


def miou_of(rows):
    return Statistic(rows, lambda s: miou(s[..., None, :2], s[..., None, 2:]))


def test_the_statistic_of_the_data_set_is_the_metric_itself():
    values = np.random.default_rng(0).random(50)
    assert Statistic.mean(values, scale=100).value == pytest.approx(100 * values.mean())
    assert Statistic(values[:, None], lambda sums: sums[..., 0]).value == pytest.approx(values.sum())


def test_a_mean_has_the_standard_error_that_theory_says():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    (resampled,) = bootstrap([Statistic.mean(values)], resamples=20_000)
    assert resampled.mean() == pytest.approx(values.mean(), abs=0.01)
    assert resampled.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.03)
    low, high = interval(resampled)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_a_ratio_of_sums_is_recomputed_and_not_averaged():
    rows = overlaps(80, np.random.default_rng(1))
    assert miou_of(rows).value == pytest.approx(mean_iou(rows), rel=EXACT)
    (resampled,) = bootstrap([miou_of(rows)], resamples=2_000, seed=3)
    assert resampled == pytest.approx(slowly(rows, mean_iou, 2_000, seed=3), rel=EXACT)


@pytest.mark.parametrize("n", [1, 2, 37, 1_000])
def test_statistics_of_every_kind_are_those_of_the_rows_drawn(n):
    rng = np.random.default_rng(n)
    hits, scores, rows = rng.random(n) < 0.5, rng.normal(size=n), overlaps(n, rng)
    statistics = [
        Statistic.mean(hits, scale=100),
        miou_of(rows),
        Statistic.mean(scores),
        miou_of(rows),  # shares all its columns
        Statistic(rows[:, :1], lambda s: s[..., 0]),  # and this one of them
        Statistic.mean(scores, scale=-2),
    ]
    expected = [
        slowly(hits, lambda r: 100 * r.mean(), 300, seed=5),
        slowly(rows, mean_iou, 300, seed=5),
        slowly(scores, np.mean, 300, seed=5),
        slowly(rows, mean_iou, 300, seed=5),
        slowly(rows, lambda r: r[:, 0].sum(), 300, seed=5),
        slowly(scores, lambda r: -2 * r.mean(), 300, seed=5),
    ]
    np.testing.assert_allclose(bootstrap(statistics, 300, seed=5), expected, rtol=EXACT, atol=1e-12)


def test_terms_are_left_as_they_are_and_may_lie_in_any_order():
    rows = overlaps(30, np.random.default_rng(0))
    rows.flags.writeable = False
    (expected,) = bootstrap([miou_of(rows)], 50)
    for other in (np.asfortranarray(rows), np.repeat(rows, 2, axis=0)[::2], rows.astype(np.float32)):
        assert bootstrap([miou_of(other)], 50)[0] == pytest.approx(expected, rel=EXACT)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5), st.integers(0, 99))
def test_every_resample_is_the_metric_of_n_samples_of_the_data(values, seed):
    values = np.array(values)
    n = len(values)
    (resampled,) = bootstrap([Statistic.mean(values, scale=3)], resamples=20, seed=seed)
    possible = [3 * np.mean(chosen) for chosen in itertools.combinations_with_replacement(values, n)]
    assert np.abs(resampled[:, None] - possible).min(axis=1).max() < 1e-9


def test_samples_are_drawn_equally_often_and_with_replacement():
    times_drawn = bootstrap(
        [Statistic(np.eye(4), lambda sums, i=i: sums[..., i]) for i in range(4)], resamples=20_000
    )
    assert (times_drawn.sum(axis=0) == 4).all()
    assert times_drawn.mean(axis=1) == pytest.approx(np.ones(4), abs=0.03)
    # Multinomial with p = 1/4: variances n · p · (1 − p) = 3/4, covariances −n · p² = −1/4.
    assert np.cov(times_drawn) == pytest.approx(np.eye(4) - 0.25, abs=0.03)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.sampled_from([0.5, 0.9, 0.95, 1]))
def test_the_interval_leaves_out_equal_shares_at_both_ends(values, level):
    ordered = sorted(values)

    def quantile(q):
        """Linear between the ordered values, the first at q = 0 and the last at q = 1."""
        position = q * (len(ordered) - 1)
        below = min(int(position), len(ordered) - 1)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (position - below) * (ordered[above] - ordered[below])

    expected = [quantile((1 - level) / 2), quantile((1 + level) / 2)]
    assert interval(np.array(values), level) == pytest.approx(expected, abs=1e-9)
    low, high = interval(np.array([values, values]), level)
    assert low.tolist() == [low[0]] * 2
    assert (low[0], high[0]) == pytest.approx(expected, abs=1e-9)


def test_resamples_are_seeded_and_shared_between_statistics():
    values = np.random.default_rng(0).random(30)
    first, shifted = bootstrap([Statistic.mean(values), Statistic.mean(values + 1)], resamples=100)
    assert np.allclose(shifted, first + 1)
    (alone,) = bootstrap([Statistic.mean(values)], resamples=100)
    assert alone == pytest.approx(first, rel=EXACT)  # a product of another shape
    (more,) = bootstrap([Statistic.mean(values)], resamples=150)
    assert more[:100] == pytest.approx(first, rel=EXACT)
    assert np.abs(bootstrap([Statistic.mean(values)], resamples=100, seed=1)[0] - first).max() > 1e-3


@pytest.mark.parametrize("sizes", [{"CHUNK": 400}, {"CHUNK": 1}, {"BLOCK": 90}, {"DRAWS": 1}, {"DRAWS": 130}])
def test_what_is_held_at_a_time_changes_no_draw(monkeypatch, sizes):
    rng = np.random.default_rng(0)
    # Sums of whole numbers are exact in any order, so that every draw shows.
    counts = [Statistic(rng.integers(1_000, size=(40, 3)), lambda s: s @ [1, 1_000, 1_000_000])] * 2
    means = [Statistic.mean(rng.random(40)) for _ in range(4)]
    whole = bootstrap(counts + means, resamples=101)
    # The package has the function of the same name in the module's place.
    module = importlib.import_module("metrics.bootstrap")
    for name, size in sizes.items():
        monkeypatch.setattr(module, name, size)
    again = bootstrap(counts + means, resamples=101)
    assert np.array_equal(whole[:2], again[:2])
    assert again == pytest.approx(whole, rel=EXACT)


@pytest.mark.parametrize(
    ("samples", "resamples", "statistics", "terms"),
    [(300_000, 120, 1, 40), (40, 15_000, 1, 3_000), (40, 15_000, 600, 3), (3_000_000, 3, 1, 3)],
)
def test_memory_beyond_the_result_is_bounded(samples, resamples, statistics, terms):
    """All draws of the first case, for example, are 288 MB, and its terms 96 MB."""
    rng = np.random.default_rng(0)
    given = [
        Statistic(rng.integers(1_000, size=(samples, terms), dtype=np.int32), lambda s: s[..., 0])
        for _ in range(statistics)
    ]
    tracemalloc.start()
    try:
        result = bootstrap(given, resamples)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - result.nbytes <= 200e6


def test_statistics_of_different_samples_are_refused():
    with pytest.raises(ValueError, match="one number of samples"):
        bootstrap([Statistic.mean(np.ones(3)), Statistic.mean(np.ones(4))])
