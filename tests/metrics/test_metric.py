"""Metrics as formulas on columns: what they sum up, which samples count, and what they refuse to read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import (
    ClassSimilarity,
    MeanAveragePrecision,
    MeanIoU,
    PerturbationAUC,
    PixelAccuracy,
    RationaleScore,
    bootstrap,
    interval,
)

NAMED = {"name": "x", "title": "X"}
STEPS = [0, 0.2, 0.5]


def value(metric, columns, k=0) -> float:
    return metric.statistics(columns)[k].value


def predictions(classes, seed=0):
    """Columns of ten images of ``classes`` classes, as they come from stored rows: a list in each entry."""
    rng = np.random.default_rng(seed)
    steps = {f"{d}_predictions": list(rng.integers(classes, size=(10, 3))) for d in ("positive", "negative")}
    return {"label": rng.integers(classes, size=10), "predicted": rng.integers(classes, size=10), **steps}


@pytest.mark.parametrize("direction", ["positive", "negative"])
@pytest.mark.parametrize("hits", ["label", "predicted"])
@pytest.mark.parametrize("only_correct", [False, True])
def test_the_area_by_hand(direction, hits, only_correct):
    columns = predictions(2)
    metric = PerturbationAUC(**NAMED, direction=direction, steps=STEPS, hits=hits, only_correct=only_correct)
    areas = []
    for label, clean, steps in zip(
        columns["label"], columns["predicted"], columns[f"{direction}_predictions"], strict=True
    ):
        if label == clean or not only_correct:
            hit = [float(step == {"label": label, "predicted": clean}[hits]) for step in steps]
            areas.append(100 * ((hit[0] + hit[1]) / 2 * 0.2 + (hit[1] + hit[2]) / 2 * 0.3))
    assert value(metric, columns) == pytest.approx(np.mean(areas))
    assert metric.statistics(columns)[0].count == len(areas) > 0
    curve = metric.curve(columns)
    assert curve.values.shape == (len(areas), 3)
    assert curve.x.tolist() == [0, 20, 50]
    assert np.trapezoid(curve.values.mean(axis=0), STEPS) == pytest.approx(np.mean(areas))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9))
def test_scores_of_words_are_means_of_the_documents_that_count(documents):
    correct, first, second = map(np.array, zip(*documents, strict=True))
    columns = {"label": np.ones(len(correct), int), "predicted": correct.astype(int)}
    columns["visible_token_f1"] = list(np.stack([first, second], axis=1))
    every = RationaleScore(**NAMED, score="visible_token_f1", ks=[5, 10]).statistics(columns)
    assert [every[5].value, every[10].value] == pytest.approx([first.mean(), second.mean()])
    some = RationaleScore(**NAMED, score="visible_token_f1", ks=[5, 10], only_correct=True).statistics(
        columns
    )
    assert some[10].count == correct.sum()
    if correct.any():
        assert some[10].value == pytest.approx(second[correct].mean())


def test_ratios_are_of_sums_over_the_data_set():
    columns = {
        "correct": np.array([5, 1]),
        "labelled": np.array([10, 40]),
        "intersection": [np.array([1, 4]), np.array([0, 0])],
        "union": [np.array([2, 5]), np.array([6, 0])],
        "average_precision": np.array([0.25, 0.5]),
    }
    assert value(PixelAccuracy(**NAMED), columns) == pytest.approx(100 * 6 / 50)
    assert value(MeanIoU(**NAMED), columns) == pytest.approx(100 * (1 / 8 + 4 / 5) / 2)
    assert value(MeanAveragePrecision(**NAMED), columns) == pytest.approx(37.5)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_similarity_leaves_out_what_is_undefined(missing):
    metric = ClassSimilarity(**NAMED)
    column = np.array([0.5, missing, -0.25], dtype=object)
    statistic = metric.statistics({"class_similarity": column})[0]
    assert statistic.value == pytest.approx(0.125)
    assert statistic.count == 2
    assert not metric.higher_is_better


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_class_that_is_missing_is_no_miss(missing):
    columns = predictions(2)
    columns["label"] = np.array([missing, *columns["label"][1:]], dtype=object)
    own = PerturbationAUC(**NAMED, direction="positive", steps=STEPS, hits="predicted")
    assert own.statistics(columns)[0].count == 10  # it compares with no label
    for settings in ({"hits": "label"}, {"hits": "predicted", "only_correct": True}):
        with pytest.raises(ValueError, match="label: 1 of 10 samples have no class"):
            PerturbationAUC(**NAMED, direction="positive", steps=STEPS, **settings).statistics(columns)
    words = {"label": columns["label"], "predicted": columns["predicted"], "token_f1": [[0.5]] * 10}
    assert RationaleScore(**NAMED, score="token_f1", ks=[5]).statistics(words)[5].count == 10
    with pytest.raises(ValueError, match="label: 1 of 10 samples have no class"):
        RationaleScore(**NAMED, score="token_f1", ks=[5], only_correct=True).statistics(words)


@pytest.mark.parametrize("steps", [[0, 0.2], [0, 0.2, 0.5, 0.7]])
def test_columns_of_other_steps_are_not_cut_to_fit(steps):
    metric = PerturbationAUC(**NAMED, direction="positive", steps=steps)
    one = {name: column[:1] for name, column in predictions(2).items()}  # which would broadcast
    for columns in (one, predictions(2)):
        with pytest.raises(ValueError, match=f"expected {len(steps)} numbers for each sample, got"):
            metric.statistics(columns)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: PerturbationAUC(**NAMED, direction="up", steps=STEPS), "direction"),
        (lambda: PerturbationAUC(**NAMED, direction="positive", steps=[0]), "steps"),
        (lambda: PerturbationAUC(**NAMED, direction="positive", steps=STEPS, hits="target"), "hits"),
        (lambda: PerturbationAUC(**NAMED, direction="positive", steps=STEPS, only_correct=1), "only_correct"),
        (lambda: RationaleScore(**NAMED, score="token_f1", ks=[]), "ks"),
        (lambda: RationaleScore(**NAMED, score="token_f1", ks=[5], only_correct="yes"), "only_correct"),
    ],
)
def test_settings_out_of_range_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()


@pytest.mark.filterwarnings("ignore:invalid value")  # 0/0 in resamples without a defined sample
def test_the_interval_is_of_the_resamples_in_which_a_metric_is_defined():
    values = np.full(40, np.nan)
    values[:2] = [0.25, 0.75]
    statistic = ClassSimilarity(**NAMED).statistics({"class_similarity": values})[0]
    resampled = bootstrap([statistic], resamples=500)
    assert 0.05 < np.isnan(resampled).mean() < 0.25  # (38/40)^40 is 0.13
    assert [float(end[0]) for end in interval(resampled)] == [0.25, 0.75]
    assert all(np.isnan(end) for end in interval(np.full(9, np.nan)))
