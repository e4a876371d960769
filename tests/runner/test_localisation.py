"""The measurements of localisation on tiny models and on two drawn digits."""

import numpy as np
import pytest

import bench  # noqa: F401
from bench.config import configuration
from bench.errors import BenchError
from bench.runner.cell import Plan, run
from bench.tasks import Localisation

pytestmark = pytest.mark.numerical


def test_masks_and_both_floors(configure):
    for method in ("oracle", "centre", "random"):
        config = configure("localisation", f"method={method}", "protocol.localisation.k=100")
        summary = run(config)
        ((_, cell),) = Plan.of(config).measured
        rows = cell.result().rows
        assert len(rows) == 4
        assert rows["mask_share"].between(0, 1).all()
        if method == "oracle":
            assert summary["pointing_game"] == summary["energy"] == summary["roc_auc"] == 1
            assert summary["energy_over_chance"] == pytest.approx(np.mean(1 / rows["mask_share"]))
        else:
            assert 0 < summary["energy"] < 1


def test_images_without_masks_are_refused(configure):
    with pytest.raises(BenchError, match="needs masks or boxes"):
        run(configure("localisation", "method=random", "dataset=imagenet"))
    with pytest.raises(BenchError, match="two objects"):
        run(configure("segmentation", "method=random", "+metric=class_sensitivity"))
    with pytest.raises(BenchError, match="k=1000000"):
        run(configure("localisation", "method=random", "protocol.localisation.k=1000000"))
    for settings in ({"tolerance": -1}, {"tolerance": None}, {"k": 0}, {"k": 2.5}):
        with pytest.raises(BenchError, match=r"protocol\.localisation"):
            Localisation(**settings)


def test_a_method_that_ignores_the_class_is_worth_a_half(tmp_path):
    config = configuration(
        [
            "task=segmentation",
            "dataset=embedded/two_classes",
            "dataset.count=4",
            "+metric=class_sensitivity",
            "method=raw_attention",
            f"paths.results={tmp_path}",
            "device=cpu",
        ]
    )
    assert run(config)["class_sensitivity"] == 0.5


def test_two_digits_are_the_same_picture_every_time():
    from bench.embedded.two_digits import TwoDigits

    data = TwoDigits(12, 106)
    for index in (3, 11):
        one, again = data[index], TwoDigits(40, 106)[index]
        assert np.array_equal(np.asarray(one.image), np.asarray(again.image))
        assert one.label == index % 10 == data.labels[index]
        assert one.other_label != one.label
        assert one.mask.any()
        assert one.other_mask.any()
        assert not (one.mask & one.other_mask).any()
