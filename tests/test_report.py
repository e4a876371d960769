"""The page: its numbers are those of the tables, its maps those that were scored, its HTML stands alone."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

import bench  # noqa: F401
from bench.config import configuration
from bench.errors import BenchError
from bench.layout import readable
from bench.numbers import finished
from bench.report.__main__ import main
from bench.report.cells import described
from bench.report.choosing import chosen, compared, scores
from bench.report.costs import CELL, MAP, costs
from bench.report.explainer import Explainer
from bench.report.markup import grid_of, inline
from bench.report.page import LARGEST
from bench.report.recall import precision_recall
from bench.report.sections import explained
from bench.tables import table
from metrics import average_precision
from tests.small_report import METHODS, overrides
from tests.stored_rows import perturbation, segmentation, token_f1

pytestmark = pytest.mark.numerical

VOID = {"meta", "link", "img", "br", "hr", "input"}
SVG_LEAVES = {"path", "use"}


class Page(HTMLParser):
    """What a page holds; fails where tags do not match."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def all(self, *tags: str) -> list[dict]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture
def make_page(tmp_path):
    """The page of the store that ``keep`` fills."""

    def make_page(*more):
        main([f"paths.results={tmp_path}", "samples=0", "curves=0", *more])
        return (tmp_path / "embedded" / "report" / "index.html").read_text()

    return make_page


@pytest.fixture(scope="module")
def small(small_report):
    """The page with a gallery, parsed, and the folder of its data and results."""
    return Page(small_report.read_text()), small_report.parents[3]


def test_the_tables_hold_the_numbers_of_the_store(keep, make_page):
    keep("lrp", perturbation(0.6, 0.3, seed=1))
    keep("lrp", segmentation(seed=2))
    keep("rollout", token_f1())
    keep("without_gradient", segmentation(seed=5))
    configs = [keep("rollout", segmentation(seed=3)), keep("rollout", perturbation(0.5, 0.2))]
    rows = [[" ".join(cell.split()) for cell in row] for row in Page(make_page()).rows]
    for config in configs:
        shown = table(config).shown
        assert shown.shape == (2, 6 if "segmentation" in config["task"]["name"] else 4)
        for method, cells in shown.iterrows():
            assert [readable(method), *(cell.replace("**", "") for cell in cells)] in rows


def test_an_entry_is_a_number_with_what_stands_after_it():
    shown = pd.DataFrame(
        {
            "mAP ↑": ["**84.1** [80.0, 88.0]", "–"],
            "published, elsewhere: Positive AUC ↓": ["12.0 (thread)", "3"],
        },
        index=["partial_lrp", "random"],
    )
    grid = grid_of(shown)
    assert grid.groups == [("measured", 1), ("published, elsewhere", 1)]
    assert [(c.heading, c.more_is_better) for c in grid.columns] == [
        ("mAP ↑", True),
        ("Positive AUC ↓", False),
    ]
    (name, reference, (best, other)), (_, floor, (nothing, _)) = grid.rows
    assert (name, reference, floor) == ("partial LRP", False, True)
    assert (best.value, best.text, best.rest, best.best) == (84.1, "84.1", "[80.0, 88.0]", True)
    assert (other.value, other.rest, other.best) == (12.0, "(thread)", False)
    assert (nothing.value, nothing.text) == (None, "–")


def test_what_is_no_markup_stays_text(keep, make_page):
    assert inline("**a** <b> *c* `d`") == "<strong>a</strong> &lt;b&gt; <em>c</em> <code>d</code>"
    keep("rollout", segmentation())
    page = make_page("dataset.title='<script>alert(1)</script>'")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_task_without_cells_says_what_to_run(keep, make_page):
    keep("rollout", segmentation())
    page = make_page()
    assert page.count("there is no finished cell of") == 3  # perturbation, token F1, and so the ablation
    assert "make tables SUITE=embedded" in page


def test_without_cells_there_is_no_page(tmp_path):
    with pytest.raises(BenchError, match="no report: there is no finished cell"):
        main([f"paths.results={tmp_path}"])
    assert not list(tmp_path.rglob("index.html"))


def test_numbers_of_samples_are_checked():
    with pytest.raises(BenchError, match="samples=few: expected a whole number"):
        main(["samples=few"])


def test_a_gallery_without_its_data_leaves_the_tables(keep, tmp_path):
    keep("rollout", token_f1(), "suite=small_real", f"paths.data={tmp_path}")
    main([f"paths.results={tmp_path}", f"paths.data={tmp_path}", "suite=small_real"])
    page = (tmp_path / "small_real" / "report" / "index.html").read_text()
    assert "No sample could be explained" in page
    assert "Token F1 (macro)" in page


def test_a_page_that_is_too_large_is_refused(keep, make_page, monkeypatch):
    keep("rollout", segmentation())
    monkeypatch.setattr("bench.report.page.LARGEST", 1000)
    with pytest.raises(BenchError, match="samples=0: the page would have"):
        make_page()


def test_the_page_stands_alone(small, small_report):
    page, _ = small
    text = small_report.read_text()
    assert len(text.encode()) < LARGEST == 15_000_000
    addresses = [a.get(key) for _, a in page.elements for key in ("src", "href", "xlink:href") if a.get(key)]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?://|@import|url\((?!#)", text)


def test_links_lead_somewhere_and_ids_are_unique(small):
    page, _ = small
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for key in ("href", "xlink:href"):
        assert {a[key][1:] for _, a in page.elements if a.get(key, "").startswith("#")} <= set(ids)
    labels = {name for _, a in page.elements for name in a.get("aria-labelledby", "").split()}
    assert labels
    assert labels <= set(ids)


def test_pictures_have_words_and_headings_their_order(small):
    page, _ = small
    assert page.all("img")
    assert all("alt" in image for image in page.all("img"))
    drawings = page.all("svg")
    assert len(drawings) > 10
    assert all(d.get("aria-label") or d.get("aria-hidden") == "true" for d in drawings)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert {"header", "main", "nav", "footer"} <= {tag for tag, _ in page.elements}


def test_every_part_is_there(small, small_report):
    page, _ = small
    text = small_report.read_text()
    assert "Nothing to show" not in text
    assert "No sample" not in text
    captions = [b["data-caption"] for b in page.all("button") if "data-caption" in b]
    # Three tasks of four samples; three methods for one class, the two that know classes for another too.
    assert len(captions) == 3 * 4 * (3 + 2)
    assert any("GradCAM for" in caption and "score" in caption for caption in captions)
    assert len(page.all("template")) == 4 * (3 + 2)
    assert len([d for d in page.all("details") if "id" in d]) == 3 * len(METHODS) + 2


def test_the_same_store_makes_the_same_page(keep, make_page):
    keep("rollout", segmentation())
    keep("lrp", perturbation())
    assert make_page() == make_page()


def test_the_maps_shown_are_the_maps_that_were_scored(small):
    config = configuration(["task=segmentation", *overrides(small[1])])
    cells = compared(config, finished(config))
    explainer = Explainer(config, cells)
    for label in ("transformer_attribution", "gradcam"):
        rows = cells[label].rows.set_index("id")
        for sample in explainer.samples(list(rows.index[:2])):
            seen = explainer.see(sample)
            assert seen.classes[0] == rows.loc[sample.id, "explained_class"]
            relevance = torch.from_numpy(explainer.relevance(label, seen, seen.classes[0]))
            ours = average_precision(relevance[None], sample.mask[None]).item()
            # One map at a time here and a batch of them there: they differ in the last bits, those of GradCAM
            # in the last bits of float32, and pixels that nearly tie change places.
            assert ours == pytest.approx(rows.loc[sample.id, "average_precision"], abs=1e-5)


def test_the_words_shown_are_the_words_that_were_scored(small):
    config = configuration(["task=token_f1", *overrides(small[1])])
    cells = compared(config, finished(config))
    explainer = Explainer(config, cells)
    rows = cells["transformer_attribution"].rows
    for sample, (_, row) in zip(explainer.samples(list(rows["id"])), rows.iterrows(), strict=True):
        seen = explainer.see(sample)
        relevance = explainer.relevance("transformer_attribution", seen, sample.label)
        assert len(relevance) == row["visible"]
        assert relevance.max() == 1
        first = np.argsort(-relevance, kind="stable")[: config["protocol"]["token_f1"]["k"][0]]
        assert sample.rationale[first].mean() == pytest.approx(row["precision"][0])


def test_code_that_a_result_names_is_not_run(small, monkeypatch):
    config = configuration(["task=segmentation", *overrides(small[1])])
    cells = compared(config, finished(config))
    label, result = next(iter(cells.items()))
    evil = replace(result, record=result.record | {"method": {"_target_": "os.abort", "name": "evil"}})
    with pytest.raises(BenchError, match=r"os.abort is none of conf/method"):
        Explainer(config, {label: evil})
    _, shown = explained(config, cells | {"evil": evil}, samples=1, images=0)
    assert shown.explanation[-1].startswith("Left out: evil;")


def test_the_area_under_precision_over_recall_is_map(small):
    config = configuration(["task=segmentation", *overrides(small[1])])
    cells = compared(config, finished(config))
    panel, count = precision_recall(config, Explainer(config, cells), cells, 100)
    assert count == 5  # all there are
    for label, result in cells.items():
        curve = panel.data[panel.data["method"] == label]["value"]
        assert curve.mean() == pytest.approx(100 * result.rows["average_precision"].mean(), abs=1)


def test_rows_of_other_samples_are_named(small):
    config = configuration(["task=segmentation", *overrides(small[1])])
    explainer = Explainer(config, {})
    with pytest.raises(BenchError, match="no sample nowhere"):
        list(explainer.samples(["nowhere"]))


def test_samples_are_chosen_by_what_the_metrics_say_of_each(keep):
    good, bad = perturbation(1.0, 0.0), perturbation(0.0, 1.0)
    mixed = good.copy()
    mixed.loc[3:] = bad.loc[3:]
    keep("rollout", good)
    config = keep("transformer_attribution", mixed)
    scored, what = scores(config, compared(config, finished(config)))
    assert list(scored.columns) == ["transformer_attribution", "rollout"]
    assert what == "mean of Negative AUC, −Positive AUC"
    # Hits at every step from 0 to 0.9 are worth 90; the other direction has none.
    assert scored.loc["i0", "transformer_attribution"] == pytest.approx(45)
    assert scored.loc["i5", "transformer_attribution"] == pytest.approx(-45)
    groups = chosen(scored, 2, seed=0)
    assert list(groups) == [
        "Drawn at random",
        "Best for transformer_attribution",
        "Worst for transformer_attribution",
        "Methods disagree most",
    ]
    everything = [sample for samples in groups.values() for sample in samples]
    assert len(everything) == len(set(everything)) == 8
    assert set(groups["Best for transformer_attribution"]) <= {"i0", "i1", "i2"}
    assert (scored.loc[groups["Worst for transformer_attribution"], "transformer_attribution"] == -45).all()
    assert chosen(scored, 2, seed=0) == groups
    assert chosen(scored, 2, seed=1)["Drawn at random"] != groups["Drawn at random"]


def test_ablations_and_references_are_not_in_the_gallery(keep):
    for method in ("without_gradient", "random", "oracle"):
        keep(method, segmentation())
    config = keep("rollout", segmentation())
    assert list(compared(config, finished(config))) == ["rollout"]


def test_cost_is_the_time_of_the_map_where_it_is_known(keep):
    for method in ("gradcam", "lrp", "raw_attention"):
        keep(method, segmentation())
    config = keep("rollout", segmentation())
    more = {
        "gradcam": {"seconds": 80.0, "device": "cpu"},
        "lrp": {"seconds": 80.0, "device": "cpu", "peak_memory_bytes": 2**30, "batch_size": 8}
        | {"seconds_per_sample": {"load": 0.1, "explain": 0.5, "evaluate": 1.4}},
        "raw_attention": {"seconds": 0.0, "device": "cpu", "rows_of": "another.parquet"},
        "rollout": {},
    }
    found = [replace(r, record=r.record | more[r.record["method"]["name"]]) for r in finished(config)]
    spent = costs(found).set_index("method")
    assert set(spent.index) == {"gradcam", "lrp"}  # 40 samples each
    assert (spent.loc["gradcam", "seconds"], spent.loc["gradcam", "measured"]) == (2.0, CELL)
    assert (spent.loc["lrp", "seconds"], spent.loc["lrp", "measured"]) == (0.5, MAP)
    assert spent.loc["lrp", "memory"] == 1024
    facts = {cell.name: cell.facts for cell in described(found)}
    assert facts["raw attention, predicted class"]["time"].startswith(
        "none: the rows are those of another.parquet"
    )
    assert "explain 0.5 s" in facts["LRP, predicted class"]["time"]
    assert facts["rollout, predicted class"]["time"] == "not recorded"


def test_a_cell_shows_what_was_found_and_skipped(keep):
    config = keep("lrp", segmentation())
    (result,) = finished(config)
    more = {"sanity": {"thorough": True, "conservation_error": 0.5}, "skipped": [{"id": "x"}]}
    (cell,) = described([replace(result, record=result.record | more)])
    assert len(cell.warnings) == 1
    assert "0.5" in cell.facts["sanity"]
    assert cell.facts["samples"] == "40, 1 more skipped"
    assert json.loads(cell.config)["method"]["name"] == "lrp"
    assert cell.facts["weights (SHA-256)"] == "a" * 64
