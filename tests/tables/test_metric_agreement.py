"""Do the metrics of a task rank the methods alike, and each metric twice?"""

import numpy as np
import pytest
from scipy.stats import kendalltau

from bench.errors import BenchError
from bench.tables.metrics import main, metric_agreement
from bench.tables.select import select
from tests.support.stored_rows import SAMPLES, segmentation, token_f1

pytestmark = pytest.mark.numerical

# Share of right pixels and average precision, in opposite orders.
METHODS = {"rollout": (0.9, 0.5), "lrp": (0.8, 0.6), "gradcam": (0.7, 0.7), "raw_attention": (0.6, 0.8)}


@pytest.fixture
def kept(keep):
    for number, (method, (right, precision)) in enumerate(METHODS.items()):
        config = keep(method, segmentation(right, precision, seed=number))
    keep("random", segmentation(0.1, 0.1, seed=9))
    return config


def test_two_metrics_in_opposite_orders(kept):
    made = metric_agreement(select(kept))
    assert made.metrics == ["Pixel accuracy ↑", "mAP ↑", "mIoU ↑"]
    assert len(made.methods) == len(METHODS)  # the floor is none
    pairs = made.pairs().set_index(["metric", "other"])
    assert pairs.loc[("Pixel accuracy ↑", "mAP ↑"), "tau"] == -1
    assert pairs.loc[("Pixel accuracy ↑", "mIoU ↑"), "tau"] == 1
    for name in made.metrics:  # far apart, so that half of the samples give the same order
        assert pairs.loc[(name, name), "tau"] == 1
    assert "**-1.00** [-1.00, -1.00]" in made.markdown()  # beyond what noise explains


def test_the_same_by_scipy_where_methods_are_nearly_alike(keep):
    """τ of all samples, and the mean of τ between halves, gone through one by one."""
    rows = [segmentation(0.7 + 0.004 * i, 0.7 - 0.003 * i, seed=i) for i in range(4)]
    for method, own in zip(METHODS, rows, strict=True):
        config = keep(method, own)
    made = metric_agreement(select(config), seed=3)
    rows = [own.sort_values("id") for own in rows]  # the order of the samples that are drawn
    accuracy = np.array([own["correct"] / own["labelled"] for own in rows])
    precision = np.array([own["average_precision"] for own in rows])
    pairs = made.pairs().set_index(["metric", "other"])["tau"]
    expected = kendalltau(accuracy.mean(axis=1), precision.mean(axis=1)).statistic
    assert pairs["Pixel accuracy ↑", "mAP ↑"] == pytest.approx(expected)
    order = np.random.default_rng(3).random((200, SAMPLES)).argsort(axis=1, kind="stable")
    halves = [
        kendalltau(*(precision[:, half].mean(axis=1) for half in np.split(own, 2))).statistic for own in order
    ]
    assert pairs["mAP ↑", "mAP ↑"] == pytest.approx(np.mean(halves))
    assert pairs["mAP ↑", "mAP ↑"] < 0.9


def test_metrics_of_k_are_ranked_at_some_k(keep):
    for number, method in enumerate(METHODS):
        config = keep(method, token_f1(0.002 + 0.001 * number, seed=number))
    made = metric_agreement(select(config))
    assert made.metrics == [f"Token F1 ↑ k = {k}" for k in (20, 40, 60, 80)]


def test_it_is_printed_and_written(kept, tmp_path, capsys):
    results = f"paths.results={kept['paths']['results']}"
    main(["task=segmentation", "method=lrp", results, "--output", str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith("**Segmentation: do the metrics rank the methods alike?**")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "segmentation_metrics.csv",
        "segmentation_metrics.md",
    }


def test_two_methods_rank_nothing(keep):
    keep("lrp", segmentation())
    config = keep("rollout", segmentation(seed=1))
    with pytest.raises(BenchError, match=r"2 methods have finished cells.*need 3 or more"):
        metric_agreement(select(config))
