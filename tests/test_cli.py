"""Bars and drawn tables at a terminal, plain text elsewhere."""

import io
import json
import re

import pytest

from bench import cli
from bench.runner.cell import run
from bench.tables.__main__ import main
from tests.support.stored_rows import segmentation


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Call it to make both streams those of a terminal: pytest puts its own in place before every test."""

    def terminal():
        streams = Terminal(), Terminal()
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            monkeypatch.setattr(f"sys.{name}", stream)
        return streams

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return terminal


def test_a_bar_tells_the_pace_and_the_time_left(terminal):
    out, err = terminal()
    with cli.progress("cell", 10, "sample") as advance:
        for _ in range(10):
            advance()
    shown = err.getvalue()
    assert "10/10" in shown
    assert "samples/s" in shown
    assert out.getvalue() == ""


def test_there_is_no_bar_in_a_file(capsys):
    with cli.progress("cell", 10, "sample") as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_results_go_to_standard_output_and_messages_do_not(configure, capsys):
    run(configure("segmentation", "method=rollout"))
    out, err = capsys.readouterr()
    assert re.search(
        r"segmentation: rollout .* on ImageNet-Segmentation, \d+ samples, protocol paper: .*miou \d+\.\d\d \[",
        out,
    )
    assert err == ""


def test_a_table_is_drawn_at_a_terminal_and_markdown_in_a_file(terminal):
    out, _ = terminal()
    markdown = "**Title**\n\n| a | b |\n|:--|--:|\n| x | 1 |\n"
    cli.show(markdown)
    drawn = out.getvalue()
    assert "**" not in drawn
    assert "━" in drawn or "─" in drawn


def test_markdown_stays_as_it_is_in_a_file(capsys):
    cli.show("**Title**")
    assert capsys.readouterr().out == "**Title**\n"


def test_tables_as_json(keep, capsys):
    config = keep("rollout", segmentation())
    keep("lrp", segmentation(seed=1))
    main(["table=segmentation", f"paths.results={config['paths']['results']}", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in rows} == {"rollout", "lrp"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
