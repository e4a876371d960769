"""A measurement that compares explanations gets the others from the same loop, once, and under their own identity."""

from dataclasses import dataclass, field

import pytest
import torch

import methods
from bench.errors import BenchError
from bench.models.build import build_model
from bench.runner.cell import Plan, run
from bench.tasks import AnotherClass
from metrics import spearman
from tests.support.cells import cells_of, rows_of

CALLS: list[list[int]] = []


@dataclass(frozen=True)
class Counted(methods.GradCAM):
    """GradCAM that notes the classes it is called with."""

    weights: str = "row"
    calls: list = field(default_factory=lambda: CALLS, repr=False, compare=False)

    def for_check(self):
        return methods.GradCAM()

    def __call__(self, forward, inputs, target=None):
        CALLS.append(target.tolist())
        return super().__call__(forward, inputs, target)


OWN = ("method=gradcam", "method._target_=tests.runner.test_variants.Counted", "+metric=class_similarity")


def test_the_similarity_is_that_of_the_two_maps(configure):
    config = configure("segmentation", "method=gradcam", "+metric=class_similarity")
    run(config)
    plan = Plan.of(config)
    model = build_model(config["model"])
    prepare = model.preparation(config["task"]["inputs"])
    similar = dict(
        zip(*(rows_of(config, "class_comparison")[c] for c in ("id", "class_similarity")), strict=True)
    )
    method = methods.GradCAM(weights="row", prefix_tokens=model.prefix_tokens)
    for index in range(len(plan.dataset)):
        batch = model.batch([prepare(plan.dataset[index])], config["task"]["inputs"])
        logits = model.forward(batch.inputs).detach()
        first, second = logits[0].topk(2).indices.tolist()
        maps = [
            method(model.forward, batch.inputs, torch.tensor([c]))[:, model.prefix_tokens :].float()
            for c in (first, second)
        ]
        expected = float(spearman(*maps))
        found = similar[batch.ids[0]]
        assert found is None or found != found if expected != expected else found == pytest.approx(expected)


def test_each_explanation_is_made_once_and_kept_under_its_own_identity(configure):
    CALLS.clear()
    config = configure("segmentation", *OWN)
    run(config)
    samples = len(rows_of(config, "mask_overlap"))
    assert sum(map(len, CALLS)) == 2 * samples
    plan = Plan.of(config)
    plain, other = plan.maps[None], plan.maps[AnotherClass()]
    assert plain.id.fingerprint != other.id.fingerprint
    classes = [cell.result().rows["explained_class"].tolist() for cell in (plain, other)]
    assert all(a != b for a, b in zip(*classes, strict=True))


def test_kept_variants_are_not_explained_again(configure):
    config = configure("segmentation", *OWN)
    run(config)
    CALLS.clear()
    cells_of(config)["class_comparison"].result().remove()
    run(config)
    assert CALLS == []


def test_a_metric_that_is_added_explains_the_variant_alone(configure):
    run(configure("segmentation", *OWN[:-1]))
    CALLS.clear()
    config = configure("segmentation", *OWN)
    run(config)
    assert sum(map(len, CALLS)) == len(rows_of(config, "mask_overlap"))


def test_a_model_of_one_class_is_refused():
    with pytest.raises(BenchError, match="one class"):
        AnotherClass().target(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))


def test_the_other_class_is_the_likeliest_but_for_the_explained_one():
    logits = torch.tensor([[0.0, 3.0, 2.0], [5.0, 1.0, 4.0]])
    assert AnotherClass().target(logits, torch.tensor([1, 1])).tolist() == [2, 0]
