"""What is noticed of maps (with ``sanity=true`` of all) is kept with a cell and said under a table."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from bench.errors import BenchError
from bench.runner.cell import run
from bench.runner.records import warnings
from bench.runner.sanity import EVERY, Findings
from bench.tables.table import table
from methods import LRP, RawAttention, TransformerAttribution
from methods.relevance import OLDER, PROPOSED
from tests.support.cells import record_of, same_rows
from tests.support.stored_rows import perturbation

TARGET = torch.tensor([0, 1, 2])


def found(method, model, inputs, target=TARGET):
    """What is noticed of one batch of maps."""
    findings = Findings(method, thorough=True)
    findings.look(method, model, inputs, target, method(model, inputs, target))
    return findings.found


def test_a_good_method_has_nothing_to_say(vit, images):
    report = found(TransformerAttribution(start_layer=0), vit, images)
    assert set(report) == {"same_for_another_class", "conservation_error", "logits_error"}
    assert report["same_for_another_class"] == 0
    assert report["conservation_error"] < 1e-6
    assert 0 < report["logits_error"] < 1e-4  # float64 against the model's own float32
    assert warnings(report) == []


def test_the_older_rules_do_not_keep_the_total(vit, images):
    report = found(LRP(rules=OLDER), vit, images)
    assert report["conservation_error"] > 1
    assert "relevance lost or gained by the rules, of 1 put in" in warnings(report)[0]
    assert found(LRP(rules=PROPOSED), vit, images)["conservation_error"] < 1e-6


def test_logits_that_are_not_the_models_own(vit, images):
    """Those of a model that computes something else each time, as one that is still in training does."""
    calls = []

    def forward(inputs):
        calls.append(inputs)
        return vit(inputs) * len(calls)

    report = found(TransformerAttribution(start_layer=0), forward, images)
    assert "of the explained logits from" in " ".join(warnings(report))


def test_a_method_that_knows_no_class_is_not_asked_for_another(vit, images):
    assert found(RawAttention(), vit, images) == {}


@dataclass(frozen=True)
class Strange:
    """Says that its maps depend on the class, and gives the same for each; some with NaN, if asked for."""

    broken: tuple[int, ...] = ()
    class_specific: ClassVar[bool] = True

    def __call__(self, forward, inputs, target):
        maps = torch.arange(1.0, 18).expand(len(inputs), -1).clone()
        maps[list(self.broken), 3] = torch.nan
        return maps


def test_maps_that_ignore_the_class_are_counted_over_batches(vit, images):
    method = Strange()
    findings = Findings(method, thorough=True)
    for _ in range(2):
        findings.look(method, vit, images, TARGET, method(vit, images, TARGET))
    assert findings.found == {"same_for_another_class": 6}
    assert [text.rpartition(": ")[2] for text in warnings(findings.found)] == ["6"]
    assert findings.take() == {"thorough": True, "same_for_another_class": 6}
    assert findings.take() == {"thorough": True}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_deviation_of_a_reduced_precision_is_always_reported(dtype, vit, images):
    method = TransformerAttribution(start_layer=0, dtype=dtype)
    findings = Findings.of(method, thorough=False)
    maps = method(vit, images, TARGET)
    findings.look(method, vit, images, TARGET, maps)
    exact = TransformerAttribution(start_layer=0)(vit, images, TARGET)
    expected = ((maps - exact).norm(dim=1) / exact.norm(dim=1)).max().item()
    assert findings.found == {"deviation": pytest.approx(expected)}


@dataclass(frozen=True)
class Rough:
    """Off by the inputs themselves, if not computed in float64."""

    dtype: str = "float32"

    def __call__(self, forward, inputs, target):
        return torch.ones(2, 1) + (inputs if self.dtype != "float64" else 0)


def test_one_batch_in_eight_is_computed_in_float64_too():
    method, findings, seen = Rough(), Findings(Rough(), thorough=False), []
    for error in range(1, EVERY + 2):
        inputs = torch.full((2, 1), float(error))
        findings.look(method, None, inputs, None, method(None, inputs, None))
        seen.append(findings.found["deviation"])
    assert seen == [1] * EVERY + [EVERY + 1]


def test_nothing_is_looked_at_without_need():
    assert Findings.of(TransformerAttribution(), thorough=False) is None


SUITE = ("explained=predicted", "method=gradcam")


def test_a_cell_keeps_what_was_found(configure):
    config = configure("perturbation", *SUITE)
    run(config)
    assert record_of(config)["sanity"] == {"thorough": False}
    looked = configure("perturbation", *SUITE, "sanity=true")
    assert run(looked) is not None  # a cell that was not looked at is computed again
    for kind in ("masking", "maps"):
        assert record_of(config, kind)["sanity"] == {"thorough": True, "same_for_another_class": 0}
    assert run(looked) is None
    assert run(config) is None


STRANGE = ("method=random", "~method.seed", "method._target_=tests.runner.test_sanity.Strange", "sanity=true")


@pytest.mark.parametrize("keep", ["tokens", "none"])
def test_what_was_found_of_kept_maps_is_said_of_all_that_is_measured_of_them(configure, keep):
    config = configure("segmentation", *STRANGE)
    run(config)
    another = configure("segmentation", *STRANGE, "protocol.segmentation.threshold=0.4", f"keep={keep}")
    run(another)
    expected = {"thorough": True, "same_for_another_class": 4}
    assert record_of(config)["sanity"] == record_of(another)["sanity"] == expected
    assert "maps that do not change with the class" in "\n".join(table(another).footnotes)


@pytest.mark.parametrize("keep", ["tokens", "none"])
def test_kept_maps_that_nobody_looked_at_are_made_again_to_be_looked_at(configure, keep):
    config = configure("segmentation", *STRANGE, "sanity=false")
    run(config)
    assert record_of(config, "maps")["sanity"] == {"thorough": False}
    run(config | {"sanity": True, "keep": keep})
    assert record_of(config)["sanity"] == {"thorough": True, "same_for_another_class": 4}


def test_predictions_need_no_look(configure):
    config = configure("perturbation", *SUITE)
    run(config)
    before = record_of(config, "predictions")
    run(config | {"sanity": True})
    assert record_of(config, "predictions") == before


def test_the_oracle_needs_no_check(configure):
    config = configure("segmentation", "method=oracle", "sanity=true")
    run(config)
    assert record_of(config)["sanity"] == {"thorough": True}
    assert run(config) is None


def test_not_finite_maps_end_a_run_and_are_named(configure):
    config = configure("perturbation", *STRANGE, "sanity=false", "+method.broken=[0]", "method.name=strange")
    with pytest.raises(BenchError, match=r"NaN or infinite relevance for .*n00000001_0"):
        run(config)


def test_a_table_warns(keep):
    config = keep("gradcam", perturbation(), record={"sanity": {"thorough": True, "deviation": 0.2}})
    footnotes = "\n".join(table(config).footnotes)
    assert "relative deviation of maps from those in float64, at most: 0.2" in footnotes
    assert "gradcam" in footnotes


def test_rows_do_not_depend_on_whether_maps_are_looked_at(configure, tmp_path):
    run(plain := configure("segmentation", "method=gradcam"))
    run(
        looked := configure(
            "segmentation", "method=gradcam", "sanity=true", f"paths.results={tmp_path / 'l'}"
        )
    )
    same_rows(plain, looked)
