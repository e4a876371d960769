"""A cell begins with a check of its method; what was found is kept with it and said under a table."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from bench.errors import BenchError
from bench.runner.cell import run
from bench.runner.checks import EVERY, Checks
from bench.runner.records import FIGURES, merged, warnings
from bench.tables.table import table
from bench.tasks import Oracle
from methods import RefusedError, TransformerAttribution
from methods.verify import NOT_APPLICABLE
from tests.support.cells import finished, record_of, same_rows
from tests.support.stored_rows import perturbation

TARGET = torch.tensor([0, 1, 2])
NAMES = {"logits", "alone", "gradient", "conserved", "classes"}


def test_a_cell_begins_with_a_check_of_its_method(configure):
    config = configure("perturbation", "method=transformer_attribution", "explained=predicted")
    run(config)
    for kind in ("masking", "maps"):
        checks = record_of(config, kind)["checks"]
        assert {n for n in NAMES if isinstance(checks[n], float)} == NAMES
        assert (checks["dtype"], checks["notes"]) == ("float64", [])
        assert checks["alone"] < 1e-6
        assert warnings(checks) == []
    assert record_of(config, "predictions")["checks"] == {}  # of the model, whatever method came with it


@pytest.mark.parametrize("keep", ["tokens", "none"])
def test_what_was_found_of_kept_maps_is_said_of_all_that_is_measured_of_them(configure, keep):
    config = configure("segmentation", *SAME)
    run(config)
    another = configure("segmentation", *SAME, "protocol.segmentation.threshold=0.4", f"keep={keep}")
    run(another)
    assert record_of(config)["checks"] == record_of(another)["checks"]
    assert "the maps of two classes are the same" in "\n".join(table(another).findings)


def test_the_oracle_and_maps_made_elsewhere_need_no_check(configure):
    assert Checks.of(Oracle()) is None
    config = configure("segmentation", "method=oracle")
    run(config)
    assert record_of(config)["checks"] == {}


@dataclass(frozen=True)
class Same:
    """Says that its maps depend on the class, and gives the same for each; some with NaN, if asked for."""

    broken: tuple[int, ...] = ()
    class_specific: ClassVar[bool] = True

    def __call__(self, forward, inputs, target):
        maps = torch.arange(1.0, 18).expand(len(inputs), -1).clone()
        maps[list(self.broken), 3] = torch.nan
        return maps


@dataclass(frozen=True)
class Exacting(Same):
    """One that wants to be refused where it does not tell classes apart."""

    distinguishes_classes: ClassVar[bool] = True


@dataclass(frozen=True)
class Batched:
    """Mixes the samples of a batch."""

    def __call__(self, forward, inputs, target):
        return inputs.mean(dim=(0, 1), keepdim=True).squeeze(1).expand(len(inputs), -1, -1)


@dataclass(frozen=True)
class Drawing:
    """Draws anew at each call, and may say so."""

    reproducible: ClassVar[bool] = False

    def __call__(self, forward, inputs, target):
        return torch.rand(len(inputs), 17)


def own(name):
    return ("method=random", "~method.seed", f"method._target_=tests.runner.test_checks.{name}")


SAME = own("Same")


@pytest.mark.parametrize(("name", "check"), [("Exacting", "classes"), ("Batched", "alone")])
def test_a_method_that_misses_a_check_is_refused_before_it_keeps_a_row(configure, name, check):
    config = configure("segmentation", *own(name))
    with pytest.raises(BenchError, match=rf"{name} misses the check '{check}' on this model: .*;"):
        run(config)
    assert not finished(config)


def test_a_method_that_draws_anew_is_told_from_the_others(configure):
    config = configure("segmentation", *own("Drawing"))
    run(config)
    assert record_of(config)["checks"]["alone"] == NOT_APPLICABLE
    assert "its maps cannot be made again" in "\n".join(table(config).findings)


def test_the_check_leaves_what_is_drawn_as_it_was(vit, images):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Checks(method := Drawing()).begin(method, vit, images, TARGET)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_deviation_of_a_reduced_precision_is_always_reported(dtype, vit, images):
    method = TransformerAttribution(start_layer=0, dtype=dtype)
    checks = Checks(method)
    maps = method(vit, images, TARGET)
    checks.look(method, vit, images, TARGET, maps)
    exact = TransformerAttribution(start_layer=0, dtype="float64")(vit, images, TARGET)
    expected = ((maps - exact).norm(dim=1) / torch.maximum(maps.norm(dim=1), exact.norm(dim=1))).max().item()
    assert checks.found == {"deviation": pytest.approx(expected)}


@dataclass(frozen=True)
class Rough:
    """Off by the inputs themselves, if not computed in float64."""

    dtype: str = "float32"

    def __call__(self, forward, inputs, target):
        return torch.ones(2, 1) + (inputs if self.dtype != "float64" else 0)


def test_one_batch_in_eight_is_computed_in_float64_too():
    method, checks, seen = Rough(), Checks(Rough()), []
    for error in range(1, EVERY + 2):
        inputs = torch.full((2, 1), float(error))
        checks.look(method, None, inputs, None, method(None, inputs, None))
        seen.append(checks.found["deviation"])
    assert seen == [pytest.approx(1 / 2)] * EVERY + [pytest.approx((EVERY + 1) / (EVERY + 2))]


def test_mixed_precision_is_compared_with_float64_at_the_start(vit, images):
    method = TransformerAttribution(start_layer=0, dtype="mixed")
    checks = Checks(method)
    checks.begin(method, vit, images, TARGET)
    assert 0 < checks.found["deviation"] < 1e-4


@dataclass(frozen=True)
class BadlyMixed:
    """Falls short of its float64 only where its forward pass is in that."""

    dtype: str = "mixed"

    def __call__(self, forward, inputs, target):
        maps = forward(inputs)[:, :2] + target[:, None]
        return maps * torch.tensor([1.0, 1.1 if self.dtype == "mixed" else 1.0])


def test_mixed_precision_that_is_not_that_of_float64_is_refused(vit, images):
    with pytest.raises(BenchError, match=r"method.dtype=mixed: .* choose method.dtype=float64"):
        Checks(method := BadlyMixed()).begin(method, vit, images, TARGET)


def test_a_batch_that_is_tried_again_is_checked_again(vit, images):
    method = TransformerAttribution(start_layer=0)
    checks = Checks(method)

    def begin_and_fail():
        with checks.attempt():
            checks.begin(method, vit, images, TARGET)
            raise MemoryError

    with pytest.raises(MemoryError):
        begin_and_fail()
    assert checks.found == {}
    with checks.attempt():
        checks.begin(method, vit, images, TARGET)
    assert set(checks.found) >= NAMES


def test_of_shards_the_worst_figures_stand_in_the_record():
    one = {"alone": 1e-9, "conserved": NOT_APPLICABLE, "dtype": "float64", "notes": ["a"]}
    other = {"alone": 1e-8, "conserved": 1e-7, "dtype": "float32", "notes": ["b", "a"], "deviation": 0.5}
    both = merged([one, {}, other])
    assert both == {
        "alone": 1e-8,
        "conserved": 1e-7,
        "dtype": "float64, float32",
        "notes": ["a", "b"],
        "deviation": 0.5,
    }
    assert merged([other, one])["conserved"] == 1e-7
    assert set(FIGURES) == NAMES | {"deviation"}


def test_not_finite_maps_end_a_run_and_are_named(configure):
    config = configure("perturbation", *SAME, "+method.broken=[0]", "method.name=strange")
    with pytest.raises(BenchError, match=r"NaN or infinite relevance for .*n00000001_0|misses the check"):
        run(config)


def test_a_table_warns(keep):
    config = keep("gradcam", perturbation(), record={"checks": {"deviation": 0.2}})
    footnotes = "\n".join(table(config).findings)
    assert "relative deviation of maps from those in float64, at most: 0.2" in footnotes
    assert "GradCAM" in footnotes


def test_rows_do_not_depend_on_where_the_check_was(configure, tmp_path):
    """A run that goes on checks its own first batch, and gives what one at a stretch gives."""
    run(whole := configure("segmentation", "method=gradcam", "batch_size=2"))
    halves = configure(
        "segmentation", "method=gradcam", "batch_size=2", "shards=2", f"paths.results={tmp_path}"
    )
    run(halves)
    run(halves | {"shard": 1})
    same_rows(whole, halves)


def test_a_refusal_names_what_to_do():
    with pytest.raises(RefusedError, match="explain samples one by one"):
        Checks(method := Batched()).begin(
            method, lambda x: x.flatten(1)[:, :3], torch.rand(2, 3, 4, 4), TARGET[:2]
        )
