"""What a table says about its protocol, and its floor, ceiling and ablations."""

import numpy as np
import pytest

from bench.catalogue import Catalogue
from bench.errors import BenchError
from bench.store.cells import cells_folder, results
from bench.tables.__main__ import main
from bench.tables.table import ABLATION, ablation, table
from tests.support.stored_rows import SAMPLES, perturbation, segmentation, token_f1

pytestmark = pytest.mark.numerical

ABLATIONS = [name for name in Catalogue().names("method") if Catalogue().method(name).kind == ABLATION]


NEGATIVE, POSITIVE = "Negative test, least relevant first ↑", "Positive test, most relevant first ↓"
PARTS = ["without_gradient", "last_block_only", "second_block_only"]


def test_a_table_is_of_one_protocol(keep):
    paper, clean = keep("rollout", segmentation()), keep("lrp", segmentation(), "protocol=clean")
    assert list(table(paper).shown.index) == ["rollout"]
    assert list(table(clean).shown.index) == ["lrp"]
    with pytest.raises(BenchError, match="a table is of one protocol"):
        main(["protocol=paper,clean", "suite=embedded"])


def test_each_protocol_has_tables_of_its_own(keep, tmp_path):
    for name in ("paper", "clean"):
        made = table(keep("rollout", segmentation(), f"protocol={name}"))
        assert made.caption.startswith(f"**Segmentation · protocol {name} v1 · ")
        assert (made.data["protocol"] == f"{name} v1").all()
        assert "Not the suite's own" not in made.markdown()
        made.write(tmp_path / "tables", "--output")
        assert (tmp_path / "tables" / name / "segmentation.md").exists()


@pytest.mark.parametrize(
    ("rows", "change", "label"),
    [
        (perturbation, "protocol.perturbation.fill=mean", "paper v1 with perturbation.fill=mean"),
        (perturbation, "protocol.perturbation.scores.only_correct=true", "scores.only_correct=True"),
        (segmentation, "protocol.segmentation.threshold=0.5", "paper v1 with segmentation.threshold=0.5"),
        (token_f1, "protocol.token_f1.scores.rationale=[visible]", "scores.rationale=['visible']"),
    ],
)
def test_a_changed_setting_changes_the_label_and_the_file(keep, rows, change, label):
    plain, changed = table(keep("rollout", rows())), table(keep("rollout", rows(), change))
    assert label in changed.caption
    assert label in changed.data["protocol"].iloc[0]
    assert " with " not in plain.caption.split("·")[1]
    assert changed.name != plain.name
    assert changed.name.startswith(f"{plain.name}--")


def test_published_numbers_stand_beside_their_own_protocol_only(keep):
    made = table(keep("rollout", segmentation(), "protocol=clean"))
    assert not made.published
    assert not [column for column in made.data if "published" in column]
    assert "protocol *paper*" in made.markdown()


def test_the_clean_protocol_counts_both_kinds_of_hits(keep):
    rows = perturbation()
    made = table(keep("rollout", rows, "protocol=clean"))
    values = made.data.set_index("metric")["value"]
    predictions = np.stack(rows["negative_predictions"])
    for metric, expected in (
        ("negative_auc", np.ones(SAMPLES)),
        ("negative_auc_prediction", rows["predicted"].to_numpy()),
    ):
        curve = (predictions == expected[:, None]).mean(axis=0)
        assert values[metric] == pytest.approx(100 * np.trapezoid(curve, np.arange(10) / 10))
    assert "Negative test, least relevant first (own prediction) ↑" in made.shown.columns
    assert set(table(keep("rollout", rows)).data["metric"]) == {"negative_auc", "positive_auc"}


def test_only_what_is_classified_correctly_may_be_scored(keep):
    rows = perturbation()
    keep("rollout", rows)
    config = keep("rollout", rows, "protocol.perturbation.scores.only_correct=true")
    assert len(list(results(cells_folder(config), "masking"))) == 1  # read again, not run again
    made = table(config)
    curve = np.stack(rows["negative_predictions"])[:30].mean(axis=0)
    value = made.data.set_index("metric").loc["negative_auc", "value"]
    assert value == pytest.approx(100 * np.trapezoid(curve, np.arange(10) / 10))
    assert "; 40 samples, of which 30 are scored, accuracy of the model 75.0 %" in made.caption
    keep("rollout", rows.assign(predicted=0))
    with pytest.raises(BenchError, match=r"no sample is scored.*only_correct=false"):
        table(config)


def test_floor_and_ceiling_stand_below_and_compete_with_nobody(keep):
    rows = segmentation()
    keep("oracle", segmentation(right=1, average_precision=0.99))
    keep("random", segmentation(right=0.5, average_precision=0.3))
    keep("rollout", rows.assign(average_precision=rows["average_precision"] - 0.1))
    made = table(keep("transformer_attribution", rows))
    assert list(made.shown.index) == ["rollout", "transformer_attribution", "random", "oracle"]
    assert made.shown.loc["transformer_attribution", "mAP ↑"].startswith("**")
    assert not made.shown.loc["oracle"].str.contains(r"\*\*|≈").any()
    p_values = made.data[made.data["metric"] == "map"].set_index("method")["p_value"]
    assert np.isnan(p_values["oracle"])
    assert p_values["random"] < 0.05
    assert "The random map, drawn with a seed, is the floor. The annotation itself" in made.markdown()


def test_a_method_may_be_worse_than_random_and_random_is_still_not_best(keep):
    rows = segmentation()
    keep("random", rows)
    made = table(keep("rollout", rows.assign(average_precision=rows["average_precision"] - 0.1)))
    assert made.shown.loc["rollout", "mAP ↑"].startswith("**")
    assert not made.shown.loc["random", "mAP ↑"].startswith("**")


def test_the_ablation_is_a_table_of_two_tasks(keep, tmp_path):
    methods = ("transformer_attribution", *ABLATIONS, "random", "rollout")
    for index, method in enumerate(methods):
        image = keep(method, perturbation(seed=index))
        keep(method, perturbation(seed=index), "explained=target")
        pixel = keep(method, segmentation(seed=index))
    keep("oracle", segmentation(right=1))
    made = ablation([image, pixel])
    assert list(made.shown.index) == [
        *sorted(ABLATIONS, key=PARTS.index),
        "transformer_attribution",
        "random",
        "oracle",
    ]
    assert list(made.shown.columns) == [
        *(f"{NEGATIVE} (predicted class)", f"{NEGATIVE} (annotated class)"),
        *(f"{POSITIVE} (predicted class)", f"{POSITIVE} (annotated class)"),
        *("Pixel accuracy ↑", "mAP ↑", "mIoU ↑"),
    ]
    assert made.shown.loc["oracle", f"{NEGATIVE} (predicted class)"] == "–"
    assert "Perturbation AUC: " in made.caption
    assert "Segmentation: " in made.caption
    assert made.name == "ablation"
    assert "rollout" not in made.markdown().replace("*rollout*", "")
    # and the other tables do without the parts
    assert not set(ABLATIONS) & set(table(image).shown.index)


def test_the_ablation_leaves_out_a_class_for_which_nothing_was_ablated(keep):
    for method in ("transformer_attribution", *ABLATIONS):
        image = keep(method, perturbation(), "explained=predicted")
    keep("transformer_attribution", perturbation(), "explained=target")
    assert list(ablation([image]).shown.columns) == [NEGATIVE, POSITIVE]
    assert "explained: the predicted class;" in ablation([image]).caption
    assert "explained: the predicted and the annotated class;" in table(image).caption
    assert f"{NEGATIVE} (annotated class)" in table(image).shown.columns


def test_settings_of_the_method_are_in_every_row(keep):
    data = table(keep("transformer_attribution", segmentation())).data
    assert data["method_settings"].str.contains("start_layer 1; stop_layer None").all()


def test_the_command_line_makes_all_tables_that_have_cells(keep, tmp_path, capsys):
    keep("rollout", segmentation())
    where = f"paths.results={tmp_path}"
    main(["suite=embedded", where])
    assert (tmp_path / "embedded" / "tables" / "paper" / "segmentation.csv").exists()
    output = capsys.readouterr()
    assert output.err.count("nothing is computed under these conditions of") == 1
    assert "token_f1" in output.err
    with pytest.raises(BenchError, match="no table of ablation"):
        main(["suite=embedded", "table=ablation", where])
    with pytest.raises(BenchError, match=r"table=ablations: did you mean ablation\?"):
        main(["table=ablations", where])


def test_how_rows_are_scored_is_no_part_of_what_they_are(keep):
    """So other scores are read from the same rows."""
    config = keep("rollout", perturbation(), "protocol=clean")
    (result,) = results(cells_folder(config), "masking")
    assert result.record["config"]["protocol"]["perturbation"]["scores"]["hits"] == ["label", "predicted"]
    assert not {"scores", "hits", "only_correct"} & set(str(result.identity).replace("'", " ").split())
