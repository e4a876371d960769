"""Tables are made from the store alone."""

import json

import pandas as pd
import pytest

import bench  # noqa: F401
from bench.errors import BenchError
from bench.published import SETUPS, SOURCES, published
from bench.store import Cell
from bench.tables import METRICS, configuration, table


@pytest.fixture
def keep(tmp_path):
    """Put a finished cell with given metrics into a store and return its configuration."""

    def keep(task, method, metrics, *overrides, checksum="a" * 64):
        config = configuration([f"task={task}", f"method={method}", f"paths.results={tmp_path}", *overrides])
        record = {"metrics": metrics, "samples": 7, "checkpoint_sha256": checksum}
        Cell(config).write(pd.DataFrame({"id": ["a"]}), record)
        return config

    return keep


SEGMENTATION = {"pixel_accuracy": 70.0, "map": 80.0, "miou": 50.0}


def test_segmentation_shows_both_numbers_with_their_origin(keep):
    keep("segmentation", "lrp", SEGMENTATION)
    config = keep("segmentation", "rollout", SEGMENTATION | {"map": 81.234})
    made = table(config)
    assert list(made.shown.index) == ["rollout", "lrp"]  # the paper's order
    assert made.shown.loc["rollout", "mAP ↑"] == "**81.23**"
    assert made.shown.loc["lrp", "mAP ↑"] == "80.00"
    heading = "published, another model and data set: mAP ↑"
    assert made.shown.loc["lrp", heading] == "55.68 (recalled)"
    assert "ImageNet-Segmentation" in made.markdown()
    assert "Stand-ins" in made.markdown()


def test_perturbation_has_a_column_for_each_direction_and_explained_class(keep):
    auc = {"negative_auc": 40.0, "positive_auc": 20.0, "accuracy": 91.0}
    keep("perturbation", "rollout", auc, "explained=target")
    keep("perturbation", "gradcam", {"negative_auc": 30.0, "positive_auc": 25.0, "accuracy": 91.0})
    config = keep("perturbation", "rollout", auc)
    shown = table(config).shown
    ours = [column for column in shown.columns if not column.startswith("published")]
    assert ours == [f"{m} {e}" for m in ("Negative AUC ↑", "Positive AUC ↓") for e in ("predicted", "target")]
    assert shown.loc["rollout", "Positive AUC ↓ predicted"] == "**20.00**"  # the lower the better
    assert shown.loc["gradcam", "Positive AUC ↓ target"] == "–"
    assert "accuracy of the model 91.0 %" in table(config).caption
    assert "55.20 (thread)" in table(config).markdown()  # the public re-runs


def test_token_f1_spreads_over_k(keep):
    config = keep("token_f1", "transformer_attribution", {f"token_f1@{k}": k / 1000 for k in range(5, 81, 5)})
    made = table(config)
    assert made.shown.loc["transformer_attribution", "Token F1 (macro) ↑ k = 10"] == "**0.010**"
    assert len(made.data) == 16
    assert made.data["published_rerun_kth"].notna().all()


def test_settings_are_in_the_caption_and_in_every_row(keep):
    config = keep("perturbation", "rollout", {"negative_auc": 1.0, "positive_auc": 1.0})
    made = table(config)
    for text in (made.caption, made.data["settings"].iloc[0]):
        assert "fill black" in text
        assert "resize squash" in text
    assert (made.data["protocol"] == "paper v1").all()


def test_cells_under_other_conditions_stay_out(keep):
    keep("segmentation", "lrp", SEGMENTATION, "protocol.segmentation.threshold=0.5")
    config = keep("segmentation", "rollout", SEGMENTATION)
    assert list(table(config).shown.index) == ["rollout"]


def test_methods_of_one_name_are_told_apart_by_their_settings(keep):
    config = keep("segmentation", "rollout", SEGMENTATION)
    keep("segmentation", "rollout", SEGMENTATION, "method.start_layer=0")
    assert sorted(table(config).shown.index) == ["rollout (start_layer=0)", "rollout (start_layer=1)"]


def test_two_checkpoints_do_not_share_a_table(keep):
    config = keep("segmentation", "rollout", SEGMENTATION)
    keep("segmentation", "lrp", SEGMENTATION, checksum="b" * 64)
    with pytest.raises(BenchError, match="different weights"):
        table(config)


def test_no_cells_no_table(tmp_path):
    with pytest.raises(BenchError, match="make tables SUITE=embedded"):
        table(configuration([f"paths.results={tmp_path}"]))


def test_a_damaged_record_is_named(keep):
    config = keep("segmentation", "rollout", SEGMENTATION)
    path = Cell(config).record_file
    path.write_text(path.read_text()[:50])
    with pytest.raises(BenchError, match=path.name):
        table(config)


def test_all_three_files_are_written(keep, tmp_path):
    table(keep("segmentation", "rollout", SEGMENTATION)).write(tmp_path / "tables")
    data = pd.read_csv(tmp_path / "tables" / "segmentation.csv")
    assert set(data["metric"]) == {m.name for m in METRICS["segmentation"]}
    latex = (tmp_path / "tables" / "segmentation.tex").read_text()
    assert r"\toprule" in latex
    assert r"pixel" in latex.lower()
    assert "_" not in latex.replace(r"\_", "").replace("tab:segmentation", "")


def test_what_a_person_wrote_stays_under_the_table(keep, tmp_path):
    config = keep("segmentation", "rollout", SEGMENTATION)
    (tmp_path / "embedded" / "findings").mkdir(parents=True)
    (tmp_path / "embedded" / "findings" / "segmentation.md").write_text("What it shows.\n")
    assert table(config).markdown().endswith("What it shows.\n")


@pytest.mark.parametrize("task", list(METRICS))
def test_published_numbers_know_their_origin(task):
    numbers = published(task, "results")
    assert set(numbers["source"]) <= set(SOURCES)
    assert task in SETUPS
    assert numbers["confirmed"].notna().all()
    assert set(numbers["metric"]) == {m.name for m in METRICS[task]}


def test_the_record_is_plain_json(keep):
    record = json.loads(Cell(keep("segmentation", "rollout", SEGMENTATION)).record_file.read_text())
    assert record["config"]["method"]["name"] == "rollout"
    assert record["conditions"]["protocol"]["name"] == "paper"
