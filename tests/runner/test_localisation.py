"""The measurements of localisation on tiny models and on two drawn digits."""

import numpy as np
import pytest
import torch

import bench  # noqa: F401
from bench.config import configuration
from bench.errors import BenchError
from bench.runner.cell import Plan, run
from bench.tasks import Localisation, MeanAnnotation

pytestmark = pytest.mark.numerical


def test_masks_and_floors(configure):
    for method in ("oracle", "centre", "edges", "random"):
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


def test_the_mean_mask_is_that_of_the_other_images(configure, monkeypatch):
    shown, masks, measure = [], [], Localisation.measure

    def seen(self, explanations):
        shown.extend(explanations.maps.values)
        masks.extend(explanations.batch.masks)
        return measure(self, explanations)

    monkeypatch.setattr(Localisation, "measure", seen)
    run(configure("localisation", "method=mean_annotation", "protocol.localisation.k=100", "batch_size=3"))
    assert len(shown) == 4
    for index, relevance in enumerate(shown):
        others = torch.stack([mask for i, mask in enumerate(masks) if i != index])
        torch.testing.assert_close(relevance.double(), others.double().mean(0), rtol=1e-6, atol=1e-6)


def test_there_is_no_mean_mask_of_one_image_or_of_texts():
    with pytest.raises(BenchError, match="needs 2 or more"):
        MeanAnnotation(torch.ones(4, 4), 1).map(torch.ones(1, 4, 4))
    with pytest.raises(BenchError, match="choose a task for images"):
        MeanAnnotation().map(torch.ones(2, 7))


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
