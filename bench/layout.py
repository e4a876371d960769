"""How measured numbers are laid out for a reader: rows, columns, what stands in a cell, LaTeX."""

from collections.abc import Sequence

import pandas as pd

from bench.numbers import COLUMN, METRICS, REFERENCES, base_name
from metrics import Metric

# The methods of the paper in its order, each beside its variants; others follow, then floor and ceiling.
ORDER = [
    "rollout",
    "rollout_all_blocks",
    "raw_attention",
    "gradcam",
    "lrp",
    "partial_lrp",
    "without_gradient",
    "last_block_only",
    "second_block_only",
    "transformer_attribution",
    "transformer_attribution_all_blocks",
]
LEVEL = 0.05
LATEX = str.maketrans(
    {character: rf"\{character}" for character in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "≈": r"$\approx$", "·": r"$\cdot$", "×": r"$\times$"}
    | {"–": "--", "−": "$-$", "…": r"\dots{}"}
)
SPELLED = {"lrp": "LRP", "gradcam": "GradCAM"}  # where a method's name has more than its words


def ordered(measured: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the methods."""
    return measured.sort_values("method", key=lambda labels: labels.map(rank), kind="stable")


def rank(label: str) -> tuple[int, str]:
    """The place of a method among all, by its label."""
    order = [*ORDER, None, *REFERENCES]  # None for all others
    name = base_name(label)
    return (order.index(name if name in order else None), label)


def readable(label: str) -> str:
    """A label with the name of a method in words: partial LRP (rules=…) for ``partial_lrp (rules=…)``."""
    name, bracket, settings = label.partition(" (")
    return " ".join(SPELLED.get(word, word) for word in name.split("_")) + bracket + settings


def shown(numbers: pd.DataFrame, like: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per method, one column per metric, explained class and k, each cell formatted.

    Args:
        numbers: measured (with ``low``, ``high``, ``p_value``) or published (with ``confirmed``).
        like: take rows and columns from these numbers.
    """
    like = numbers if like is None else like
    like = like[like["k"].isin(_shown_k(like))]
    keys = like[COLUMN].drop_duplicates()
    order = list(METRICS)
    keys = keys.sort_values(COLUMN, key=lambda c: c.map(order.index) if c.name == "metric" else c)
    several = keys.groupby("metric")["explained"].nunique() > 1
    methods = like["method"].unique()
    by_key = numbers.set_index([*COLUMN, "method"]).sort_index()
    columns = {}
    for key in keys.itertuples(index=False, name=None):
        metric, explained, k = key
        parts = [METRICS[metric].title, "↑" if METRICS[metric].higher_is_better else "↓"]
        parts += [explained] if several[metric] else []
        parts += [f"k = {k}"] if k else []
        columns[" ".join(parts)] = _column(by_key, key, METRICS[metric], methods)
    return pd.DataFrame(columns, index=pd.Index(methods, name="method"))


def _shown_k(measured: pd.DataFrame) -> Sequence[int]:
    """The csv file has all; a reader sees every tenth, or every twentieth where several metrics have a k."""
    several = measured.loc[measured["k"] > 0, "metric"].nunique() > 1
    return range(0, 81, 20 if several else 10)


def _column(by_key: pd.DataFrame, key: tuple, metric: Metric, methods: Sequence[str]) -> list[str]:
    cells = []
    for method in methods:
        if (*key, method) not in by_key.index:
            cells.append("–")
            continue
        number = by_key.loc[(*key, method)]
        decimals = 2 if metric.unit else 3
        value = f"{number['value']:.{decimals}f}"
        if "confirmed" in number:
            cells.append(f"{value} ({number['confirmed']})")
            continue
        best = base_name(method) not in REFERENCES and value == _best(by_key, key, metric, decimals)
        mark = f"**{value}**" if best else value
        told = "" if best or not number["p_value"] > LEVEL else " ≈"
        cells.append(f"{mark} [{number['low']:.{decimals}f}, {number['high']:.{decimals}f}]{told}")
    return cells


def _best(by_key: pd.DataFrame, key: tuple, metric: Metric, decimals: int) -> str:
    values = by_key.loc[key]
    values = values.loc[~values.index.map(base_name).isin(REFERENCES), "value"]
    return f"{values.max() if metric.higher_is_better else values.min():.{decimals}f}"


def latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """The table for a paper; needs the package booktabs."""

    def cell(text: str) -> str:
        bold, _, rest = text.removeprefix("**").partition("**")
        return rf"\textbf{{{_escaped(bold)}}}{_escaped(rest)}" if text.startswith("**") else _escaped(text)

    plain = table.map(cell).rename(columns=_escaped, index=_escaped).rename_axis(None)
    return plain.to_latex(escape=False, caption=_escaped(caption.replace("**", "")), label=label)


def _escaped(text: str) -> str:
    return text.translate(LATEX)
