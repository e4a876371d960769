"""The board's tables and its page, from files alone."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from bench.board.make import make
from bench.errors import BenchError
from tests.board.synthetic import FLOOR, METRICS, method_of, write_board, write_entry

QUALITY = {f"m{i:02d}": 0.4 * i for i in range(4)} | {FLOOR: -1.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A board of two models, four methods and a floor; one method is undefined here and there."""
    root = tmp_path_factory.mktemp("board")
    write_board(root, QUALITY)
    rng = np.random.default_rng(1)
    scores = rng.normal(size=60)
    scores[:10] = np.nan
    write_entry(root, "model_a", method_of("often<undefined>"), {"localisation": {"roc_auc": scores}})
    page = make([f"folder={root}"])
    return root, page, page.read_text(encoding="utf-8")


def table(made, name):
    return pd.read_csv(made[0] / "made" / "tables" / f"{name}.csv")


class Elements(HTMLParser):
    """Start tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_stands_alone(made):
    _, _, text = made
    elements = Elements(text).found
    for tag, attributes in elements:
        assert not attributes.get("src", "data:").startswith(("http", "/"))
        assert attributes.get("href", "#").startswith(("#", "data:"))
        assert tag != "link" or attributes["href"] == "data:,"
    assert "<script src" not in text
    assert "url(http" not in text
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    linked = {attributes["href"][1:] for tag, attributes in elements if tag == "a"}
    assert linked <= set(ids)


def test_it_says_what_must_be_said(made):
    text = " ".join(made[2].split())
    for said in (
        "Models are not ranked against one another",
        "that does not make them equal",
        "models and metrics are fixed, not sampled",
        "floors are left out",
        "what noise allows",
        "none was chosen",
    ):
        assert said in text
    assert "first in" in text
    assert "probability that" not in text


def test_names_of_strangers_are_text_and_not_html(made):
    assert "often<undefined>" not in made[2]
    assert "often&lt;undefined&gt;" in made[2]


def test_every_number_stands_beside_its_ranks_and_letters(made):
    rows = table(made, "standings")
    shown = set(re.findall(r'data-value="[^"]+">(-?\d+\.\d+ \[[^\]]+\])', made[2]))
    expected = {f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in rows.itertuples()}
    assert expected <= shown
    ranked = rows[rows["rank_low"].notna()]
    assert set(ranked["kind"]) == {"method"}
    assert ranked["letters"].notna().all()
    for r in ranked.head(20).itertuples():
        ranks = f"{r.rank_low:.0f}–{r.rank_high:.0f}" if r.rank_low < r.rank_high else f"{r.rank_low:.0f}"
        assert f"{ranks} {r.letters}" in made[2]
    floors = rows[rows["method"] == FLOOR]
    assert floors["rank_low"].isna().all()
    assert len(floors) == 40


def test_a_method_that_is_undefined_has_no_rank_and_says_why(made):
    (row,) = table(made, "standings").query("method == 'often<undefined>'").itertuples()
    assert row.unranked == "undefined on 17% of the samples"
    assert "no rank: undefined on 17% of the samples" in made[2]


def test_pairs_are_in_the_csv_and_on_the_page(made):
    pairs = table(made, "differences")
    per_column = pairs.groupby(["model", "metric"]).size()
    assert (per_column == 10).all()  # four methods and the floor
    assert len(per_column) == 40
    (data,) = re.findall(r'id="differences">(.*?)</script>', made[2])
    columns = json.loads(data)
    assert len(columns) == 40
    first = columns[0]
    assert len(first["d"]) == len(first["w"]) == len(first["apart"]) == 10
    own = pairs[(pairs["model"] == "model_a") & (pairs["metric"] == first["title"].replace(" ", "_"))]
    np.testing.assert_allclose(first["d"], own["difference"], rtol=1e-3)
    np.testing.assert_allclose(np.array(first["d"]) - first["w"], own["low"], rtol=1e-2, atol=1e-3)
    assert first["apart"] == "".join("01"[p < 0.05] for p in own["p_value"])


def test_the_mean_rank_is_in_the_tables_with_what_moves_it(made):
    found = table(made, "mean_ranks")
    assert list(found["method"]) == ["m03", "m02", "m01", "m00"]
    assert (found["low"] <= found["mean_rank"]).all()
    assert (found["mean_rank"] <= found["high"]).all()
    assert {"position_without_a_metric_low", "position_without_a_model_high"} <= set(found)
    moved = table(made, "mean_ranks_without_one")
    assert set(moved["left_out"]) == {"metric", "model", "method"}
    assert "lacks 7" in made[2]  # the method that has one number


def test_agreement_is_in_the_tables(made):
    assert {"tau", "low", "high", "ceiling", "differ"} <= set(table(made, "agreement_of_models"))
    assert len(table(made, "agreement_of_models")) == 20
    assert len(table(made, "agreement_of_metrics")) == 2 * 190
    assert len(table(made, "retest_of_metrics")) == 40


def test_markdown_has_the_same_tables(made):
    text = (made[0] / "made" / "tables" / "board.md").read_text()
    assert "## Mean rank, images, protocol clean v1" in text
    assert text.count("## Made up images, Model a") == 4
    assert "Do conclusions carry over" in text
    assert "pairs of ranked methods are told apart" in text


def test_maps_are_shown_as_they_were_submitted(made):
    pictures = [a for tag, a in Elements(made[2]).found if tag == "img"]
    assert len(pictures) == 2 * 2 * 5  # maps of the models of the methods
    assert all(a["src"].startswith("data:image/png") and a["alt"] for a in pictures)


def test_a_part_of_the_board(made, tmp_path):
    page = make([f"folder={made[0]}", f"out={tmp_path}", "model=model_b"])
    assert page == tmp_path / "index.html"
    assert "Model a" not in page.read_text()
    assert set(pd.read_csv(tmp_path / "tables" / "standings.csv")["model"]) == {"model_b"}


def test_the_same_files_give_the_same_bytes(made, tmp_path):
    again = make([f"folder={made[0]}", f"out={tmp_path}"]).read_text(encoding="utf-8")
    without = [re.sub(r"Made by <code>.*?</code>", "", text) for text in (again, made[2])]
    assert without[0] == without[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folder=nowhere"], "no such folder"),
        (["folders=x"], "expected folder="),
        (["folder={root}", "model=none"], "no entry of such"),
        (["folder={root}", "protocol=none"], "no entry is of it"),
    ],
)
def test_mistakes_are_named(made, arguments, message):
    with pytest.raises(BenchError, match=message):
        make([a.format(root=made[0]) for a in arguments])


def test_a_board_of_one_method(tmp_path):
    write_board(tmp_path, {"m00": 0.0}, models=["model_a"], metrics={"sanity": METRICS["sanity"]})
    text = make([f"folder={tmp_path}"]).read_text()
    assert "Fewer than two methods are ranked in every headline column" in text
    assert "No two models have three ranked methods" in text


def test_a_page_that_is_too_large_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.board.page.LARGEST", 1000)
    with pytest.raises(BenchError, match="more than 0 MB"):
        make([f"folder={made[0]}", f"out={tmp_path}"])
