"""What methods and measurements say they cost is what a run makes."""

from dataclasses import replace

import numpy as np
import pytest

from bench.config import build
from bench.runner.cell import Plan, run
from bench.runner.claims import is_shared_work
from bench.runner.costs import Cost, Shape, of_map
from bench.runner.preflight import cost_of
from bench.tasks import AopcBounds
from metrics import aopc_bounds
from tests.support.tiny_texts import text_configuration, write

GRID = Shape(tokens=17, blocks=2, pixels=32 * 32)


def counted(config, monkeypatch) -> int:
    """How many samples are passed through the model in a run, beside those of the checks of the method."""
    from bench.models import image, text

    calls = [0]
    for cls in (image.ImageClassifier, text.TextModel):
        own = cls.forward

        def forward(self, inputs, own=own):
            one = inputs if hasattr(inputs, "shape") else inputs["input_ids"]
            calls[0] += len(one)
            return own(self, inputs)

        monkeypatch.setattr(cls, "forward", forward)
    monkeypatch.setattr("bench.runner.loop.Checks.of", lambda method: None)
    run(config)
    return calls[0]


@pytest.mark.parametrize("task", ["perturbation", "faithfulness", "segmentation", "sanity", "robustness"])
def test_a_cell_of_images_makes_the_passes_that_are_foretold(configure, monkeypatch, task):
    config = configure(task, "method=raw_attention", "limit=2", "batch_size=2")
    plan = Plan.of(config)
    cost = cost_of(plan, GRID)
    made = counted(config, monkeypatch)
    # The predicted class takes a pass of its own where no measurement makes it, and another one beside what all
    # methods share, which is computed first.
    own = 0 if any(m.name == "predictions" for m, _ in plan.measured) else 2
    own += 2 * any(is_shared_work(m) for m, _ in plan.measured)
    assert made - own == cost.forward + cost.measuring


def test_a_cell_of_texts_makes_at_most_the_passes_that_are_foretold(tmp_path, monkeypatch):
    root = write(tmp_path / "root")
    config = text_configuration(
        root, tmp_path / "results", "task=plausibility", "method=raw_attention", "explained=predicted"
    )
    plan = Plan.of(config)
    cost = cost_of(plan, Shape(tokens=32, blocks=3, prefix=2))
    assert 0 < counted(config, monkeypatch) <= cost.forward + cost.measuring + len(plan.dataset)


def test_units_that_removals_share_count_once():
    curves = build(
        "measurement",
        {
            "_target_": "bench.tasks.RemovalCurves",
            "steps": [0.0, 0.5, 1.0],
            "bins": [0.5],
            "unit": "patch",
            "fill": "mean",
        },
    )
    assert curves.passes(16) == 4  # 0, 8 and 16 of the most relevant, and 8 of the least
    assert replace(curves, bins=[0.25]).passes(16) == 6


def test_pixels_are_units_of_their_own():
    removal = build(
        "measurement",
        {
            "_target_": "bench.tasks.RemovalCurves",
            "steps": [0.0, 1.0],
            "bins": [],
            "unit": "pixel",
            "fill": "black",
        },
    )
    assert GRID.units(removal) == 1024
    assert GRID.units(replace(removal, unit="patch")) == 16


def test_a_method_that_says_nothing_counts_for_a_pass_of_each():
    cost = of_map(lambda forward, inputs, target: None, GRID)
    assert (cost.maps, cost.forward, cost.backward) == (1, 1, 1)


def test_the_width_is_told_to_methods_that_ask():
    scorecam = build("method", {"_target_": "methods.TokenCAM", "cam": "scorecam"})
    assert of_map(scorecam, replace(GRID, width=24)).forward == 25
    assert of_map(scorecam, GRID).forward == 769


def test_costs_add_up():
    one = Cost(maps=1, forward=2, backward=3, measuring=4, bytes=5)
    assert (one + one).times(2) == Cost(4, 8, 12, 16, 20)
    assert one.plain(backward=2) == 2 + 6 + 4


@pytest.mark.parametrize(("groups", "width"), [(6, None), (12, None), (6, 2), (16, 5)])
def test_bounds_of_orders_make_the_passes_that_are_foretold(groups, width):
    tried, weights = 0, np.random.default_rng(0).random(groups)

    def values(removed):
        nonlocal tried
        tried += len(removed)
        return removed @ weights

    aopc_bounds(values, groups, width)
    foretold = AopcBounds(groups, "patch", "mean", width=width).passes(196)
    assert tried <= foretold <= 1.2 * tried  # searches may try a subset that another beam has, too
    assert width is not None or tried == foretold


def test_a_curve_of_groups_makes_the_passes_that_are_foretold(configure, monkeypatch):
    config = configure(
        "perturbation", "method=raw_attention", "limit=2", "batch_size=2", "+metric=normalised_aopc"
    )
    plan = Plan.of(config)
    bounds = next(m for m, _ in plan.measured if m.name == "aopc_bounds")
    curve = next(m for m, _ in plan.measured if m.name == "group_curve")
    assert curve.passes(16) == 17
    assert bounds.passes(16) > 1000
    cost = cost_of(plan, GRID)
    made = counted(config, monkeypatch)
    assert 0.8 * cost.measuring < made <= cost.forward + cost.measuring + 2  # bounds are told at most
