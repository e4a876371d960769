"""A text method from cells to a board, and its agreement with rationales made from the raw maps again."""

import json
from pathlib import Path

import pytest

from bench.board.check import check
from bench.board.entry import Entry
from bench.board.known import add
from bench.board.submit import main as submit
from bench.board.tables import save_table
from bench.config import configuration, quoted
from bench.runner.cell import run
from tests.support.tiny_texts import write

pytestmark = pytest.mark.numerical
MODEL = """\
defaults: [/model/transformers@_here_]
name: tiny_bert
title: a BERT of random weights
path: {path}
"""


@pytest.fixture
def where(tmp_path) -> list[str]:
    """The overrides of all commands."""
    root = write(tmp_path / "data")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "tiny.yaml").write_text(MODEL.format(path=root / "bert"))
    paths = [f"paths.data={quoted(root)}", f"paths.results={quoted(tmp_path / 'results')}"]
    chosen = [
        "task=token_f1",
        "dataset=movies",
        "model=tiny",
        "protocol.token_f1.max_length=32",
        "device=cpu",
    ]
    return [f"--config-dir={tmp_path / 'conf'}", *chosen, *paths]


def test_token_f1_is_made_from_the_raw_maps_again(where, tmp_path):
    run(configuration(["method=rollout", *where]))
    board = tmp_path / "results" / "board"
    add(board, ["protocol=paper", *where]).save(board)
    submit(["method=rollout", *where])
    (path,) = board.glob("*/*/rollout--target.json")
    (one,) = check(board, [path], where, maps=True)
    assert one.faults == []
    assert one.scores == {"token_f1 (paper v1 with token_f1.max_length=32)": ["token_f1"]}
    assert set(one.maps.values()) == {"3 maps made again"}
    entry = Entry.load(path)
    (part,) = entry.parts
    assert {number.k for number in part.numbers.values()} == set(range(5, 85, 5))
    _other_map(path, entry)
    (one,) = check(board, [path], where)
    assert any("per-sample rows are not what the raw maps give" in str(fault) for fault in one.faults)


def _other_map(path: Path, entry: Entry) -> None:
    """Turn the maps round, with the digest that belongs to them."""
    (part,) = entry.parts
    maps = entry.maps(part)
    name, digest = save_table(path.parent, part.maps[0], maps.assign(map=[m.max() - m for m in maps["map"]]))
    content = json.loads(path.read_text())
    content["parts"][0]["maps"] = [name, digest]
    path.write_text(json.dumps(content))
