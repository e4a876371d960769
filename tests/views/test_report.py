"""The page: its numbers are those of the tables, its maps those that were scored, its HTML stands alone."""

import json
import re
import stat
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import torch

import bench  # noqa: F401
from bench.catalogue import Catalogue
from bench.config import configuration, quoted
from bench.errors import BenchError
from bench.report.__main__ import main
from bench.report.costs import costs, described, precision_recall
from bench.report.gallery import SHADES, chosen, compared, palette, scores, shades_of
from bench.report.html import grid_of, inline
from bench.report.page import LARGEST, every_column, explained
from bench.report.shown import Shown, kept_maps
from bench.runner.cell import run
from bench.store.cells import KeptMaps
from bench.tables.format import Column, Entry, readable
from bench.tables.table import part_of, table
from metrics import average_precision
from tests.support.small_report import METHODS, overrides
from tests.support.stored_rows import perturbation, segmentation, store_maps, token_f1

FACTS = Catalogue()
pytestmark = pytest.mark.numerical

MEASURED = {"perturbation", "segmentation", "token_f1"}  # of which the small suite has cells
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
        main([f"paths.results={quoted(tmp_path)}", "samples=0", "curves=0", *more])
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
        made = table(config)
        columns = every_column(made)
        assert len(columns) == (6 if "segmentation" in config["task"]["name"] else 4)  # a half was published
        for method in made.methods:
            assert [readable(method, FACTS), *(c.text(method).replace("**", "") for c in columns)] in rows


def test_an_entry_is_a_number_with_what_stands_after_it():
    columns = [
        Column("", "mAP ↑", True, 1, {"partial_lrp": Entry(84.06, (80.0, 88.04), best=True)}),
        Column(
            "published, elsewhere",
            "Positive AUC ↓",
            False,
            0,
            {"partial_lrp": Entry(12.0, confirmed="thread"), "random": Entry(3.0, confirmed="recalled")},
        ),
    ]
    grid = grid_of(columns, ["partial_lrp", "random"], FACTS)
    assert grid.groups == [("measured", 1), ("published, elsewhere", 1)]
    assert grid.rows == [("partial_lrp", "partial LRP", False), ("random", "random map (floor)", True)]
    assert [column.text("partial_lrp") for column in columns] == ["**84.1** [80.0, 88.0]", "12 (thread)"]
    assert [column.text("random") for column in columns] == ["–", "3 (recalled)"]


def test_what_is_no_markup_stays_text(keep, make_page):
    assert inline("**a** <b> *c* `d`") == "<strong>a</strong> &lt;b&gt; <em>c</em> <code>d</code>"
    keep("rollout", segmentation())
    page = make_page("dataset.title='<script>alert(1)</script>'")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_task_without_cells_says_what_to_run(keep, make_page):
    keep("rollout", segmentation())
    page = make_page()
    lacking = re.findall(r"there is no finished cell of (\w+)", page)
    assert set(lacking) == set(FACTS.tables()) - {"segmentation"}
    assert len(lacking) == len(FACTS.tables())  # one of each, and the ablation for the sake of one of them
    assert "make figure4 SUITE=embedded" in page


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
    assert "Token F1" in page


def test_a_page_that_is_too_large_is_refused(keep, make_page, monkeypatch):
    keep("rollout", segmentation())
    monkeypatch.setattr("bench.report.page.LARGEST", 1000)
    with pytest.raises(BenchError, match=r"the page would have .* give paths\.results="):
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
    lacking = re.findall(r"Nothing to show: there is no finished cell of (\w+)", text)
    assert lacking == [task for task in FACTS.tables() if task not in MEASURED]
    assert text.count("Nothing to show") == len(lacking)
    assert "No sample" not in text
    captions = [b["data-caption"] for b in page.all("button") if "data-caption" in b]
    # Three tasks of four samples; three methods for one class, the two that know classes for another too.
    assert len(captions) == 3 * 4 * (3 + 2)
    assert any("GradCAM for" in caption and "score" in caption for caption in captions)
    assert len(page.all("template")) == 4  # the words of a text once, and their shades by each map
    assert len([b for b in page.all("button") if "data-shades" in b]) == 4 * (3 + 2)
    links = {a["href"] for a in page.all("a")}
    assert {"#gallery", *(f"#gallery-{task}" for task in MEASURED)} <= links
    # Cells of each method, of the ablation in two tasks, and the model's predictions for two.
    assert len([d for d in page.all("details") if "id" in d]) == 3 * len(METHODS) + 2 + 2


def test_the_same_store_makes_the_same_page(keep, make_page):
    keep("rollout", segmentation())
    keep("lrp", perturbation())
    assert make_page() == make_page()


def shown_of(task: str, root, *more, named=()):
    """The table of a task, its methods on single samples, and what shows these."""
    part = part_of(configuration([f"task={task}", *overrides(root), *more]))
    methods = compared(part.selection)
    return part, methods, Shown(part.selection, methods, named)


def test_the_maps_shown_are_the_kept_maps_that_were_scored(small):
    part, methods, shown = shown_of("segmentation", small[1])
    assert [one.label for one in methods] == ["transformer_attribution", "rollout", "gradcam"]
    for one in methods:
        kept, rows = KeptMaps(kept_maps(part.config, one)), one.own[0].rows.set_index("id")
        for name in shown.ids[:2]:
            seen = shown.see(name)
            assert one.label == "rollout" or kept[name]["explained_class"] == seen.classes[0]
            maps = shown.maps(one.label, seen, seen.classes[0])
            assert maps.values.flatten().tolist() == kept[name]["map"]
            ours = average_precision(maps.pixels((224, 224)), seen.batch.masks).item()
            assert ours == pytest.approx(rows.loc[name, "average_precision"], abs=1e-6)
            other = shown.maps(one.label, seen, seen.classes[1])
            is_same = other.values.flatten().tolist() == kept[name]["map"]
            assert is_same == (one.label == "rollout")  # whose maps do not know the class


def test_what_is_not_kept_is_explained_again(small, tmp_path):
    root = small[1]
    elsewhere = [f"paths.results={quoted(tmp_path)}", "keep=none", "method=gradcam"]
    run(configuration(["task=segmentation", *overrides(root), *elsewhere]))
    part, methods, shown = shown_of("segmentation", root, f"paths.results={quoted(tmp_path)}")
    assert kept_maps(part.config, methods[0]) is None
    name = shown.ids[0]
    seen = shown.see(name)
    ours = shown.maps("gradcam", seen, seen.classes[0]).pixels((224, 224))
    row = methods[0].own[0].rows.set_index("id").loc[name]
    assert average_precision(ours, seen.batch.masks).item() == pytest.approx(
        row["average_precision"], abs=1e-6
    )


def test_the_words_shown_are_the_words_that_were_scored(small):
    from bench.explain.explanation import words_of

    part, methods, shown = shown_of("token_f1", small[1])
    rows = methods[0].own[0].rows.set_index("id")
    assert len(shown.ids) == 4
    for name, row in rows.iterrows():
        seen = shown.see(name)
        maps = shown.maps("transformer_attribution", seen, seen.sample.label)
        (relevance,) = words_of(maps, seen.batch, shown.task)
        assert len(relevance) == row["visible"]
        first = np.argsort(-relevance, kind="stable")[: part.config["protocol"]["token_f1"]["k"][0]]
        assert seen.sample.rationale[first].mean() == pytest.approx(row["precision"][0])


def test_shades_are_the_shares_of_the_greatest_relevance():
    assert shades_of(np.array([0.0, 1.0, 0.5, 2.0])) == SHADES[0] + SHADES[32] + SHADES[16] + SHADES[63]
    assert shades_of(np.zeros(2)) == SHADES[0] * 2
    assert len(palette()) == len(SHADES) == len(set(SHADES)) == 64
    assert "background:#fff5eb" in palette()[0]  # the paper


def test_a_gallery_has_as_many_samples_as_there_is_room_for(small):
    part, *_ = shown_of("segmentation", small[1])
    _, whole = explained(part, samples=1, images=0)
    sizes = [card.size for cards in whole.groups.values() for card in cards]
    assert len(sizes) == 4
    _, less = explained(part, samples=1, images=0, room=sum(sizes[:3]) - 1)
    assert list(less.groups) == list(whole.groups)[:2]
    assert "Of 4 samples these 2 are shown" in less.explanation[-1]
    assert "Of 4 samples" not in " ".join(whole.explanation)


class Mine:
    """A method of a user's own, without a file in conf/method."""

    class_specific = False
    calls = 0

    def __call__(self, forward, inputs, target=None):
        Mine.calls += 1
        return torch.ones(len(inputs), *inputs.shape[-2:])


def test_code_that_a_result_names_is_run_only_if_the_command_line_names_it_too(small, tmp_path):
    results, target = f"paths.results={quoted(tmp_path)}", f"{Mine.__module__}.Mine"
    own = ["method=custom", f"method._target_={target}"]
    for method in (own, ["method=rollout"]):
        run(configuration(["task=segmentation", *overrides(small[1]), results, *method]))
    part, _, shown = shown_of("segmentation", small[1], results)
    before = Mine.calls
    assert shown.labels == ["rollout"]
    assert "has no file in conf/method" in shown.left_out["Mine"]
    _, drawn = explained(part, samples=1, images=0)
    assert "Mine is left out: " in drawn.explanation[-1]
    assert Mine.calls == before
    _, _, shown = shown_of("segmentation", small[1], results, named=[target])
    assert shown.labels == ["rollout", "Mine"]
    seen = shown.see(shown.ids[0])
    assert shown.maps("Mine", seen, 0).values.flatten().unique().tolist() == [1.0]
    assert Mine.calls == before + 1
    file = tmp_path / "page.html"
    main([*overrides(small[1]), results, "samples=1", "curves=0", *own, "--output", str(file)])
    assert "Mine for" in file.read_text()


def test_a_method_that_changed_since_is_not_shown_as_what_was_scored(small, tmp_path, monkeypatch):
    results = f"paths.results={quoted(tmp_path)}"
    run(configuration(["task=segmentation", *overrides(small[1]), results, "keep=none", "method=rollout"]))
    monkeypatch.setattr("methods.Rollout.version", 99)
    _, _, shown = shown_of("segmentation", small[1], results)
    assert shown.labels == []
    assert "it is not what the cells are of" in shown.left_out["rollout"]


def test_maps_of_other_data_are_not_shown(keep, tmp_path):
    config = keep("rollout", segmentation())
    part = part_of(config)
    with pytest.raises(BenchError, match="what is there now is not what the cells are of"):
        Shown(part.selection, compared(part.selection))


def test_the_area_under_precision_over_recall_is_map(small):
    part, methods, shown = shown_of("segmentation", small[1])
    panel, count = precision_recall(part, shown, 100)
    assert count == 5  # all there are
    for one in methods:
        curve = panel.data[panel.data["method"] == one.label]["value"]
        average = 100 * one.own[0].rows["average_precision"].mean()
        assert curve.mean() == pytest.approx(average, abs=1)


def test_rows_of_other_samples_are_named(small):
    with pytest.raises(BenchError, match="no sample nowhere"):
        shown_of("segmentation", small[1])[2].see("nowhere")


def test_results_may_be_read_only(keep, tmp_path, capsys):
    config = keep("rollout", segmentation())
    kept = [path for path in tmp_path.rglob("*") if path.is_dir()]
    for folder in [*kept, tmp_path]:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        before = sorted(tmp_path.rglob("*"))
        page = tmp_path.parent / f"{tmp_path.name} a page's {{ü}}" / "why, (so) = #1.html"
        main([f"paths.results={quoted(tmp_path)}", "samples=0", "curves=0", f"--output={page}"])
        assert sorted(tmp_path.rglob("*")) == before
    finally:
        for folder in [*kept, tmp_path]:
            folder.chmod(stat.S_IRWXU)
    assert str(page) in capsys.readouterr().out
    assert table(config).shown.loc["rollout", "mAP ↑"].strip("*").split("*")[0] in page.read_text()


TASK = """# @package _global_
defaults:
  - /metric@task.metrics.map: map
  - _self_
  - override /dataset: ${suite}/segmentation
  - override /model: ${suite}/image
task:
  _target_: bench.tasks.Task
  name: mine
  title: A task of my own
  modality: image
  explained: predicted
  inputs: ${protocol.images}
"""


def test_a_task_of_ones_own_appears_by_itself(keep, tmp_path, make_page):
    (tmp_path / "my conf" / "task").mkdir(parents=True)
    (tmp_path / "my conf" / "task" / "mine.yaml").write_text(TASK)
    keep("rollout", segmentation())
    page = make_page("--config-dir", str(tmp_path / "my conf"))
    assert '<h2 id="task-mine">A task of my own</h2>' in page
    parsed = Page(page)
    # Its metric reads the cells that segmentation has, so there is nothing to run.
    assert [a["aria-label"] for a in parsed.all("table")].count("A task of my own") == 1


def test_samples_are_chosen_by_what_the_metrics_say_of_each(keep):
    good, bad = perturbation(1.0, 0.0), perturbation(0.0, 1.0)
    mixed = good.copy()
    mixed.loc[3:] = bad.loc[3:]
    keep("rollout", good)
    config = keep("transformer_attribution", mixed)
    selection = part_of(config).selection
    scored, what = scores(selection, compared(selection))
    assert list(scored.columns) == ["transformer_attribution", "rollout"]
    assert what == "mean of Negative test, least relevant first, −Positive test, most relevant first"
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
    assert [one.label for one in compared(part_of(config).selection)] == ["rollout"]


def test_cost_is_that_of_the_map_from_the_record_of_the_map_where_it_is_kept(keep):
    def record(explain: float, **more) -> dict:
        phases = {"load": 0.1, "explain": explain, "evaluate": 1.4}
        return {"seconds": 80.0, "device": "cpu", "batch_size": 8, "seconds_per_sample": phases, **more}

    keep("lrp", segmentation(), record=record(0.5, peak_memory_bytes=2**30))
    kept = keep("gradcam", segmentation(), record=record(0.001))  # maps were read, not made
    store_maps(kept, {"i0": np.ones((2, 2))}, record=record(2.0))
    keep("oracle", segmentation(), record=record(0.3))
    config = keep("rollout", segmentation())
    part = part_of(config)
    spent = costs(part).set_index("method")
    assert set(spent.index) == {"gradcam", "lrp"}
    assert spent.loc["gradcam", "seconds"] == 2.0
    assert (spent.loc["lrp", "seconds"], spent.loc["lrp", "memory"]) == (0.5, 1024)
    facts = {cell.name: cell.facts for cell in described(part)}
    assert "explain 0.5 s" in facts["LRP, predicted class"]["time"]
    assert facts["rollout, any class"]["time"] == "not recorded"


def test_a_cell_shows_what_was_found_and_skipped(keep):
    more = {"checks": {"deviation": 0.5}, "skipped": ["x cannot be read"]}
    (cell,) = described(part_of(keep("lrp", segmentation(), record=more)))
    assert len(cell.warnings) == 1
    assert "0.5" in cell.facts["checks"]
    assert cell.facts["samples"] == "40, 1 more skipped"
    assert re.match(r"pixel_accuracy [\d.]+; map [\d.]+; miou [\d.]+$", cell.facts["metrics"])
    assert json.loads(cell.config)["method"]["name"] == "lrp"
    assert cell.facts["content of the model (SHA-256)"] == "weights " + "a" * 64
