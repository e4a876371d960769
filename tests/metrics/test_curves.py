"""Numbers of curves by hand, and the metrics that read them from columns."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metrics
from metrics import (
    AOPC,
    ColumnMean,
    Comprehensiveness,
    DecisionFlip,
    LogOdds,
    RemovalArea,
    Road,
    Sufficiency,
    SymmetricRelevanceGain,
)

NAMED = {"name": "x", "title": "X"}
STEPS = [0.0, 0.25, 0.5, 1.0]
BINS = [0.1, 0.5]


def columns(samples=6, seed=0):
    """Columns as they come from stored rows: a list in each entry."""
    rng = np.random.default_rng(seed)
    made = {
        f"{direction}_{name}": list(rng.random((samples, len(STEPS))).astype(np.float32))
        for direction in ("positive", "negative")
        for name in ("probability", "logit")
    }
    made["positive_predictions"] = list(rng.integers(2, size=(samples, len(STEPS))))
    made["log_probability"] = np.log(rng.random(samples))
    made["without_top_log_probability"] = list(np.log(rng.random((samples, len(BINS)))))
    made["only_top_probability"] = list(rng.random((samples, len(BINS))))
    return made


def trapezoids(curve):
    return sum((b - a) * (x + y) / 2 for (a, b), (x, y) in zip(pairwise(STEPS), pairwise(curve), strict=True))


def by_hand(name, row):
    """One sample's number, written without arrays."""
    most, least = row["positive_probability"], row["negative_probability"]
    if name == "deletion":
        return trapezoids(most)
    if name == "insertion":
        return trapezoids(least)
    if name == "srg":
        return trapezoids(least) - trapezoids(most)
    if name == "road":
        return sum(b - a for a, b in zip(most[1:], least[1:], strict=True)) / (len(STEPS) - 1) / 2
    if name == "aopc":
        return sum(most[0] - value for value in most) / len(most)
    if name == "aopc_logit":
        return sum(row["positive_logit"][0] - value for value in row["positive_logit"]) / len(STEPS)
    if name == "flip":
        changed = [
            f
            for f, y in zip(STEPS, row["positive_predictions"], strict=True)
            if y != row["positive_predictions"][0]
        ]
        return changed[0] if changed else 1.0
    clean = np.exp(row["log_probability"])
    if name == "comprehensiveness":
        return sum(clean - np.exp(each) for each in row["without_top_log_probability"]) / len(BINS)
    if name == "sufficiency":
        return sum(clean - each for each in row["only_top_probability"]) / len(BINS)
    return sum(each - row["log_probability"] for each in row["without_top_log_probability"]) / len(BINS)


ALL = {
    "deletion": RemovalArea(**NAMED, steps=STEPS, direction="positive", higher_is_better=False),
    "insertion": RemovalArea(**NAMED, steps=STEPS, direction="negative"),
    "srg": SymmetricRelevanceGain(**NAMED, steps=STEPS),
    "road": Road(**NAMED, steps=STEPS),
    "aopc": AOPC(**NAMED, steps=STEPS),
    "aopc_logit": AOPC(**NAMED, steps=STEPS, quantity="logit"),
    "flip": DecisionFlip(**NAMED, steps=STEPS),
    "comprehensiveness": Comprehensiveness(**NAMED, bins=BINS),
    "sufficiency": Sufficiency(**NAMED, bins=BINS),
    "log_odds": LogOdds(**NAMED, bins=BINS),
}


@pytest.mark.parametrize("name", ALL)
def test_each_metric_by_hand(name):
    stored = columns()
    rows = [{key: column[i] for key, column in stored.items()} for i in range(6)]
    statistic = ALL[name].statistics(stored)[0]
    assert statistic.value == pytest.approx(np.mean([by_hand(name, row) for row in rows]), abs=1e-6)
    assert statistic.count == 6


@pytest.mark.parametrize("name", ["deletion", "insertion", "srg"])
def test_the_figure_shows_what_the_number_sums_up(name):
    curve = ALL[name].curve(columns())
    area = np.trapezoid(curve.values.mean(axis=0), curve.x) / 1e4
    assert area == pytest.approx(ALL[name].statistics(columns())[0].value, abs=1e-6)


def test_a_number_that_is_missing_is_counted_and_not_0():
    metric = ColumnMean(**NAMED, column="hit", least=-1)
    assert metric.range == (-1, 1)
    statistic = metric.statistics({"hit": np.array([1.0, None, 0.5, np.nan], dtype=object)})[0]
    assert statistic.value == pytest.approx(0.75)
    assert statistic.count == 2


def test_hits_are_a_proportion():
    metric = ColumnMean(**NAMED, column="hit", share=True)
    statistic = metric.statistics({"hit": np.array([1.0, None, 0.0, 1.0], dtype=object)})[0]
    assert statistic.proportion
    assert (statistic.value, statistic.count) == (pytest.approx(2 / 3), 3)
    with pytest.raises(ValueError, match="hits"):
        metric.statistics({"hit": np.array([0.5])})


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: RemovalArea(**NAMED, steps=STEPS, direction="up"), "direction"),
        (lambda: SymmetricRelevanceGain(**NAMED, steps=[0.0]), "steps"),
        (lambda: AOPC(**NAMED, steps=STEPS, quantity="odds"), "quantity"),
        (lambda: Comprehensiveness(**NAMED, bins=[]), "bins"),
    ],
)
def test_settings_out_of_range_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_columns_of_other_steps_are_not_cut_to_fit():
    with pytest.raises(ValueError, match="expected 3 numbers for each sample, got"):
        SymmetricRelevanceGain(**NAMED, steps=[0.0, 0.5, 1.0]).statistics(columns())


@given(st.integers(1, 400), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_bins_have_a_unit_and_no_more_than_there_are(units, fractions):
    floor, ceil = (metrics.bin_counts(units, fractions, rounding) for rounding in ("floor", "ceil"))
    for fraction, lower, upper in zip(fractions, floor, ceil, strict=True):
        assert 1 <= lower <= upper <= lower + 1 <= units + 1
        assert abs(lower - units * fraction) < 1 + 1e-6


def test_counts_mean_the_fraction_that_is_written():
    assert metrics.unit_counts(90, [0.7]) == [63]  # 90 · 0.7 is 62.99999999999999
    assert metrics.bin_counts(28, [0.01, 0.1, 0.5]) == [1, 2, 14]
    assert metrics.bin_counts(28, [0.01, 0.1, 0.5], "ceil") == [1, 3, 14]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: metrics.unit_counts(4, [1.1]), "fractions"),
        (lambda: metrics.unit_counts(4, [float("nan")]), "fractions"),
        (lambda: metrics.bin_counts(0, [0.1]), "units=0"),
        (lambda: metrics.bin_counts(4, [0.1], "up"), "rounding"),
        (lambda: metrics.area([1, 0], [0, 0]), "increasing"),
        (lambda: metrics.area([1, 0, 0], [0, 1]), "shape"),
        (lambda: metrics.decision_flip([[0, 1]], [0]), "shape"),
    ],
)
def test_what_makes_no_curve(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_a_prediction_that_never_changes_is_censored():
    fraction, censored = metrics.decision_flip([[3, 3, 4, 3], [2, 2, 2, 2]], STEPS)
    assert fraction.tolist() == [0.5, 1.0]
    assert censored.tolist() == [False, True]


def test_the_log_odds_of_what_no_float_can_hold():
    """p = e^−800 is 0 in any float; its logarithm is not."""
    assert metrics.log_odds(-0.5, [-800.0, -2.0]) == pytest.approx(-400.5)


def value_of(removed):
    """A made-up model in which units work together."""
    kept = ~removed
    return 1 / (
        1
        + np.exp(
            -(2.0 * kept[:, 0] + 1.5 * kept[:, 1] * kept[:, 2] - 1.2 * kept[:, 3] + 0.3 * kept.sum(1) - 1)
        )
    )


def test_normalised_aopc_lies_between_the_best_and_the_worst_order():
    """All 24 orders of four units, one by one, against the bounds."""
    found = []
    for order in permutations(range(4)):
        removed = np.zeros((5, 4), dtype=bool)
        for step, unit in enumerate(order, start=1):
            removed[step:, unit] = True
        found.append(float(metrics.aopc(value_of(removed))))
    lower, upper = metrics.aopc_bounds(value_of, 4)
    assert (lower, upper) == pytest.approx((min(found), max(found)))
    assert metrics.normalised_aopc(found, lower, upper).min() == pytest.approx(0)
    assert metrics.normalised_aopc(found, lower, upper).max() == pytest.approx(1)


def test_a_wide_beam_is_exact_and_a_narrow_one_inside():
    exact = metrics.aopc_bounds(value_of, 5)
    assert metrics.aopc_bounds(value_of, 5, width=200) == pytest.approx(exact)
    narrow = metrics.aopc_bounds(value_of, 5, width=1)
    assert exact[0] - 1e-12 <= narrow[0] <= narrow[1] <= exact[1] + 1e-12


def test_bounds_of_many_units_need_a_beam_and_of_too_many_are_refused():
    with pytest.raises(ValueError, match="width"):
        metrics.aopc_bounds(value_of, 13)
    with pytest.raises(ValueError, match="30"):
        metrics.aopc_bounds(value_of, 31, width=5)
    assert np.isnan(metrics.normalised_aopc(0.5, 0.5, 0.5))
