"""Figures: what is drawn is what is stored, and every method can be told from the others."""

import numpy as np
import pytest

from bench import curves
from bench.config import configuration
from bench.drawing import look
from bench.errors import BenchError
from bench.figures import main
from bench.layout import ORDER
from bench.numbers import REFERENCES, finished, numbers
from bench.tables import ABLATIONS
from metrics import auc
from tests.stored_rows import SAMPLES, perturbation, segmentation, token_f1

pytestmark = pytest.mark.numerical


def luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_every_method_looks_different_and_stands_out_from_light_and_dark_pages():
    names = [*ORDER, "mine", "yours", *REFERENCES]
    looks = {name: look(name, names) for name in names if name not in ABLATIONS}
    assert len({tuple(style.values()) for style in looks.values()}) == len(looks)
    for style in looks.values():
        assert contrast(style["color"], "#ffffff") >= 3
        if style["color"] != "#000000":  # on a page this is the colour of the text
            assert contrast(style["color"], "#14171c") >= 3


def test_a_method_keeps_its_look_beside_others():
    assert look("lrp", ["lrp", "rollout"]) == look("lrp", ["lrp", "mine"])


def test_perturbation_curves_are_the_accuracy_at_each_step(keep):
    rows = perturbation(0.7, 0.2)
    keep("lrp", perturbation(), "explained=target")  # another class: not in the curves
    config = keep("rollout", rows)
    drawn = curves.perturbation(config, finished(config))
    assert set(drawn["method"]) == {"rollout"}
    assert set(drawn["metric"]) == {"negative_auc", "positive_auc"}
    table = numbers(config, finished(config)).query("method == 'rollout'").set_index("metric")["value"]
    for direction in ("negative", "positive"):
        curve = drawn[drawn["metric"] == f"{direction}_auc"]
        hits = np.stack(rows[f"{direction}_predictions"]) == 1
        assert curve["value"].to_numpy() == pytest.approx(100 * hits.mean(axis=0))
        assert list(curve["x"]) == pytest.approx(list(range(0, 100, 10)))
        assert auc(curve["value"] / 100, curve["x"] / 100) == pytest.approx(table[f"{direction}_auc"])
        half = 1.96 * 100 * np.sqrt(hits.mean(axis=0) * (1 - hits.mean(axis=0)) / SAMPLES)
        assert (curve["high"] - curve["low"]).to_numpy() / 2 == pytest.approx(half, rel=0.25)


def test_curves_of_only_correct_images(keep):
    config = keep("rollout", perturbation(), "protocol.perturbation.scores.only_correct=true")
    rows = perturbation().query("predicted == label")
    drawn = curves.perturbation(config, finished(config))
    curve = drawn[drawn["metric"] == "positive_auc"]["value"]
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
    with pytest.raises(BenchError, match="figure=segmentation: expected one of perturbation, token_f1"):
        main([f"paths.results={tmp_path}", "figure=segmentation"])
    keep("rollout", perturbation(), "explained=target")
    with pytest.raises(BenchError, match="explained=predicted"):
        main([f"paths.results={tmp_path}", "figure=perturbation"])


def test_token_f1_curves_are_those_of_the_table(keep):
    config = keep("rollout", token_f1())
    drawn = curves.token_f1(config, finished(config))
    assert list(drawn["x"]) == configuration(["task=token_f1"])["protocol"]["token_f1"]["k"]
    assert drawn["value"].is_monotonic_increasing
