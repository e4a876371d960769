"""Which methods can be told apart, at once for all pairs."""

import numpy as np
import pytest

from metrics import Statistic, bootstrap, compare


def compared(scores, resamples=2000, seed=0):
    """Of means of (M, n) scores."""
    statistics = [Statistic.mean(row) for row in scores]
    return compare([s.value for s in statistics], bootstrap(statistics, resamples, seed))


def slow(values, resampled):
    """Step-down p-values by the letter: sort, and maximise anew over the pairs that are left."""
    pairs = [(i, j) for i in range(len(values)) for j in range(i)]
    d = np.array([values[i] - values[j] for i, j in pairs])
    stars = np.array([resampled[i] - resampled[j] for i, j in pairs])
    s = stars.std(axis=1, ddof=1)
    observed, null = np.abs(d) / s, np.abs(stars - d[:, None]) / s[:, None]
    order = np.argsort(-observed)
    found, last = np.ones((len(values),) * 2), 0.0
    for place in range(len(pairs)):
        left = order[place:]
        reached = (null[left].max(axis=0) >= observed[order[place]] * (1 - 1e-9)).sum()
        last = max(last, (1 + reached) / (1 + null.shape[1]))
        i, j = pairs[order[place]]
        found[i, j] = found[j, i] = last
    return found, np.quantile(null.max(axis=0), 0.95, method="higher")


def test_by_the_letter():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(6, 40)) + rng.normal(size=40) + np.array([0, 0, 0.2, 0.4, 0.4, 1.5])[:, None]
    statistics = [Statistic.mean(row) for row in scores]
    values, resampled = [s.value for s in statistics], bootstrap(statistics, 500)
    found = compare(values, resampled)
    p_values, critical = slow(np.array(values), resampled)
    np.testing.assert_allclose(found.p_values, p_values)
    width = (found.high - found.low) / 2
    noise = (resampled[0] - resampled[5]).std(ddof=1)
    assert width[0, 5] == pytest.approx(critical * noise)
    np.testing.assert_allclose(found.low, -found.high.T)
    assert found.differences[5, 0] == pytest.approx(values[5] - values[0])


def test_thirty_methods_with_one_clear_winner_are_separated():
    """Which Holm over 435 bootstrap p-values cannot do with any 10,000 resamples."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(30, 200)) + 3 * rng.normal(size=200)
    scores[7] += 2
    found = compared(scores)
    others = np.arange(30) != 7
    assert found.apart()[7, others].all()
    assert not found.apart()[np.ix_(others, others)].any()
    assert found.rank_intervals()[7].tolist() == [1, 1]
    assert (found.rank_intervals()[others] == [2, 30]).all()
    assert found.letters()[7] == "a"
    assert {found.letters()[i] for i in range(30) if i != 7} == {"b"}
    assert found.first[7] == 1


def test_the_familywise_error_is_what_it_says():
    """With no difference at all, any pair is told apart in about 5 of 100 data sets (160: 15 at 99.9 %)."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(160):
        scores = rng.normal(size=(6, 60)) + rng.normal(size=60)
        wrong += compared(scores, resamples=400).apart().any()
    assert wrong <= 19


def test_letters_say_what_the_matrix_says():
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(12, 50)) + np.linspace(0, 2, 12)[:, None]
    found = compared(scores)
    letters, apart = found.letters(), found.apart()
    assert 0 < apart.sum() < apart.size - 12
    for i in range(12):
        for j in range(12):
            assert (not set(letters[i]) & set(letters[j])) == bool(apart[i, j])
    assert "a" in letters[11]


def test_equal_methods_are_never_told_apart():
    scores = np.random.default_rng(2).normal(size=30)
    found = compared([scores, scores + 1e-13, scores * 0 + 5])
    assert found.p_values[0, 1] == 1
    assert found.differences[0, 1] == 0
    assert found.apart()[0, 2]


def test_a_constant_difference_is_told_apart():
    scores = np.random.default_rng(2).normal(size=30)
    assert compared([scores, scores + 0.5]).apart()[0, 1]


def test_resamples_on_which_one_is_not_defined_speak_against():
    values = np.array([0.0, 1.0])
    resampled = values[:, None] + np.random.default_rng(0).normal(scale=0.01, size=(2, 100))
    assert compare(values, resampled).apart()[0, 1]
    resampled[0, :20] = np.nan
    assert not compare(values, resampled).apart()[0, 1]


def test_one_method_and_none():
    one = compare([1.0], np.ones((1, 10)))
    assert one.rank_intervals().tolist() == [[1, 1]]
    assert one.letters() == ["a"]
    assert compare([], np.ones((0, 10))).letters() == []


def test_more_pairs_than_are_held_at_a_time(monkeypatch):
    scores = np.random.default_rng(5).normal(size=(9, 30)) + np.linspace(0, 1, 9)[:, None]
    whole = compared(scores)
    monkeypatch.setattr("metrics.comparisons.BLOCK", 4000)
    np.testing.assert_array_equal(compared(scores).p_values, whole.p_values)


@pytest.mark.parametrize(
    ("values", "resampled"), [([0.0], np.ones((2, 5))), ([0.0], np.ones(5)), ([np.nan], np.ones((1, 5)))]
)
def test_what_does_not_fit_is_named(values, resampled):
    with pytest.raises(ValueError, match="expected finite"):
        compare(values, resampled)
