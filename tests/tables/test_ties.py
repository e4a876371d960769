"""Below a table: which methods have many tied units, and which numbers depend on the order of these."""

import numpy as np
import pandas as pd
import pytest

from bench.config import build, configuration, quoted
from bench.runner.identities import measurement_id
from bench.store.cells import Cell, cells_folder
from bench.tables.table import table
from tests.support.stored_rows import SAMPLES, source_of

pytestmark = pytest.mark.numerical

STEPS = 11


def rows(gain, tied, seed):
    """Rows whose SRG is about ``gain``."""
    rng = np.random.default_rng(seed)
    most = np.linspace(0.9, 0.1, STEPS) + 0.05 * rng.random((SAMPLES, STEPS))
    least = most + gain * np.sin(np.linspace(0, np.pi, STEPS))
    return pd.DataFrame(
        {
            "id": [f"i{i}" for i in range(SAMPLES)],
            "positive_probability": list(most),
            "negative_probability": list(least),
            "tied": tied,
        }
    )


@pytest.fixture
def scored(tmp_path):
    """Put the cells of a method into a store: with SRG of each order of tied patches."""

    def scored(method, tied, first, last):
        config = configuration(["task=orders", f"method={method}", f"paths.results={quoted(tmp_path)}"])
        built = build("method", config["method"])
        for section, measurement in build("task", config["task"], description={"_target_"}).measurements():
            made = rows(last if section.get("ties") == "last" else first, tied, seed=len(method))
            cell = measurement_id(source_of(config), config, built, section, measurement)
            Cell(cells_folder(config), cell, config).write(made, {})
        return config

    return scored


def test_tied_units_are_named_with_their_share_and_a_number_that_depends_on_them_is_flagged(scored):
    scored("rollout", 0.02, 0.3, 0.3)
    scored("lrp", 0.4, 0.2, 0.2)
    config = scored("gradcam", 0.85, 0.2, 0.1)
    made = table(config)
    (named,) = [note for note in made.findings if note.startswith("**Tied units**")]
    assert "GradCAM 85 %" in named
    assert "LRP 40 %" in named
    assert "rollout" not in named  # 2 %
    flags = [note for note in made.findings if "Depends on the order of tied units" in note]
    assert len(flags) == 1
    first, last = (
        made.data.set_index(["method", "metric"])["value"]["gradcam", metric]
        for metric in ("srg", "srg_last")
    )
    assert f"SRG (mean, patch) of GradCAM is {first:.3f}, with the other order {last:.3f}" in flags[0]


def test_nothing_is_said_of_maps_without_ties(scored):
    assert not [note for note in table(scored("rollout", 0.1, 0.3, 0.1)).findings if "ied units" in note]


def test_each_order_has_cells_of_its_own(scored):
    """SRG by relevance, by its magnitude, and with the other order of tied patches."""
    config = scored("rollout", 0.02, 0.3, 0.3)
    cells = sorted((cells_folder(config) / "removal_curves").glob("*.json"))
    assert len(cells) == 3
    task = build("task", config["task"], description={"_target_"})
    curves = [m for _, m in task.measurements() if m.name == "removal_curves"]
    assert [(m.ranked_by, m.ties) for m in curves] == [
        ("relevance", "first"),
        ("magnitude", "first"),
        ("relevance", "last"),
    ]
