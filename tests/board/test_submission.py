"""A stranger's method goes from their repository to a board, and what is forged on the way is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.board.__main__ import main as board
from bench.board.badge import badge, badges
from bench.board.check import check
from bench.board.entry import Entry
from bench.board.recompute import drawn_ids
from bench.board.tables import save_table
from bench.config import configuration, quoted
from bench.errors import BenchError
from bench.status.program import status
from bench.tables.part import part_of
from metrics import bootstrap
from tests.support.small_board import SAMPLES, TASKS, URL, Stranger, git, importable

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def submitted(tmp_path_factory) -> Stranger:
    """A repository whose method was run and submitted by the steps of docs/board.md."""
    stranger = Stranger(tmp_path_factory.mktemp("stranger"))
    with pytest.MonkeyPatch.context() as patch:
        importable(stranger.folder, patch)
        stranger.run("random")
        stranger.known()  # who keeps the board has run something on these data before
        stranger.run("mine")
        stranger.submit("random")
        stranger.submit("mine")
    return stranger


@pytest.fixture
def stranger(submitted, tmp_path, monkeypatch) -> Stranger:
    """The same with a copy of the board, to do something to."""
    importable(submitted.folder, monkeypatch)
    copy = object.__new__(Stranger)
    copy.folder, copy.where, copy.board = submitted.folder, submitted.where, tmp_path / "board"
    shutil.copytree(submitted.board, copy.board)
    return copy


def path_of(stranger: Stranger, method: str = "mine") -> Path:
    (path,) = stranger.board.glob(f"*/*/{method}--predicted.json")
    return path


def entry_of(stranger: Stranger, method: str = "mine") -> Entry:
    return Entry.load(path_of(stranger, method))


def faults(stranger: Stranger, **how) -> list[str]:
    """Why their entry is refused, in words."""
    found = check(stranger.board, [path_of(stranger)], stranger.where, **how)
    return [str(fault) for one in found for fault in one.faults]


def test_from_the_repository_to_the_board(stranger, capsys):
    entry = entry_of(stranger)
    assert [part.task for part in entry.parts] == sorted(TASKS)
    assert entry.method.source == {"url": URL, "commit": git(stranger.folder, "rev-parse", "HEAD")}
    assert (entry.method.title, entry.method.kind, entry.method.family) == ("Mine", "method", "attention")
    assert entry_of(stranger, "random").method.is_floor
    options = ["--check", "--recompute", "--write", f"folder={stranger.board}", *stranger.where]
    board(options)
    said = badge(stranger.board, entry, badges(stranger.board))
    assert "scores recomputed from the raw maps" in said
    assert "roc_auc" in said
    assert "miou" in said
    assert "12 maps made again" in said
    entry.path.write_text(entry.path.read_text().replace('"title": "Mine"', '"title": "Ours"'))
    assert badge(stranger.board, entry_of(stranger), badges(stranger.board)) == "not recomputed"


def test_numbers_of_an_entry_are_those_of_the_tables(stranger):
    entry = entry_of(stranger)
    for part in entry.parts:
        rows = part_of(configuration([f"task={part.task}", *stranger.where])).measured
        rows = rows[rows["method"] == "mine"].set_index("metric")
        assert set(rows.index) == {metric for metric, _ in part.numbers}
        statistics = entry.statistics(part)
        for (metric, k), number in part.numbers.items():
            shown = rows.loc[metric]
            assert (number.value, number.samples) == (pytest.approx(shown["value"]), shown["samples"])
            assert (number.low, number.high) == (pytest.approx(shown["low"]), pytest.approx(shown["high"]))
            assert number.interval == shown["interval"]
            assert statistics[metric, k].value == pytest.approx(number.value)
    pooled = entry.statistics(entry.parts[1])["miou", 0]  # resampled as the ratio of sums that it is
    (resampled,) = bootstrap([pooled], resamples=1)
    drawn = np.random.default_rng(0).integers(SAMPLES, size=(1, SAMPLES))[0]
    assert resampled[0] == pytest.approx(float(pooled.reduce(pooled.terms[drawn].sum(axis=0))))


def test_what_other_tasks_said_stays_and_what_the_same_said_goes(stranger):
    before = entry_of(stranger)
    stranger.submit("mine", tasks=("localisation",))
    after = entry_of(stranger)
    assert after.parts == before.parts
    files = {file[0] for part in after.parts for file in (part.rows, part.maps)}
    assert {path.name for path in after.path.parent.glob("mine--predicted.*.parquet")} == files


def test_fewer_samples_do_not_take_the_place_of_more(stranger):
    path = path_of(stranger)
    content = json.loads(path.read_text())
    for part in content["parts"]:
        part["samples"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(BenchError, match="these cells are of"):
        stranger.submit("mine", tasks=("localisation",))
    assert json.loads(path.read_text()) == content


def edited(stranger: Stranger, edit: Callable[[dict], None]) -> list[str]:
    """What is refused after an edit of the JSON."""
    path = path_of(stranger)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return faults(stranger, data=False)


def part_named(content: dict, task: str) -> dict:
    return next(part for part in content["parts"] if part["task"] == task)


def change(task: str, **values) -> Callable[[dict], None]:
    return lambda content: part_named(content, task).update(values)


def change_number(task: str, metric: str, **values) -> Callable[[dict], None]:
    def edit(content):
        next(n for n in part_named(content, task)["numbers"] if n["metric"] == metric).update(values)

    return edit


def change_weights(content):
    content["model"]["made_of"]["content"]["weights"] = "0" * 64


def change_version(content):
    part_named(content, "segmentation")["metrics"]["miou"]["version"] = 7


def change_direction(content):
    part_named(content, "localisation")["metrics"]["roc_auc"]["higher_is_better"] = False


def change_threshold(content):
    part_named(content, "segmentation")["measurements"]["mask_overlap"]["settings"]["threshold"] = 0.9


def forget_source(content):
    content["method"]["source"] = None


def drop_a_metric(content):
    part = part_named(content, "localisation")
    part["numbers"] = [number for number in part["numbers"] if number["metric"] != "roc_auc"]


FORGED = {
    "a number": (change_number("localisation", "roc_auc", value=0.99), "roc_auc: value is 0.99", "tebench submit"),
    "a ratio": (change_number("segmentation", "miou", value=80.0), "miou: value is 80", "tebench submit"),
    "an interval": (change_number("localisation", "roc_auc", low=0.0), "roc_auc: the interval is", "tebench submit"),
    "how it was made": (change_number("localisation", "roc_auc", interval="wilson"), "interval", "tebench submit"),
    "a scale": (change_number("localisation", "roc_auc", scale=2.0), "roc_auc: scale is 2", "tebench submit"),
    "the number of samples": (change_number("localisation", "roc_auc", samples=9), "samples is 9", "tebench submit"),
    "another protocol version": (change("segmentation", protocol_label="paper v2"), "paper v2 is unknown", "protocol"),
    "another name for a version": (change("segmentation", version=2), "paper v2 is called paper v1", "run its cells"),
    "foreign weights": (change_weights, "its weights are not those", "run the cells with the model"),
    "another metric version": (change_version, "miou: version 7", "run the cells"),
    "a metric turned round": (change_direction, "roc_auc: it is said to be", "run its cells"),
    "another setting": (change_threshold, "miou: version 1 with its measurements and settings", "run the cells"),
    "no source": (forget_source, "method.source", "--source URL@COMMIT"),
    "other data": (change("localisation", content="0" * 64), "content: the digest of the samples", "run the cells"),
    "an unknown list": (change("localisation", on="5 drawn with seed 0"), "has no such list of two_digits", "limit="),
    "n": (change("localisation", samples=15), "samples: 15 samples", "all samples"),
    "a metric without a number": (drop_a_metric, "there is none of roc_auc", "run its cells"),
    "a file elsewhere": (change("localisation", rows=["../x.parquet", "0" * 64]), "is not the name of a file", "cells"),
    "a wrong kind": (change("localisation", numbers=3), "no entry", "tebench submit"),
}  # fmt: skip


@pytest.mark.parametrize("forged", FORGED)
def test_what_is_forged_is_refused_with_file_key_and_remedy(stranger, forged):
    edit, key, remedy = FORGED[forged]
    name = path_of(stranger).name
    found = [line for line in edited(stranger, edit) if name in line]
    assert any(key in line and remedy in line for line in found), found
    with pytest.raises(SystemExit) as ended:
        board(["--check", "--files-only", f"folder={stranger.board}"])
    assert ended.value.code == 1


def with_rows(
    stranger: Stranger, task: str, edit: Callable[[pd.DataFrame], pd.DataFrame], rows: str = "rows"
):
    """Write other rows or maps, with the digest that belongs to them."""
    entry = entry_of(stranger)
    part = next(part for part in entry.parts if part.task == task)
    table = edit(entry.rows(part) if rows == "rows" else entry.maps(part))
    name, digest = save_table(entry.path.parent, getattr(part, rows)[0], table)
    content = json.loads(entry.path.read_text())
    for one in content["parts"]:
        if one[rows] and one[rows][0] == name:
            one[rows] = [name, digest]
    entry.path.write_text(json.dumps(content))


def test_missing_ids_are_named(stranger):
    lost = entry_of(stranger).rows(entry_of(stranger).parts[0])["id"][3]
    with_rows(stranger, "localisation", lambda rows: rows[rows["id"] != lost])
    (line,) = [line for line in faults(stranger, data=False) if "rows.id" in line]
    assert f"1 missing ({lost})" in line


def test_rows_that_are_not_those_of_the_digest(stranger):
    entry = entry_of(stranger)
    rows = entry.rows(entry.parts[0])
    save_table(entry.path.parent, entry.parts[0].rows[0], rows.assign(roc_auc=1.0))
    assert any("is not the file that" in line for line in faults(stranger, data=False))


def better(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(roc_auc=(rows["roc_auc"] + 1) / 2)


def test_better_rows_need_better_numbers_and_maps(stranger):
    from bench.board.parts import numbers_of

    with_rows(stranger, "localisation", better)
    assert any("roc_auc: value is" in line for line in faults(stranger, data=False))
    entry = entry_of(stranger)
    part = next(part for part in entry.parts if part.task == "localisation")
    number = numbers_of(entry.statistics(part), seed=0)["roc_auc", 0]
    change = change_number("localisation", "roc_auc", value=number.value, low=number.low, high=number.high)
    assert edited(stranger, change) == []  # the files alone agree with one another
    (line,) = faults(stranger)  # the raw maps do not
    assert "roc_auc" in line
    assert "per-sample rows are not what the raw maps give" in line


def test_maps_that_the_method_does_not_make(stranger):
    def shifted(maps: pd.DataFrame) -> pd.DataFrame:
        return maps.assign(map=[values * np.float32(1.001) for values in maps["map"]])

    with_rows(stranger, "localisation", shifted, rows="maps")
    found = faults(stranger, maps=True)  # scores of a scaled map are the same
    assert found
    assert all("is not what the method makes (off by 0.001 of its norm)" in line for line in found)


def test_a_method_is_run_on_demand_only(stranger, monkeypatch):
    import mine_of_a_stranger

    def must_not(*arguments):
        raise AssertionError("the method was run")

    monkeypatch.setattr(mine_of_a_stranger.Mine, "__call__", must_not)
    assert entry_of(stranger).method.made_of["target"] == "mine_of_a_stranger.Mine"
    assert faults(stranger) == []
    with pytest.raises(AssertionError, match="the method was run"):
        faults(stranger, maps=True)


def test_ids_are_drawn_from_the_digest(stranger):
    entry = entry_of(stranger)
    ids = entry.rows(entry.parts[0])["id"].tolist()
    first = drawn_ids(entry, ids, 5)
    assert len(set(first)) == 5
    assert first == drawn_ids(entry, ids, 5)
    entry.path.write_text(entry.path.read_text() + "\n")
    assert first != drawn_ids(entry, ids, 5)


def test_files_that_no_entry_names(stranger):
    (stranger.board / "two_digits" / "vit_digits" / "stray.parquet").write_bytes(b"")
    found = [str(fault) for one in check(stranger.board, data=False) for fault in one.faults]
    assert len(found) == 1
    assert "stray.parquet: file: no entry names it" in found[0]


def test_without_the_data_it_is_said(stranger):
    ours = check(stranger.board, [path_of(stranger)], [])  # which do not have dataset=two
    assert not any(one.faults for one in ours)
    assert any("not recomputed" in note for one in ours for note in one.notes)


def test_maps_that_are_too_large_are_left_out_with_a_word(stranger, monkeypatch):
    import bench.board.parts

    monkeypatch.setattr(bench.board.parts, "LARGEST", 9_000)
    stranger.submit("mine")
    (one,) = check(stranger.board, [path_of(stranger)], stranger.where)
    assert not one.faults
    assert not one.scores
    assert all("not recomputed: Its maps take" in note for note in one.notes)
    assert len(one.notes) == len(TASKS)
    monkeypatch.setattr(bench.board.parts, "LARGEST", 1_000)
    with pytest.raises(BenchError, match="its per-sample rows take"):
        stranger.submit("mine")


def test_status_counts_an_entry_as_done_elsewhere(stranger, tmp_path):
    there = [
        f"paths.results={quoted(tmp_path)}" if a.startswith("paths.results") else a for a in stranger.where
    ]
    lines = {line.method: line for line in status(["task=localisation", *there])}
    assert lines["random"].state == "on the board"
    assert lines["random"].done == lines["random"].samples == SAMPLES
    assert lines["rollout"].state == "missing"
    other = [line for line in status(["task=localisation", *there, "seed=1"]) if line.method == "random"]
    assert [line.state for line in other] == ["missing"]  # another seed draws another random map


def test_code_that_is_not_committed_is_refused(stranger, monkeypatch):
    git(stranger.folder, "remote", "remove", "origin")
    try:
        with pytest.raises(BenchError, match="remote origin"):
            stranger.submit("mine")
        entry = stranger.submit("mine", "--source=https://me:secret@example.org/mine@0123abcd", "--anew")
        assert Entry.load(entry).method.source == {"url": "https://example.org/mine", "commit": "0123abcd"}
    finally:
        git(stranger.folder, "remote", "add", "origin", URL)
    file = stranger.folder / "mine_of_a_stranger.py"
    before = file.read_text()
    try:
        file.write_text(before + "# edited after the run\n")
        git(stranger.folder, "commit", "--quiet", "--all", "-m", "An edit")
        with pytest.raises(
            BenchError, match=r"mine_of_a_stranger.py as it was run is not that of the last commit"
        ):
            stranger.submit("mine")
    finally:
        file.write_text(before)
        git(stranger.folder, "commit", "--quiet", "--all", "-m", "Back")
    with pytest.raises(BenchError, match="expected URL@COMMIT"):
        stranger.submit("mine", "--source=somewhere")
