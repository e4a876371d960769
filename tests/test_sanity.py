"""What ``sanity=true`` finds, keeps with a cell and says under a table."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from bench.errors import BenchError
from bench.run import run
from bench.sanity import EVERY, Checked, warnings
from bench.store import Cell
from bench.tables import table
from methods import LRP, GradCAM, RawAttention, TransformerAttribution
from methods.relevance import OLDER, PROPOSED
from tests.small_models import TOKENS, Model
from tests.stored_rows import perturbation

pytestmark = pytest.mark.numerical


def found(method, vit, images, thorough=True):
    checked = Checked(method, thorough)
    checked(vit, images, torch.tensor([0, 1, 2]))
    return checked.found


def test_a_good_method_has_nothing_to_say(vit, images):
    report = found(TransformerAttribution(start_layer=0), vit, images)
    assert set(report) == {"not_finite", "same_for_another_class", "conservation_error", "logits_error"}
    assert report["not_finite"] == report["same_for_another_class"] == 0
    assert report["conservation_error"] < 1e-6
    assert 0 < report["logits_error"] < 1e-4  # float64 against the model's own float32
    assert warnings(report) == []


def test_the_maps_are_those_of_the_method(vit, images):
    target = torch.tensor([0, 1, 2])
    for thorough in (True, False):
        ours = Checked(GradCAM(), thorough)(vit, images, target)
        torch.testing.assert_close(ours, GradCAM()(vit, images, target))


def test_the_older_rules_do_not_keep_the_total(vit, images):
    report = found(LRP(rules=OLDER), vit, images)
    assert report["conservation_error"] > 1
    assert "relevance lost or gained by the rules, of 1 put in" in warnings(report)[0]
    assert found(LRP(rules=PROPOSED), vit, images)["conservation_error"] < 1e-6


def test_logits_that_are_not_the_models_own():
    """A model that does something else where gradients are kept is not explained by what it does then."""

    def other(model, x):
        return 1.1 * x if torch.is_grad_enabled() else x

    checked = Checked(TransformerAttribution(start_layer=0), thorough=True)
    checked(Model(other).eval(), TOKENS, torch.tensor([0, 1]))
    assert "of the explained logits from" in " ".join(warnings(checked.found))


def test_a_method_that_knows_no_class_is_not_asked_for_another(vit, images):
    assert set(found(RawAttention(), vit, images)) == {"not_finite"}


@dataclass(frozen=True)
class Strange:
    """Says that its maps depend on the class, and gives the same with some NaN."""

    broken: tuple[int, ...] = ()
    class_specific: ClassVar[bool] = True

    def __call__(self, forward, inputs, target):
        maps = torch.arange(1.0, 17).expand(len(inputs), -1).clone()
        maps[list(self.broken), 3] = torch.nan
        return maps


def test_maps_that_are_not_finite_or_ignore_the_class_are_counted_over_batches(vit, images):
    checked = Checked(Strange(broken=(1,)), thorough=True)
    for _ in range(2):
        maps = checked(vit, images, torch.tensor([0, 1, 2]))
        assert maps[1, 3] == 0
    assert checked.found == {"not_finite": 2, "same_for_another_class": 4}
    assert [text.rpartition(": ")[2] for text in warnings(checked.found)] == ["2", "4"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_deviation_of_a_reduced_precision_is_always_reported(dtype, vit, images):
    method, target = TransformerAttribution(start_layer=0, dtype=dtype), torch.tensor([0, 1, 2])
    checked = Checked(method, thorough=False)
    maps = checked(vit, images, target)
    exact = TransformerAttribution(start_layer=0)(vit, images, target)
    expected = ((maps - exact).norm(dim=1) / exact.norm(dim=1)).max().item()
    assert checked.found == {"deviation": pytest.approx(expected)}


@dataclass(frozen=True)
class Rough:
    """Off by the inputs themselves, if not computed in float64."""

    dtype: str = "float32"

    def __call__(self, forward, inputs, target):
        return torch.ones(2, 1) + (inputs if self.dtype != "float64" else 0)


def test_one_batch_in_eight_is_computed_in_float64_too():
    checked = Checked(Rough(), thorough=False)
    found = []
    for error in range(1, EVERY + 2):
        checked(None, torch.full((2, 1), float(error)), None)
        found.append(checked.found["deviation"])
    assert found == [1] * EVERY + [EVERY + 1]


SUITE = ("explained=predicted", "method=gradcam")


def test_a_cell_keeps_what_was_found(configure):
    config = configure("perturbation", *SUITE)
    run(config)
    assert Cell(config).result().record["sanity"] == {"thorough": False}
    looked = configure("perturbation", *SUITE, "sanity=true")
    assert run(looked) is not None  # a cell that was not looked at is computed again
    report = Cell(config).result().record["sanity"]
    assert report == {"thorough": True, "not_finite": 0, "same_for_another_class": 0}
    assert run(looked) is None
    assert run(config) is None


def test_a_twin_has_the_checks_of_the_cell_that_it_copies(configure):
    first = configure("perturbation", "method=rollout", "explained=predicted")
    run(first)
    second = configure("perturbation", "method=rollout", "explained=target", "sanity=true")
    run(second)
    assert Cell(second).result().record["sanity"] == {"thorough": True, "not_finite": 0}


def test_the_oracle_needs_no_check(configure):
    config = configure("segmentation", "method=oracle", "sanity=true")
    run(config)
    assert Cell(config).result().record["sanity"] == {"thorough": True}


def test_not_finite_maps_end_a_run_that_is_not_looked_into(configure):
    settings = ["method._target_=tests.test_sanity.Strange", "+method.broken=[0]", "method.name=strange"]
    with pytest.raises(BenchError, match="NaN"):
        run(configure("perturbation", "method=random", "~method.seed", *settings))


def test_a_table_warns(keep):
    config = keep("gradcam", perturbation())
    cell = Cell(config)
    record = cell.result().record
    cell.write(cell.result().rows, record | {"sanity": {"thorough": True, "not_finite": 3, "deviation": 0.2}})
    footnotes = "\n".join(table(config).footnotes)
    assert "**Warning** for gradcam (predicted): maps with NaN or infinity (taken as 0): 3" in footnotes
    assert "relative deviation of maps from those in float64, at most: 0.2" in footnotes
