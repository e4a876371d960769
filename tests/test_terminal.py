"""What a table looks like at terminals of different widths: nothing is cut, and nothing runs over the edge."""

import io

import pandas as pd
import pytest
from rich.console import Console

from bench import cli
from bench.catalogue import Catalogue
from bench.listing import KINDS, listed
from bench.listing import main as listing
from bench.terminal import draw

METHODS = (
    "rollout",
    "raw attention",
    "GradCAM",
    "LRP",
    "partial LRP",
    "transformer attribution",
    "random map (floor)",
)
CELL = "0.{:03d} [0.0{:02d}, 0.1{:02d}] ≈"


def table(rows: int, columns: int) -> str:
    texts = {
        METHODS[c % len(METHODS)] + " " * (c // len(METHODS)): [
            CELL.format(100 * r + c, r, c) for r in range(rows)
        ]
        for c in range(columns)
    }
    frame = pd.DataFrame(texts, index=pd.Index([str(10 * r) for r in range(rows)], name="k"))
    return "**Caption**\n\n" + frame.to_markdown(disable_numparse=True) + "\n\nA footnote.\n"


def drawn(markdown: str, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    draw(markdown, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120, 200, 400])
def test_every_number_and_every_name_is_there_at_any_width(width):
    shown = drawn(table(8, 7), width)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for row in range(8):
        for column in range(7):
            assert f"0.{100 * row + column:03d}" in shown
            assert f"[0.0{row:02d}, 0.1{column:02d}]" in shown
    for word in " ".join(METHODS).split():
        assert word in shown
    assert "Caption" in shown
    assert "A footnote." in shown


def test_a_table_that_goes_on_below_has_its_first_column_again():
    lines = [line.split() for line in drawn(table(2, 7), 80).splitlines()]
    assert sum(line[:1] == ["10"] for line in lines) == 2
    assert (
        sum(line[:1] == ["10"] for line in [each.split() for each in drawn(table(2, 7), 400).splitlines()])
        == 1
    )


def test_sentences_wrap_beside_names_that_do_not():
    sentence = (
        "Small stand-ins that the project makes itself, so that every part of it runs anywhere, and at once."
    )
    names = ["embedded_with_a_long_name", "paper"]
    frame = pd.DataFrame([[name, "a title of its own", sentence] for name in names])
    frame.columns = ["suite=", "", "what it is"]
    lines = drawn(frame.to_markdown(index=False, disable_numparse=True), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(sum(name in line for line in lines) == 1 for name in names)  # one table, names whole
    assert sum("a title of its own" in line for line in lines) == 2
    assert set(sentence.split()) <= set(" ".join(lines).split())


def test_a_wide_terminal_shows_a_number_and_its_interval_in_one_line():
    assert CELL.format(0, 0, 0) in drawn(table(2, 2), 120)
    assert CELL.format(0, 0, 0) not in drawn(
        table(2, 7), 80
    )  # below each other: the mark stays with the number
    assert "0.000 ≈" in drawn(table(2, 7), 80)


def test_a_bar_fits_a_terminal_of_80_columns(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    what = "perturbation: transformer_attribution_all_blocks (predicted), DeiT-Tiny (LN rounded)"
    with cli.progress(what, 50_000, "sample") as advance:
        for _ in range(4):
            advance(10_000)
    shown = stream.getvalue()
    assert "40000/50000" in shown
    assert "━" in shown
    assert "samples/s" in shown
    assert "0:00:0" in shown
    assert "perturbation: transf" in shown


def test_without_a_terminal_there_is_a_line_now_and_then(capsys):
    with cli.progress("cell", 40, "sample", every=0) as advance:
        advance(10)
        advance(10)
        advance(20)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["cell: 10 of 40 samples", "cell: 20 of 40 samples"]
    assert all("per second" in line and line.endswith(" left") for line in lines)


def test_names_beside_long_sentences_are_not_cut():
    """Even where the two columns are one block, sentences give way, not names."""
    names = ["transformer_attribution_all_blocks", "lrp"]
    frame = pd.DataFrame({"method=": names, "what it is": ["a sentence of many words " * 8, "short"]})
    shown = drawn(frame.to_markdown(index=False), 80)
    assert "transformer_attribution_all_blocks" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("kind", KINDS)
def test_what_there_is_to_choose_from_fits_the_terminal(kind, monkeypatch):
    """With every name whole, in one table, bars within a description included."""
    seen = []
    monkeypatch.setattr("bench.listing.show", seen.append)
    listing([kind])
    shown = drawn(seen[0], 80)
    words = shown.split()
    for one in listed(kind, Catalogue()):
        assert one["name"] in words
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("what it is") == 1
