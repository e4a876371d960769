"""What REPRODUCING.md says of published numbers is what the files in results/reference say."""

from pathlib import Path

import pandas as pd
import pytest

from bench.tables.published import SOURCES, published

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "REPRODUCING.md").read_text().splitlines()


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose first line starts with ``head``, as plain text."""
    start = next(i for i, line in enumerate(LINES) if line.startswith(head))
    end = next(i for i in range(start, len(LINES)) if not LINES[i].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES[start + 2 : end]]


def test_differences_of_the_public_re_runs():
    numbers = published("perturbation", ROOT / "results")
    numbers = numbers[numbers["explained"] == "predicted"]
    paper = numbers[numbers["source"] == "chefer2021"]
    both = numbers[numbers["source"] != "chefer2021"].merge(
        paper, on=["method", "metric"], suffixes=("", "_p")
    )
    expected = {
        (
            each.method.replace("_", " "),
            each.metric.removesuffix("_auc"),
            f"{each.value_p:.2f}",
            each.confirmed_p,
            f"{each.value:.2f}",
            SOURCES[each.source].partition("(")[2].rstrip(")"),
            each.confirmed,
            f"{each.value - each.value_p:+.2f}".replace("-", "−"),
        )
        for each in both.itertuples()
    }
    table = rows("| method | test | paper |")
    assert set(map(tuple, table)) == expected
    assert len(table) == len(expected) == 12


def test_curves_of_the_public_re_run():
    numbers = published("token_f1", ROOT / "results")
    curves = pd.pivot(numbers, index="method", columns="k", values="value")
    table = rows("| method | k = 5 |")
    assert len(table) == len(curves) == 6
    for method, *values in table:
        expected = curves.loc[method.replace(" ", "_"), [5, 10, 20, 40, 80]]
        assert [float(value) for value in values] == pytest.approx(list(expected), abs=5e-4)
