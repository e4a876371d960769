"""Plausibility of texts on a tiny model, and what is measured once for all methods."""

from functools import partial

import numpy as np
import pytest

import bench  # noqa: F401
from bench.errors import BenchError
from bench.runner.cell import Plan, run
from bench.tables.table import table
from bench.tasks import LeaveOneOutDrops, Plausibility
from tests.support.tiny_texts import text_configuration, write

pytestmark = pytest.mark.numerical


@pytest.fixture
def configure(tmp_path_factory, tmp_path):
    root = write(tmp_path_factory.mktemp("root"))
    return partial(
        text_configuration, root, tmp_path / "results", "task=plausibility", "protocol.token_f1.k=[1,3]"
    )


def cell_of(config, kind):
    (cell,) = [cell for measurement, cell in Plan.of(config).measured if measurement.name == kind]
    return cell


def test_what_leaving_words_out_does_is_measured_once_for_all_methods(configure):
    methods = [configure(f"method={method}", "+metric=ferret_sufficiency") for method in ("random", "oracle")]
    first = run(methods[0])
    drops = cell_of(methods[0], "leave_one_out")
    before = drops.written_at()
    second = run(methods[1])
    assert cell_of(methods[1], "leave_one_out").rows_file == drops.rows_file
    assert drops.written_at() == before
    assert second["auprc"] == 1
    assert first["auprc"] < 1
    assert np.isfinite(first["ferret_sufficiency"])
    scores = cell_of(methods[0], "unit_scores").result().rows
    for own, lost in zip(scores["unit_scores"], drops.result().rows["drops"], strict=True):
        assert len(own) == len(lost)
        assert np.isfinite(lost).all()
    made = table(methods[0])
    assert {"tau_leave_one_out", "auprc", "iou_f1"} <= set(made.data["metric"])
    assert "Does not order" not in made.markdown()  # no reversed oracle, so nothing is said


def test_each_explained_class_has_drops_of_its_own(configure):
    cells = []
    for explained in ("target", "predicted"):
        config = configure("method=random", f"explained={explained}")
        run(config)
        cells.append(cell_of(config, "leave_one_out"))
    assert cells[0].rows_file != cells[1].rows_file
    made = table(configure("method=random")).data
    found = made[made["metric"] == "tau_leave_one_out"].set_index("explained")
    assert set(found.index) == {"target", "predicted"}


def test_metrics_that_fail_on_planted_maps_are_named(configure):
    for method in ("random", "oracle", "reversed_oracle"):
        config = configure(f"method={method}")
        run(config)
    text = table(config).markdown()
    assert "**Does not order planted maps**" in text  # a random model knows nothing of rationales
    assert "τ to leave-one-out" in text.partition("**Does not order")[2]
    (heading,) = [line for line in text.splitlines() if line.startswith("| method")]
    columns = {column.strip() for column in heading.split("|")}
    assert "τ to leave-one-out (delete, word) ‡ ↑" in columns  # marked in the table itself
    assert "AUPRC (visible) ↑" in columns  # the oracle is the annotation, so this one holds


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Plausibility(k=[]), "k="),
        (lambda: Plausibility(k=[5], threshold=0), "threshold"),
        (lambda: Plausibility(k=[5], word_score="sum"), "word_score"),
        (lambda: LeaveOneOutDrops(unit="word", fill="mean"), "fill"),
    ],
)
def test_settings_out_of_range_are_named(make, named):
    with pytest.raises(BenchError, match=named):
        make()
