"""Soft scores and spans of words: scikit-learn, loops, and what is refused. Goldens are in test_golden.py."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn import metrics as sklearn_metrics

import metrics
from metrics import SpanF1, TauToLeaveOneOut

NAMED = {"name": "x", "title": "X"}
words = st.lists(st.tuples(st.integers(-2, 3), st.booleans()), min_size=1, max_size=25)


@given(words)
def test_soft_scores_are_scikit_learns(words):
    scores, truth = (np.array(each) for each in zip(*words, strict=True))
    if truth.any():
        precision, recall, _ = sklearn_metrics.precision_recall_curve(truth, scores)
        assert metrics.auprc(scores, truth) == pytest.approx(sklearn_metrics.auc(recall, precision))
    else:
        assert math.isnan(metrics.auprc(scores, truth))
    if truth.any() and not truth.all():
        average = sklearn_metrics.average_precision_score(truth, scores)
        assert metrics.average_precision_of_words(scores, truth) == pytest.approx(average)
        assert metrics.roc_auc_of_words(scores, truth) == pytest.approx(
            sklearn_metrics.roc_auc_score(truth, scores)
        )
    else:
        assert math.isnan(metrics.average_precision_of_words(scores, truth))
        assert math.isnan(metrics.roc_auc_of_words(scores, truth))


@given(st.lists(st.booleans(), max_size=20))
def test_spans_are_the_runs_of_words(words):
    spans = metrics.spans_of(words)
    covered = {i for start, end in spans for i in range(start, end)}
    assert covered == {i for i, word in enumerate(words) if word}
    assert all(end < start for (_, end), (start, _) in pairwise(spans))


spans = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 5)).map(lambda s: (s[0], s[0] + s[1])), max_size=4
)


@given(st.lists(st.tuples(spans, spans), min_size=1, max_size=5), st.sampled_from([0.1, 0.5, 1.0]))
def test_span_f1_by_sets_of_words(documents, threshold):
    hits = []
    for predicted, annotated in documents:
        own = 0
        for p in predicted:
            overlaps = [
                len(set(range(*p)) & set(range(*t))) / max(1, len(set(range(*p)) | set(range(*t))))
                for t in annotated
            ]
            own += max(overlaps, default=0) >= threshold
        hits.append(own)
    counts = [metrics.matching_spans(*document, threshold) for document in documents]
    assert [int(count.hits) for count in counts] == hits
    whole = metrics.SpanCounts(*map(np.array, zip(*counts, strict=True)))
    for average in ("micro", "macro"):
        found = metrics.span_f1(whole, average)
        sizes = [[len(p) for p, _ in documents], [len(t) for _, t in documents]]
        if average == "micro":
            p, r = (sum(hits) / sum(size) if sum(size) else 0 for size in sizes)
        else:
            p, r = (
                np.mean([h / n for h, n in zip(hits, size, strict=True) if n]) if any(size) else 0
                for size in sizes
            )
        assert found.f1 == pytest.approx(2 * p * r / (p + r) if p + r else 0)
        stored = {
            "span_hits": [[h] for h in hits],
            "span_predicted": [[n] for n in sizes[0]],
            "span_annotated": np.array(sizes[1]),
        }
        metric = SpanF1(**NAMED, ks=[7], average=average)
        assert metric.statistics(stored)[7].value == pytest.approx(found.f1)
        assert metric.curve(stored).values.shape == (len(documents), 1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=20))
def test_kendall_is_scipys(pairs):
    a, b = (torch.tensor([each], dtype=torch.float64) for each in zip(*pairs, strict=True))
    assert float(metrics.kendall(a, b)) == pytest.approx(kendalltau(a[0], b[0]).statistic, nan_ok=True)


def test_tau_to_leave_one_out_is_undefined_for_a_constant_map():
    stored = {"unit_scores": [[1.0, 2.0, 3.0], [1.0, 1.0]], "drops": [[0.1, 0.3, 0.2], [0.1, 0.2]]}
    statistic = TauToLeaveOneOut(**NAMED).statistics(stored)[0]
    assert statistic.count == 1
    assert statistic.value == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="the same units"):
        TauToLeaveOneOut(**NAMED).statistics({"unit_scores": [[1.0, 2.0]], "drops": [[0.1]]})


def test_ferrets_bins_take_positive_scores_and_skip_what_adds_nothing():
    scores = torch.tensor([0.5, -1.0, 2.0, 0.0, 0.1, 3.0, -2.0, -3.0, -4.0, -5.0])
    order = [5, 2, 0, 4]  # 10, 20, 30 and 40 %; after that only what is not positive
    expected = [sorted(order[: i + 1]) for i in range(4)]
    assert [row.nonzero()[:, 0].tolist() for row in metrics.positive_bins(scores)] == expected
    assert metrics.ferret_aopc(-scores.abs(), 0.7, None) == (0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: metrics.auprc([1, 2], [True]), "scores"),
        (lambda: metrics.auprc([1, np.nan], [True, False]), "NaN"),
        (lambda: metrics.matching_spans([(2, 1)], []), "span"),
        (lambda: metrics.matching_spans([], [], 0), "threshold"),
        (lambda: metrics.span_f1(metrics.SpanCounts(*np.zeros((3, 1))), "mean"), "average"),
        (lambda: SpanF1(**NAMED, ks=[]), "ks"),
        (lambda: SpanF1(**NAMED, ks=[1], average="mean"), "average"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_spans_may_be_counted_against_another_rationale_at_each_k():
    """As the same counts where the rationale is one."""
    counts = {"span_hits": [[1, 1], [0, 2]], "span_predicted": [[1, 3], [2, 2]]}
    metric = SpanF1(name="x", title="x", ks=[5, 10])
    one = metric.statistics(counts | {"span_annotated": np.array([2, 3])})
    same = metric.statistics(counts | {"span_annotated": [[2, 2], [3, 3]]})
    assert [one[k].value for k in (5, 10)] == [same[k].value for k in (5, 10)]
    other = metric.statistics(counts | {"span_annotated": [[2, 1], [3, 2]]})
    assert other[5].value == one[5].value
    assert other[10].value == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))
    curve = metric.curve(counts | {"span_annotated": [[2, 1], [3, 2]]})
    assert curve.values[1].tolist() == pytest.approx([0, 1])
