"""Figures: what is drawn is what is stored, and every method can be told from the others."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from bench.catalogue import Catalogue
from bench.config import configuration, quoted
from bench.errors import BenchError
from bench.figures.__main__ import main
from bench.figures.panels import panels
from bench.figures.style import FAMILIES, Panel, family_of, figure_of, limits_of, look
from bench.tables.select import select
from bench.tables.statistics import numbers
from metrics import auc, wilson
from tests.support.stored_rows import SAMPLES, perturbation, segmentation, token_f1

pytestmark = pytest.mark.numerical

FACTS = Catalogue()


def luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_every_method_looks_different_and_stands_out_from_light_and_dark_pages():
    kinds = {name: FACTS.method(name).kind for name in FACTS.names("method") if name != "custom"}
    names = [*(name for name, kind in kinds.items() if kind != "ablation"), "mine", "yours"]
    assert len(names) >= 12
    assert len(names) > 25
    looks = {name: look(name, FACTS, names) for name in names}
    assert len({tuple(style.values()) for style in looks.values()}) == len(looks)
    colours = {
        family_of(name, FACTS): style["color"] for name, style in looks.items() if FACTS.method(name).competes
    }
    assert len({*colours.values(), "#000000"}) >= 7  # a colour for each family
    for style in looks.values():
        assert contrast(style["color"], "#ffffff") >= 3
        if style["color"] != "#000000":  # on a page this is the colour of the text
            assert contrast(style["color"], "#14171c") >= 3


def test_every_method_has_a_family():
    assert {
        FACTS.method(name).family for name in FACTS.names("method") if FACTS.method(name).competes
    } <= set(FAMILIES)


def curves_of(values: dict, label="Token F1", title="measured") -> Panel:
    rows = [(method, x, x * slope / 80) for method, slope in values.items() for x in (10, 80)]
    return Panel(title, "k", label, pd.DataFrame(rows, columns=["method", "x", "value"]))


def test_panels_of_one_quantity_have_one_scale_and_the_ceiling_a_corner_of_its_own():
    ours = curves_of({"rollout": 0.15, "random": 0.13, "oracle": 0.47})
    theirs = curves_of({"rollout": 0.25}, title="published")
    other = curves_of({"rollout": 90.0}, label="accuracy, %")
    first, second, third = limits_of([ours, theirs, other], FACTS)
    assert first == second
    assert 0.25 < first[1] < 0.3  # of the published curves; the ceiling, 0.47, lies outside
    assert third[1] > 90
    left, right = figure_of([ours, theirs], "title", FACTS).axes
    assert left.get_ylim() == right.get_ylim() == pytest.approx(first)
    (inset,) = left.child_axes
    assert inset.get_ylim()[1] > 0.47
    assert not right.child_axes


@pytest.mark.parametrize("power", [0.25, 1.0, 4.0])
def test_the_small_axes_with_the_ceiling_hide_no_curve(power):
    """Curves that rise late leave room at the upper left, those that rise at once at the lower right."""
    x = np.arange(5, 81, 5)
    values = {"rollout": 0.25, "random": 0.2, "oracle": 0.6}
    rows = [(m, k, v * (k / 80) ** power) for m, v in values.items() for k in x]
    panel = Panel("measured", "k", "Token F1", pd.DataFrame(rows, columns=["method", "x", "value"]))
    figure = figure_of([panel], "title", FACTS)
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    (inset,) = axes.child_axes
    box = inset.get_window_extent().transformed(axes.transData.inverted())
    assert not [row for row in rows if box.contains(*row[1:])]
    assert box.width > 20  # words of 80: large enough to be read


def test_the_legend_of_many_methods_has_a_column_for_each_family():
    names = [
        name for name in FACTS.names("method") if FACTS.method(name).kind == "method" and name != "custom"
    ]
    figure = figure_of([curves_of(dict.fromkeys(names, 0.2))], "title", FACTS)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    families = list(dict.fromkeys(family_of(name, FACTS) for name in names))
    assert {text for text in texts if text in FAMILIES} == set(families)
    assert len(texts) % len(families) == 0
    assert texts.index("GradCAM") > texts.index("attention and gradient")


def test_a_method_keeps_its_look_beside_others():
    assert look("lrp", FACTS, ["lrp", "rollout"]) == look("lrp", FACTS, ["lrp", "mine"])


def drawn(config):
    """The data of the panels of what was measured, by the title of their metric."""
    return {
        p.title.partition(" test")[0]: p.data for p in panels(select(config)) if "published" not in p.title
    }


def test_perturbation_curves_are_the_accuracy_at_each_step(keep):
    rows = perturbation(0.7, 0.2)
    keep("lrp", perturbation(), "explained=target")  # another class: not in the curves
    config = keep("gradcam", rows)
    curves = drawn(config)
    assert set(curves) == {"Negative", "Positive"}
    table = numbers(select(config)).query("method == 'gradcam'").set_index("metric")["value"]
    for direction in ("negative", "positive"):
        curve = curves[direction.title()]
        assert set(curve["method"]) == {"gradcam"}
        hits = np.stack(rows[f"{direction}_predictions"]) == 1
        assert curve["value"].to_numpy() == pytest.approx(100 * hits.mean(axis=0))
        assert list(curve["x"]) == pytest.approx(list(range(0, 100, 10)))
        assert auc(curve["value"] / 100, curve["x"] / 100) == pytest.approx(table[f"{direction}_auc"])
        low, high = wilson(hits.mean(axis=0), SAMPLES)  # each point is a proportion
        assert curve["low"].to_numpy() == pytest.approx(100 * low)
        assert curve["high"].to_numpy() == pytest.approx(100 * high)


def test_curves_of_only_correct_images(keep):
    config = keep("rollout", perturbation(), "protocol.perturbation.scores.only_correct=true")
    rows = perturbation().query("predicted == label")
    curve = drawn(config)["Positive"]["value"]
    assert curve.to_numpy() == pytest.approx(100 * (np.stack(rows["positive_predictions"]) == 1).mean(axis=0))


def test_figures_are_written_in_two_formats_and_again_to_the_byte(keep, tmp_path, capsys):
    keep("lrp", perturbation(seed=1))
    keep("rollout", perturbation())
    where = f"paths.results={tmp_path}"
    main([where])
    assert "no figure of token_f1" in capsys.readouterr().err
    files = sorted((tmp_path / "embedded" / "figures" / "paper").iterdir())
    assert [file.name for file in files] == ["perturbation.pdf", "perturbation.svg"]
    assert files[0].read_bytes().startswith(b"%PDF")
    before = [file.read_bytes() for file in files]
    main([where, "figure=perturbation"])
    assert [file.read_bytes() for file in files] == before


def test_a_figure_that_cannot_be_drawn_is_named(keep, tmp_path):
    keep("rollout", segmentation())
    with pytest.raises(BenchError, match="no figure of perturbation: there is no finished cell"):
        main([f"paths.results={tmp_path}"])
    with pytest.raises(BenchError, match="no figure of segmentation: none of its metrics sums up a curve"):
        main([f"paths.results={tmp_path}", "figure=segmentation"])
    keep("gradcam", perturbation(), "explained=target")
    with pytest.raises(BenchError, match="explained=predicted"):
        main([f"paths.results={tmp_path}", "figure=perturbation"])


def test_token_f1_curves_are_those_of_the_table(keep):
    config = keep("rollout", token_f1())
    selection = select(config)
    measured, published = panels(selection)
    assert list(measured.data["x"]) == configuration(["task=token_f1"])["protocol"]["token_f1"]["k"]
    assert measured.data["value"].is_monotonic_increasing
    table = numbers(selection)
    # With the table at hand the intervals are its own; else they are of fewer resamples.
    for curve, tolerance in ((panels(selection, table)[0], 1e-9), (measured, 0.02)):
        for name in ("value", "low", "high"):
            assert curve.data[name].to_numpy() == pytest.approx(table[name].to_numpy(), rel=tolerance)
    assert published.title.startswith("Token F1, published\npublic re-run")
    assert published.data["x"].nunique() == 16


def test_figures_go_where_they_are_sent_and_results_may_be_read_only(keep, tmp_path, capsys):
    keep("rollout", perturbation())
    before = sorted(tmp_path.rglob("*"))
    elsewhere = tmp_path.parent / f"{tmp_path.name} {{é'=,"
    main([f"paths.results={quoted(tmp_path)}", "--output", str(elsewhere)])
    assert sorted(tmp_path.rglob("*")) == before
    written = sorted(elsewhere.rglob("*.svg"))
    assert written == [elsewhere / "paper" / "perturbation.svg"]
    assert str(written[0]) in capsys.readouterr().out
