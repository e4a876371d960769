"""The fill study: how far the order of methods depends on what takes the place of a unit."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from bench.config import build, configuration, swept
from bench.errors import BenchError
from bench.tables.fills import fill_study
from bench.tables.select import Selection

METHODS = ("gae", "rollout", "raw_attention", "lrp", "gradcam")
SAMPLES = 30


class Rows:
    """A method with made-up rows in the place of stored ones."""

    explained = "predicted"

    def __init__(self, name: str, tables):
        self.name = self.label = name
        self._tables = tables

    def tables(self):
        return self._tables


@pytest.fixture(scope="module")
def config():
    return configuration(["experiment=fill_study", "suite=embedded"])


def made_up(config, quality, reversed_fill=None):
    """Rows of all measurements: the better a method, the farther apart its two curves; under one fill the reverse."""
    task = build("task", config["task"], description={"_target_"})
    rng = np.random.default_rng(0)
    measured = list(zip(task.measured_names(), task.measurements(), strict=True))
    scored = []
    for name, own in quality.items():
        tables = {}
        for measured_name, (section, _) in measured:
            gain = -own if section["fill"] == reversed_fill else own
            half = np.linspace(0, 1, len(section["steps"])) * (gain + 0.2 * rng.normal(size=(SAMPLES, 1)))
            bins = np.ones(len(section["bins"]))
            tables[measured_name] = pd.DataFrame(
                {
                    "id": [f"s{i:02d}" for i in range(SAMPLES)],
                    "positive_probability": list(0.5 - half / 2),
                    "negative_probability": list(0.5 + half / 2),
                    "log_probability": np.log(0.5),
                    "without_top_log_probability": list(np.log(0.5 - half[:, -1:] / 4 * bins)),
                    "only_top_probability": list(0.5 + half[:, -1:] / 4 * bins),
                }
            )
        scored.append(Rows(name, tables))
    return Selection(config, task, scored, None)


def test_the_experiment_is_what_the_budget_allows(config):
    cells = swept("fill_study", ["suite=small_real"])
    names = [cell["method"]["name"] for cell in cells]
    kinds = [cell["method"]["kind"] for cell in cells]
    assert len(set(names)) == len(names)
    assert (kinds.count("method"), kinds.count("floor")) == (12, 2)
    assert {cell["limit"] for cell in cells} == {50}
    metrics = config["task"]["metrics"]
    assert len(metrics) == 3 * 11 + 2 * 9
    for name, section in metrics.items():
        removal = section["reads"]["removal"]
        assert name.endswith(f"_{removal['unit']}_{removal['fill']}")
        assert section["title"].endswith(f"({removal['fill']}, {removal['unit']})")
    pairs = {(s["reads"]["removal"]["unit"], s["reads"]["removal"]["fill"]) for s in metrics.values()}
    assert len(pairs) == 11


def test_a_fill_that_turns_the_order_round_is_found_and_the_others_agree(config):
    quality = dict(zip(METHODS, np.linspace(0.1, 0.7, 5), strict=True))
    study = fill_study(made_up(config, quality, reversed_fill="blur"))
    assert study.samples == SAMPLES
    assert study.methods == list(METHODS)
    pairs = study.pairs()
    assert len(pairs) == 51 * 50 // 2
    blurred = (pairs["fill"] == "blur") != (pairs["other_fill"] == "blur")
    assert pairs.loc[blurred, "differ"].all()
    assert (pairs.loc[blurred, "tau"] < -0.5).all()
    assert not pairs.loc[~blurred, "differ"].any()
    assert (pairs.loc[~blurred, "tau"] > 0.5).all()
    unit_alone = pairs[(pairs["changed"] == "unit")]
    assert len(unit_alone) == 3 * 5 + 2 * 4
    text = study.markdown()
    assert "Deletion ↓" in text
    assert "**-1.00**" in text
    summary = study.summary()
    assert (summary.loc["SRG ↑"].set_index("changed").loc["fill", "orders differ"]) == "9 of 25 pairs"


def test_tau_is_that_of_the_means(config):
    rng = np.random.default_rng(1)
    selection = made_up(config, dict(zip(METHODS, rng.uniform(0.2, 0.3, 5), strict=True)))
    study = fill_study(selection)
    task = selection.task
    by_method = [task.statistics(one.tables()) for one in selection.scored]
    values = [[own[s.name, 0].value for own in by_method] for s in study.settings]
    signs = [1 if "↑" in s.title else -1 for s in study.settings]
    for i, j in list(combinations(range(51), 2))[::97]:
        expected = kendalltau(signs[i] * np.array(values[i]), signs[j] * np.array(values[j])).statistic
        assert study.found.tau[i, j] == pytest.approx(expected)


def test_floors_are_left_out_and_two_methods_are_too_few(config):
    with_floor = made_up(config, {"gae": 0.1, "rollout": 0.2, "lrp": 0.3, "random": 0.0})
    assert fill_study(with_floor).methods == ["gae", "rollout", "lrp"]
    with pytest.raises(BenchError, match="2 methods have finished cells"):
        fill_study(made_up(config, {"gae": 0.1, "rollout": 0.2, "random": 0.0}))


def test_a_metric_without_a_fill_is_refused(config):
    selection = made_up(config, {"gae": 0.1, "rollout": 0.2, "lrp": 0.3})
    task = SimpleNamespace(
        metrics={"gini": {"reads": {"map_shape": {}}}}, built_metrics=selection.task.built_metrics
    )
    with pytest.raises(BenchError, match="metric gini reads no measurement with a fill"):
        fill_study(Selection(config, task, selection.scored, None))
