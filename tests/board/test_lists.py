"""Lists of samples and protocols on a board, from stored rows: nothing is run."""

import json

import pytest

from bench.board.check import check
from bench.board.entry import Entry
from bench.board.facts import list_name
from bench.board.faults import LIST
from bench.board.known import Known, add
from bench.board.submit import main as submit
from bench.config import quoted
from bench.errors import BenchError
from tests.support.stored_rows import SAMPLES, perturbation


@pytest.mark.parametrize("limit", [None, 100])
@pytest.mark.parametrize("subset", [None, 50])
def test_a_list_is_read_as_it_is_named(limit, subset):
    match = LIST.fullmatch(list_name(limit, 3, subset))
    assert match["limit"] == (None if limit is None else "100")
    assert match["seed"] == (None if limit is None else "3")
    assert match["subset"] == (None if subset is None else "50")
    assert not LIST.fullmatch("the best 50")


@pytest.fixture
def submitted(keep, tmp_path):
    """Submit gradcam's perturbation test of all samples, or of some, under a protocol; returns the entry."""
    rows, where = perturbation(), [f"paths.results={quoted(tmp_path)}", "task=perturbation"]

    def submitted(limit: int | None = None, protocol: str = "paper", **record) -> Entry:
        chosen = [f"protocol={protocol}", *([] if limit is None else [f"limit={limit}"])]
        keep(
            "gradcam",
            rows if limit is None else rows.head(limit),
            *chosen,
            record={"versions": {"torch": "2.13.0"}} | record,
        )
        add(tmp_path / "board", [*where, *chosen]).save(tmp_path / "board")
        fewer = [] if limit is None else ["--anew"]  # than there are already
        submit([*where, *chosen, "method=gradcam", *fewer])
        (path,) = (tmp_path / "board").glob("*/*/*.json")
        return Entry.load(path)

    return submitted


def test_lists_and_protocols_side_by_side(submitted, tmp_path):
    board = tmp_path / "board"
    (part,) = submitted().parts
    assert (part.on, part.samples, part.protocol_label) == ("all", SAMPLES, "paper v1")
    assert [part.protocol for part in submitted(protocol="clean").parts] == ["clean", "paper"]
    clean, paper = submitted(limit=20).parts  # which replaces what was said of all under the same protocol
    assert (clean.on, paper.on) == ("all", "20 drawn with seed 0")
    assert (clean.samples, paper.samples) == (SAMPLES, 20)
    lists = Known.load(board).datasets["digits"]["lists"]
    assert {name: one["samples"] for name, one in lists.items()} == {
        "all": SAMPLES,
        "20 drawn with seed 0": 20,
    }
    (one,) = check(board)
    assert one.faults == []
    assert all("No maps are kept" in note for note in one.notes)


def test_samples_of_another_list_are_refused(submitted, tmp_path):
    submitted()
    entry = submitted(limit=20)
    entry.path.write_text(entry.path.read_text().replace("20 drawn with seed 0", "all"))
    found = [str(fault) for one in check(tmp_path / "board") for fault in one.faults]
    assert any("samples: 20 samples" in line and f"all has {SAMPLES} samples" in line for line in found)
    assert any("rows.id: 20 ids" in line and "20 missing (i20, i21, i22, …)" in line for line in found)


def test_a_list_without_some_samples_is_not_submitted(submitted):
    with pytest.raises(
        BenchError, match=r"1 samples were left out, as they could not be read \(i3 is damaged\)"
    ):
        submitted(skipped=["i3 is damaged"])


def test_what_has_changed_is_not_mixed(submitted, keep, tmp_path):
    entry = submitted()
    content = json.loads(entry.path.read_text())
    content["model"]["made_of"]["content"]["weights"] = "b" * 64
    entry.path.write_text(json.dumps(content))
    where = [f"paths.results={quoted(tmp_path)}", "task=perturbation", "method=gradcam"]
    with pytest.raises(BenchError, match=r"is of another model\.content\.weights: .*--anew"):
        submit(where)
    submit([*where, "--anew"])
    assert Entry.load(entry.path) == entry
