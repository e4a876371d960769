"""Two methods compared over the samples that both have."""

import json

import numpy as np
import pytest

from bench.compare import main
from bench.errors import BenchError
from bench.tables.comparison import compare
from metrics import bootstrap
from metrics import compare as compared
from metrics.segmentation import PixelAccuracy
from tests.support.stored_rows import segmentation


def test_the_difference_is_that_of_the_paired_bootstrap(keep):
    ours, theirs = segmentation(), segmentation(seed=1)
    config = keep("rollout", ours)
    keep("lrp", theirs)
    table = compare(config, "rollout", "lrp").set_index("metric")
    row = table.loc["pixel_accuracy"]
    pair = [
        PixelAccuracy(name="p", title="p").statistics({c: rows[c].to_numpy() for c in rows})[0]
        for rows in (ours.sort_values("id"), theirs.sort_values("id"))  # as they are stored
    ]
    expected = compared([one.value for one in pair], bootstrap(pair, seed=config["seed"]))
    difference = pair[0].value - pair[1].value
    assert row["difference"] == pytest.approx(difference, rel=1e-12)
    assert expected.low[0, 1] < difference < expected.high[0, 1]
    assert (row["low"], row["high"]) == pytest.approx((expected.low[0, 1], expected.high[0, 1]), rel=1e-9)
    assert row["p_value"] == pytest.approx(expected.p_values[0, 1])
    assert row["samples"] == len(ours)


def test_two_ways_round(keep):
    config = keep("rollout", segmentation())
    keep("lrp", segmentation(seed=1))
    one, other = compare(config, "rollout", "lrp"), compare(config, "lrp", "rollout")
    np.testing.assert_allclose(one["difference"], -other["difference"])
    np.testing.assert_allclose(one["p_value"], other["p_value"])
    swapped = {"first": "second", "second": "first", "": ""}
    assert list(one["better"]) == [swapped[name] for name in other["better"]]


def test_samples_that_one_lacks_are_left_out_of_both(keep):
    config = keep("rollout", segmentation())
    keep("lrp", segmentation(seed=1)[5:])
    table = compare(config, "rollout", "lrp")
    assert set(table["samples"]) == {len(segmentation()) - 5}


def test_a_clear_difference_is_named_and_none_is_not(keep, capsys):
    better, worse = segmentation(), segmentation()
    worse["correct"] = worse["correct"] // 2
    config = keep("rollout", better)
    keep("lrp", worse)
    results = f"paths.results={config['paths']['results']}"
    main(["task=segmentation", "method=rollout,lrp", results])
    lines = capsys.readouterr().out.splitlines()
    (accuracy,) = [line for line in lines if line.startswith("| Pixel accuracy")]
    (precision,) = [line for line in lines if line.startswith("| mAP")]
    assert accuracy.split("|")[6].strip() == "rollout"
    assert precision.split("|")[6].strip() == "cannot be told"
    main(["task=segmentation", "method=lrp,rollout", results, "--json"])
    rows = {row["metric"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["pixel_accuracy"]["better"] == "second"
    assert rows["pixel_accuracy"]["high"] < 0


def test_what_cannot_be_compared_is_named(keep):
    config = keep("rollout", segmentation(), "method.start_layer=2")
    keep("rollout", segmentation(seed=1), "method.start_layer=3")
    with pytest.raises(BenchError, match="no finished cell of lrp"):
        compare(config, "rollout (start_layer=3)", "lrp")
    with pytest.raises(
        BenchError, match=r"several methods are called rollout; choose one of rollout \(start_"
    ):
        compare(config, "rollout", "lrp")
    assert len(compare(config, "rollout (start_layer=2)", "rollout (start_layer=3)")) == 3
    with pytest.raises(BenchError, match=r"name two methods with method=A,B"):
        main(["task=segmentation", "method=rollout"])
