"""From a stranger's repository to the board's page, by the documented steps."""

import numpy as np
import pandas as pd
import pytest

import bench  # noqa: F401  first: see its docstring
from bench.board.__main__ import main as board
from bench.board.columns import Ranking
from bench.board.pictures import WIDE, _in_lines
from bench.catalogue import Catalogue
from tests.board.synthetic import few_resamples
from tests.support.small_board import SAMPLES, Stranger, importable

pytestmark = pytest.mark.numerical


def test_a_stranger_s_method_stands_on_the_page(tmp_path, monkeypatch):
    stranger = Stranger(tmp_path)
    importable(stranger.folder, monkeypatch)
    for method in ("mine", "random"):
        stranger.run(method, tasks=["localisation"])
        path = stranger.submit(method, tasks=["localisation"])
    with few_resamples():
        board([f"folder={stranger.board}"])
    text = (stranger.board / "made" / "index.html").read_text()
    assert '<details class="method" id="method-mine"' in text
    assert "mine_of_a_stranger" not in text  # its code is nobody's business here, its repository is
    assert "https://example.org/mine.git" in text
    assert "map of" in text
    rows = pd.read_csv(stranger.board / "made" / "tables" / "standings.csv").set_index(["metric", "method"])
    for metric in ("roc_auc", "energy", "pointing_game"):
        assert {"mine", "random"} <= set(rows.loc[metric].index)
    # So few samples separate nobody, and are not said to.
    assert Ranking.of(Catalogue()).fewest > SAMPLES
    assert rows["rank_low"].isna().all()
    assert f"{SAMPLES} samples, fewer than 30" in rows.loc[("roc_auc", "mine"), "unranked"]
    assert rows.loc[("mask_share", "mine"), "unranked"].startswith("the metric is a description")
    assert path.is_file()


def test_maps_of_texts_go_on_in_the_next_line():
    lines = _in_lines(np.arange(1.0, WIDE + 3))
    assert lines.shape == (2, WIDE)
    assert lines[1, :3].tolist() == [WIDE + 1, WIDE + 2, 0]
    assert _in_lines(np.ones((3, 4))).shape == (3, 4)
