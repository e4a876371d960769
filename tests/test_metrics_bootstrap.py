import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import Statistic, bootstrap, holm, interval, miou, paired_p_value


def slowly(rows, metric, resamples, seed):
    """The definition: draw n samples with replacement and compute their metric, again and again."""
    rng = np.random.default_rng(seed)
    n = len(rows)
    return np.array([metric(rows[rng.integers(n, size=n)]) for _ in range(resamples)])


def test_the_statistic_of_the_data_set_is_the_metric_itself():
    values = np.random.default_rng(0).random(50)
    assert Statistic.mean(values, scale=100).value == pytest.approx(100 * values.mean())


def test_a_mean_has_the_standard_error_that_theory_says():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    (resampled,) = bootstrap([Statistic.mean(values)], resamples=20_000)
    assert resampled.mean() == pytest.approx(values.mean(), abs=0.01)
    assert resampled.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.03)
    low, high = interval(resampled)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_a_ratio_of_sums_is_recomputed_and_not_averaged():
    rng = np.random.default_rng(1)
    union = rng.integers(50, 5000, size=(80, 2))
    intersection = (union * rng.random((80, 2))).astype(int)
    rows = np.concatenate([intersection, union], axis=1)
    statistic = Statistic(rows, lambda s: miou(s[..., None, :2], s[..., None, 2:]))
    assert statistic.value == pytest.approx(100 * (intersection.sum(0) / union.sum(0)).mean())
    (fast,) = bootstrap([statistic], resamples=20_000)
    slow = slowly(rows, lambda r: 100 * (r[:, :2].sum(0) / r[:, 2:].sum(0)).mean(), 5_000, seed=3)
    assert fast.mean() == pytest.approx(slow.mean(), abs=0.1)
    assert fast.std() == pytest.approx(slow.std(), rel=0.05)


def test_resamples_are_seeded_and_shared_between_statistics():
    values = np.random.default_rng(0).random(30)
    first, shifted = bootstrap([Statistic.mean(values), Statistic.mean(values + 1)], resamples=100)
    assert np.allclose(shifted, first + 1)
    assert np.array_equal(first, bootstrap([Statistic.mean(values)], resamples=100)[0])
    assert not np.array_equal(first, bootstrap([Statistic.mean(values)], resamples=100, seed=1)[0])


def test_memory_is_bounded_without_changing_a_number(monkeypatch):
    statistics = [Statistic.mean(np.random.default_rng(0).random(40))]
    whole = bootstrap(statistics, resamples=101)
    # The package has the function of the same name in the module's place.
    monkeypatch.setattr(importlib.import_module("metrics.bootstrap"), "CHUNK", 400)
    assert np.array_equal(whole, bootstrap(statistics, resamples=101))


def test_statistics_of_different_samples_are_refused():
    with pytest.raises(ValueError, match="one number of samples"):
        bootstrap([Statistic.mean(np.ones(3)), Statistic.mean(np.ones(4))])


def test_a_clear_difference_is_told_from_none():
    rng = np.random.default_rng(0)
    base = rng.random(200)
    same = base + rng.normal(0, 0.3, size=200)
    worse = base - 0.2 + rng.normal(0, 0.3, size=200)
    a, b, c = bootstrap([Statistic.mean(v) for v in (base, same - (same - base).mean(), worse)])
    assert paired_p_value(a, b) > 0.5
    assert paired_p_value(a, c) < 0.001
    assert paired_p_value(a, a) == 1
    assert paired_p_value(a, c) == paired_p_value(c, a) > 0


def test_the_test_keeps_its_level():
    """Under the hypothesis about one in twenty tests is significant at 5 %."""
    rng = np.random.default_rng(5)
    significant = 0
    for _ in range(300):
        a, b = rng.normal(size=(2, 60))
        significant += (
            paired_p_value(*bootstrap([Statistic.mean(a), Statistic.mean(b)], resamples=400)) < 0.05
        )
    assert 4 <= significant <= 32


def test_holm_on_an_example_by_hand():
    # 4 · 0.01, 3 · 0.015, then never less than before: 2 · 0.02 = 0.04 < 0.045, 1 · 0.5.
    assert holm([0.02, 0.01, 0.5, 0.015]) == pytest.approx([0.045, 0.04, 0.5, 0.045])
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    corrected = holm(p_values)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, index in enumerate(np.argsort(p_values)):
            if p_values[index] * (len(p_values) - step) > level:
                break
            rejected.add(index)
        assert rejected == set(np.flatnonzero(corrected <= level))
