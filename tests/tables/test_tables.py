"""Tables are made from the store alone."""

import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from bench.catalogue import PROJECT, Catalogue
from bench.config import build, configuration
from bench.errors import BenchError
from bench.store.cells import cells_folder, results
from bench.tables.format import shown
from bench.tables.latex import latex
from bench.tables.published import SOURCES, published
from bench.tables.table import table
from tests.support.stored_rows import SAMPLES, perturbation, segmentation, token_f1

pytestmark = pytest.mark.numerical

NEGATIVE, POSITIVE = "Negative test, least relevant first ↑", "Positive test, most relevant first ↓"
PREDICTED, ANNOTATED = "(predicted class)", "(annotated class)"


def of_others(made, source=0):
    """What a table says of published numbers, as text: a row for each method, by its label."""
    theirs = made.published[source]
    return shown(theirs.columns, theirs.methods)


def record_of(config, kind="mask_overlap"):
    """The file of the only cell of a kind."""
    (result,) = results(cells_folder(config), kind)
    return result.path


def test_segmentation_shows_both_numbers_with_their_origin(keep):
    rows = segmentation()
    keep("lrp", rows)
    better = rows.assign(average_precision=rows["average_precision"] + 0.02)
    config = keep("rollout", better)
    made = table(config)
    assert list(made.shown.index) == ["rollout", "lrp"]  # the paper's order
    best = 100 * better["average_precision"].mean()
    assert made.shown.loc["rollout", "mAP ↑"].startswith(f"**{best:.2f}** [")
    assert made.shown.loc["lrp", "mAP ↑"].startswith(f"{best - 2:.2f} [")
    assert of_others(made).loc["lrp", "mAP ↑"] == "55.68"
    of = "ViT-B/16 on ImageNet-Segmentation (here: another model and data set)"
    assert f"**Published: Chefer et al. 2021**, {of}" in made.markdown()
    assert "Stand-ins" in made.markdown()


def test_perturbation_has_a_column_for_each_direction_and_explained_class(keep):
    keep("transformer_attribution", perturbation(0.6, 0.1), "explained=target")
    keep("gradcam", perturbation(0.3, 0.3))
    config = keep("transformer_attribution", perturbation(0.6, 0.1))
    shown = table(config).shown
    assert list(shown) == [f"{m} {e}" for m in (NEGATIVE, POSITIVE) for e in (PREDICTED, ANNOTATED)]
    assert shown.loc["transformer_attribution", f"{POSITIVE} {PREDICTED}"].startswith(
        "**"
    )  # the lower the better
    assert not shown.loc["gradcam", f"{POSITIVE} {PREDICTED}"].startswith("**")
    assert shown.loc["gradcam", f"{POSITIVE} {ANNOTATED}"] == "–"
    assert "accuracy of the model 75.0 % [59.8, 85.8]" in table(config).caption
    assert "55.20" in table(config).markdown()  # the public re-runs


@pytest.mark.parametrize("explained", ["predicted", "target"])
def test_a_method_that_ignores_the_class_stands_under_every_class_there_is(keep, explained):
    for each in ("predicted", "target"):
        keep("gradcam", perturbation(0.3, 0.3, seed=1), f"explained={each}")
    config = keep("rollout", perturbation(0.6, 0.1), f"explained={explained}")
    data = table(config).data.set_index(["method", "explained", "metric"])["value"]
    for metric in ("negative_auc", "positive_auc"):
        assert data["rollout", "predicted", metric] == data["rollout", "target", metric]
    shown = table(config).shown
    assert not (shown.loc["rollout"] == "–").any()
    assert of_others(table(config)).loc["rollout", f"{NEGATIVE} {ANNOTATED}"] == "53.10 (recalled)"


def test_methods_that_all_ignore_the_class_have_one_column(keep):
    keep("rollout", perturbation(0.6, 0.1), "explained=target")
    made = table(keep("raw_attention", perturbation(0.3, 0.3)))
    assert set(made.data["explained"]) == {"predicted"}  # the class that the task explains
    assert NEGATIVE in made.shown.columns


def test_token_f1_spreads_over_k(keep):
    config = keep("transformer_attribution", token_f1())
    made = table(config)
    assert "Token F1 ↑ k = 10" in made.shown.columns
    assert len(made.data) == 16
    assert made.data["published_rerun_kth"].notna().all()


def test_readers_see_k_in_rows_and_the_names_of_methods(keep):
    keep("partial_lrp", token_f1(seed=1))
    made = table(keep("transformer_attribution", token_f1()))
    ((heading, shown),) = made.tables
    assert heading == "Token F1 ↑"
    assert list(shown.index) == ["10", "20", "30", "40", "50", "60", "70", "80"]
    assert list(shown) == ["partial LRP", "transformer attribution"]
    (main,) = made.published
    assert main.relation == "another model and data set"
    assert main.tables[0][1].loc["80", "transformer attribution"] == "0.250"
    lines = made.markdown().splitlines()
    assert max(line.count("|") for line in lines) == 8  # the six published methods and k, no more
    assert not [line for line in lines if line.startswith("|") and ("_" in line or "published, " in line)]


@pytest.mark.parametrize(
    ("suite", "rows", "relation"),
    [
        ("small_real", token_f1, "another model"),
        ("small_real", perturbation, "another model, a sample of the data set"),
        ("small_real", segmentation, "another model and data set"),
        ("paper", perturbation, "the same model and data set"),
        ("embedded", token_f1, "another model and data set"),
    ],
)
def test_what_published_numbers_are_of_is_said_as_it_is(keep, suite, rows, relation):
    made = table(keep("rollout", rows(), f"suite={suite}"))
    assert made.published[0].relation == relation
    assert f"(here: {relation})" in made.markdown()


def test_public_re_runs_are_small_tables(keep):
    made = table(keep("transformer_attribution", perturbation()))
    assert [source.source for source in made.published] == ["chefer2021", "rerun_issue52", "rerun_kth"]
    issue, kth = of_others(made, 1), of_others(made, 2)
    assert issue.loc["transformer_attribution", NEGATIVE] == "55.20"
    assert kth.loc["lrp", POSITIVE] == "41.02"
    assert len(kth) == 5
    assert "All confirmed as: computed from published curves." in made.markdown()


def test_a_caption_is_in_english(keep):
    made = table(keep("rollout", perturbation()))
    assert (
        "explained: the predicted class; images squashed to 224 × 224 pixels; bilinear interpolation; "
        "pixels masked, in %: 0 to 90 in steps of 10; masked pixels are black; a hit is the annotated class."
    ) in made.caption
    made = table(keep("rollout", perturbation(), "protocol=clean"))
    assert "of the model's mean colour" in made.caption
    assert "a hit is the annotated class and the class predicted for the whole image" in made.caption
    made = table(keep("rollout", token_f1()))
    assert "k = 5 to 80 in steps of 5; documents cut at 512 word pieces" in made.caption
    assert "explained: the annotated class" in made.caption


def test_numbers_come_from_the_rows_with_their_interval(keep):
    rows = segmentation(seed=3)
    data = table(keep("rollout", rows)).data.set_index("metric")
    precisions = rows["average_precision"]
    assert data.loc["map", "value"] == pytest.approx(100 * precisions.mean())
    half_width = 100 * 1.96 * precisions.std() / np.sqrt(SAMPLES)
    assert data.loc["map", "high"] - data.loc["map", "low"] == pytest.approx(2 * half_width, rel=0.1)
    assert (data["low"] < data["value"]).all()
    assert (data["value"] < data["high"]).all()


def test_a_number_of_few_samples_has_a_width_and_is_never_bold(keep):
    few = segmentation().head(8).assign(average_precision=0.9)
    keep("lrp", few.assign(average_precision=0.8))
    made = table(keep("rollout", few))
    data = made.data[made.data["metric"] == "map"].set_index("method")
    assert data.loc["rollout", "low"] < 80 < 90 < data.loc["rollout", "high"]
    assert not made.shown.map(lambda text: "**" in text or "≈" in text).any(axis=None)
    assert "No number of fewer than 30 samples is bold" in made.markdown()
    assert "one pseudo-sample at each end of the range" in made.markdown()
    assert "Bold" not in made.markdown()


def test_a_number_of_many_samples_is_the_best_of_its_like(keep):
    """GradCAM is defined on 10 samples and has the best number: LRP is bold, and compared with."""
    similar = np.linspace(-0.5, 1, SAMPLES)
    some = np.where(np.arange(SAMPLES) < 10, similar, np.nan)
    keep("gradcam", segmentation().assign(class_similarity=some), SIMILAR)
    made = table(keep("lrp", segmentation(seed=1).assign(class_similarity=similar), SIMILAR))
    shown = made.shown["Similarity to another class ↓"]
    assert shown["lrp"].startswith("**")
    assert "**" not in shown["gradcam"]
    data = made.data[made.data["metric"] == "class_similarity"].set_index("method")
    assert data.loc["lrp", "p_value"] == 1
    assert data["interval"].to_dict() == {"gradcam": "bootstrap with pseudo-samples", "lrp": "bootstrap"}


def test_what_cannot_be_told_from_the_best_is_marked(keep):
    rows = segmentation()
    noise = np.random.default_rng(1).normal(0, 0.05, SAMPLES)
    keep("rollout", rows)
    keep("lrp", rows.assign(average_precision=rows["average_precision"] + noise - noise.mean() - 0.001))
    config = keep("gradcam", rows.assign(average_precision=rows["average_precision"] - 0.05 + noise / 10))
    made = table(config)
    assert made.shown.loc["rollout", "mAP ↑"].startswith("**")
    assert made.shown.loc["lrp", "mAP ↑"].endswith("≈")
    assert not made.shown.loc["gradcam", "mAP ↑"].endswith("≈")
    p_values = made.data[made.data["metric"] == "map"].set_index("method")["p_value"]
    assert p_values["rollout"] == 1
    assert p_values["lrp"] > 0.05 > p_values["gradcam"]


def test_tables_are_made_again_to_the_byte(keep):
    keep("lrp", segmentation(seed=1))
    config = keep("rollout", segmentation(seed=2))
    assert table(config).markdown() == table(config).markdown()


def test_the_order_of_the_rows_does_not_matter(keep):
    keep("lrp", segmentation(seed=1))
    config = keep("rollout", segmentation(seed=2))
    before = table(config).data
    keep("lrp", segmentation(seed=1).sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(table(config).data, before)


def test_cells_of_other_samples_are_refused(keep):
    keep("lrp", segmentation())
    config = keep("rollout", segmentation().replace({"id": {"i3": "another"}}))
    with pytest.raises(BenchError, match="other samples"):
        table(config)


def test_settings_are_in_the_caption_and_in_every_row(keep):
    made = table(keep("rollout", perturbation()))
    for text in (made.caption, made.data["settings"].iloc[0]):
        assert "black" in text
        assert "squash" in text
    assert (made.data["protocol"] == "paper v1").all()


def test_cells_under_other_conditions_stay_out(keep):
    keep("lrp", segmentation(), "protocol.segmentation.threshold=0.5")
    config = keep("rollout", segmentation())
    assert list(table(config).shown.index) == ["rollout"]


def test_methods_of_one_name_are_told_apart_by_their_settings(keep):
    config = keep("rollout", segmentation())
    keep("rollout", segmentation(), "method.start_layer=0")
    shown = table(config).shown
    assert sorted(shown.index) == ["rollout", "rollout (start_layer=0)"]
    others = of_others(table(config))
    assert others.loc["rollout", "mAP ↑"] == "84.76"  # the variant does not take it away
    assert "rollout (start_layer=0)" not in others.index


def test_a_variant_is_never_taken_for_the_method_itself(keep):
    made = table(keep("rollout", segmentation(), "method.start_layer=0"))  # nor where it is the only one
    assert list(made.shown.index) == ["rollout (start_layer=0)"]
    assert "rollout (start_layer=0)" not in of_others(made).index


def test_two_classes_of_one_name_are_told_apart(keep):
    own = ["method.name=mine", "method.title=mine"]
    keep("custom", segmentation(), "method._target_=methods.RawAttention", *own)
    config = keep("custom", segmentation(seed=1), "method._target_=methods.LRP", *own)
    assert sorted(table(config).shown.index) == [
        "mine (_target_=methods.LRP)",
        "mine (_target_=methods.RawAttention)",
    ]


def test_two_settings_of_one_measurement_are_two_measurements(keep, tmp_path):
    """A metric that masks with another colour reads its own rows, not those of the first."""
    metric = [
        "+metric@task.metrics.negative_auc_mean=negative_auc",
        "task.metrics.negative_auc_mean.reads.masking.fill=mean",
    ]
    black, mean = perturbation(0.9, 0.1), perturbation(0.4, 0.1)
    keep("rollout", black)
    keep("rollout", mean, "protocol.perturbation.fill=mean")
    config = configuration(["task=perturbation", f"paths.results={tmp_path}", *metric])
    values = table(config).data.set_index("metric")["value"]
    for name, rows in (("negative_auc", black), ("negative_auc_mean", mean)):
        curve = (np.stack(rows["negative_predictions"]) == 1).mean(axis=0)
        assert values[name] == pytest.approx(100 * np.trapezoid(curve, np.arange(10) / 10))


SIMILAR = "+metric=class_similarity"


def test_what_was_not_measured_of_a_method_is_left_open(keep):
    keep("gradcam", segmentation())
    config = keep("lrp", segmentation(seed=1).assign(class_similarity=0.5), SIMILAR)
    made = table(config)
    assert made.shown.loc["gradcam", "Similarity to another class ↓"] == "–"
    assert made.shown.loc["lrp", "Similarity to another class ↓"].startswith("**0.500**")
    assert not (made.shown.loc["gradcam", ["mAP ↑", "mIoU ↑"]] == "–").any()
    assert "Similarity to another class is not measured of GradCAM." in made.markdown()


def test_samples_on_which_a_metric_is_undefined_are_left_out_and_counted(keep):
    similar = np.linspace(-1, 1, SAMPLES)
    some = np.where(np.arange(SAMPLES) < 30, similar, np.nan)
    keep("gradcam", segmentation().assign(class_similarity=some), SIMILAR)
    keep("partial_lrp", segmentation().assign(class_similarity=np.nan), SIMILAR)
    made = table(keep("lrp", segmentation(seed=1).assign(class_similarity=similar), SIMILAR))
    data = made.data[made.data["metric"] == "class_similarity"].set_index("method")
    assert data.loc["gradcam", "value"] == pytest.approx(similar[:30].mean())
    assert data["samples"].to_dict() == {"gradcam": 30, "partial_lrp": 0, "lrp": SAMPLES}
    assert data.loc["partial_lrp", ["value", "low", "high", "p_value"]].isna().all()
    assert made.shown.loc["partial_lrp", "Similarity to another class ↓"] == "undefined"
    assert f"defined on fewer than {SAMPLES} samples: 30 of GradCAM, 0 of partial LRP" in made.markdown()
    assert f"; {SAMPLES} samples" in made.caption
    assert data.loc["lrp", "p_value"] < 1  # GradCAM is the best of those that have one
    assert made.shown.loc["gradcam", "Similarity to another class ↓"].startswith("**")


def test_a_table_under_other_conditions_says_so_and_has_files_of_its_own(keep, tmp_path):
    standard = table(keep("rollout", segmentation(), "suite=paper"))
    assert standard.published[0].relation == "the same model and data set"
    assert standard.name == "segmentation"
    other = table(keep("rollout", segmentation(), "suite=paper", "limit=2"))
    assert other.published[0].relation == "a sample of the data set, other conditions"
    assert "Not the suite's own choice" in other.markdown()
    assert other.name.startswith("segmentation--")


def test_two_checkpoints_do_not_share_a_table(keep):
    config = keep("rollout", segmentation())
    keep("lrp", segmentation(), checksum="b" * 64)
    with pytest.raises(BenchError, match="different weights"):
        table(config)


def test_no_cells_no_table(tmp_path):
    with pytest.raises(BenchError, match="make table1 SUITE=embedded PROTOCOL=paper"):
        table(configuration([f"paths.results={tmp_path}"]))


def test_a_damaged_record_is_named(keep):
    config = keep("rollout", segmentation())
    path = record_of(config)
    path.write_text(path.read_text()[:50])
    with pytest.raises(BenchError, match=path.name):
        table(config)


def test_all_three_files_are_written(keep, tmp_path):
    table(keep("rollout", segmentation())).write(tmp_path / "tables", "--output")
    data = pd.read_csv(tmp_path / "tables" / "paper" / "segmentation.csv")
    assert set(data["metric"]) == {"pixel_accuracy", "map", "miou"}
    latex = (tmp_path / "tables" / "paper" / "segmentation.tex").read_text()
    assert r"\toprule" in latex
    assert r"pixel" in latex.lower()
    assert r"\textbf{" in latex
    assert "_" not in latex.replace(r"\_", "")
    assert not {"≈", "·", "–", "**"} & set(latex)


def test_a_table_for_latex_compiles(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (Debian: apt-get install texlive-latex-recommended)")
    special = "all of & % _ # $ { } ~ ^ \\ ↑ ↓ ≈ · × – − …"
    shown = pd.DataFrame({special: [special, f"**{special}** rest"]}, index=[special, "b"])
    head = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
    wide = pd.DataFrame([["**0.038** [0.034, 0.043] ≈"] * 20], columns=["a heading of words"] * 20)
    long = pd.DataFrame([["0.038 [0.034, 0.043]"] * 10] * 40, columns=["heading"] * 10)
    written = latex([("", shown), (special, wide), ("long", long)], special, "tab:x")
    (tmp_path / "t.tex").write_text(head + written + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Float too large" not in done.stdout


def test_a_long_table_for_latex_goes_on_on_another_page():
    names = [f"method {i}" for i in range(40)]
    numbers = pd.DataFrame([["0.038 [0.034, 0.043] ≈"] * 20] * 40, columns=names[:20], index=names)
    text = latex([("Token F1 ↑", numbers)], "caption", "tab:x")
    assert all(f"\n{name} & 0.038" in text for name in names)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 9  # three times as wide, and as long
    assert text.count(r"\caption{caption}") == text.count(r"\label{tab:x}") == 1
    assert text.count(r"\caption[]{(continued)}") == 8


def test_latex_escapes_what_is_no_markup():
    shown = pd.DataFrame({"a_b": ["**1 %** [0, {2}]"], "c": ["–"]}, index=["x & y"])
    lines = latex([("", shown)], "50 % **bold** #1", "tab:x").splitlines()
    assert r"x \& y & \textbf{1 \%} & -- \\[-0.3ex]" in lines
    assert r" & {\scriptsize [0, \{2\}]} &  \\" in lines  # the interval stands below its number
    assert r"\caption{50 \% bold \#1}" in lines
    assert r" & a\_b & c \\" in lines


def test_a_table_for_latex_fits_a_page():
    numbers = pd.DataFrame(
        [["0.038 [0.034, 0.043] ≈"] * 20], columns=[f"method {i} of many words" for i in range(20)]
    )
    text = latex([("Token F1 ↑", numbers.rename_axis("k"))], "caption", "tab:x")
    tabulars = re.findall(r"\\begin\{tabular\}\{(l(r+))\}", text)
    assert [len(columns) for _, columns in tabulars] == [8, 8, 4]
    assert text.count(r"\resizebox{\linewidth}{!}{\usebox0}") == 3
    assert r"\shortstack[r]{method 0 of many\\words}" in text
    assert r"0.038 $\approx$" in text


def test_what_a_person_wrote_stays_under_the_table(keep, tmp_path):
    config = keep("rollout", segmentation())
    findings = tmp_path / "embedded" / "findings" / "paper"
    findings.mkdir(parents=True)
    (findings / "segmentation.md").write_text("What it shows.\n")
    assert table(config).markdown().endswith("What it shows.\n")


@pytest.mark.parametrize("task", Catalogue().tables())
def test_published_numbers_know_their_origin(task):
    numbers = published(task, PROJECT / "results")
    assert set(numbers["source"]) <= set(SOURCES)
    config = configuration([f"task={task}"])
    assert config["task"]["table"].get("published_on") or not len(numbers)
    assert numbers["confirmed"].notna().all()
    assert set(numbers["metric"]) <= set(build("task", config["task"], {"_target_"}).built_metrics())


def test_the_record_is_plain_json(keep):
    record = json.loads(record_of(keep("rollout", segmentation())).read_text())
    assert record["config"]["method"]["name"] == "rollout"
    assert record["config"]["protocol"]["name"] == "paper"
    assert record["identity"]["measurement"]["settings"] == {"threshold": "mean"}
