"""Agreement of methods from kept maps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

import bench  # noqa: F401
from bench.agreement import main as program
from bench.errors import BenchError
from bench.runner.cell import run
from bench.tables.agreement import agreement, as_matrix, kept_explanations
from tests.support.cells import rows_of

pytestmark = pytest.mark.numerical


def test_pairs_of_methods_sample_by_sample(configure):
    configs = [configure("perturbation", f"method={name}") for name in ("rollout", "raw_attention", "random")]
    with pytest.raises(BenchError, match="0 methods have kept maps"):
        agreement(configs[0])
    for config in configs:
        run(config)
    pairs = agreement(configs[0])
    assert set(kept_explanations(configs[0])) == {"rollout", "raw_attention", "random"}
    assert len(pairs) == 3 * 3
    maps = [rows_of(config, "maps").set_index("id")["map"] for config in configs[:2]]
    found = pairs[(pairs[["method", "other"]].isin(["rollout", "raw_attention"])).all(axis=1)].set_index(
        "measure"
    )
    for name, measure in (("Spearman", spearmanr), ("Kendall τ_b", kendalltau)):
        expected = np.mean([measure(maps[0][i], maps[1][i]).statistic for i in maps[0].index])
        assert found.loc[name, "value"] == pytest.approx(expected, abs=1e-6)
    assert (found["samples"] == 9).all()
    matrix = as_matrix(pairs, "Spearman")
    assert (matrix == matrix.T).all().all()
    assert set(np.diag(matrix)) == {"–"}


def test_the_program_prints_and_writes_what_it_found(configure, capsys):
    configs = [configure("perturbation", f"method={name}") for name in ("rollout", "raw_attention")]
    for config in configs:
        run(config)
    capsys.readouterr()
    program(configs[0]["overrides"])
    shown = capsys.readouterr().out
    assert "raw attention" in shown
    assert "No arrow" in shown
    (written,) = Path(configs[0]["paths"]["results"]).rglob("tables/paper/agreement*.md")
    assert written.read_text().strip() == shown.strip()
    assert written.stem != "agreement"  # of another data set than the suite's own
    assert len(pd.read_csv(written.with_suffix(".csv"))) == 3
