"""Figures from the result store: ``python -m bench.figures suite=embedded``.

Draws token F1 over k with 95 % intervals, and the published curves, to
``results/<suite>/figures/token_f1.svg``. Takes the same overrides as ``python -m bench``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config import configuration
from bench.published import SETUPS, SOURCES, published
from bench.tables import ORDER, command_line, table


def token_f1(config: dict[str, Any]) -> Path:
    """Draw token F1 over k of all finished cells under the configuration's conditions; returns the file.

    Raises:
        BenchError: if there are none.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"  # the same numbers, the same bytes
    from matplotlib import pyplot as plt

    suite = config["suite"]
    numbers = table(config).data
    numbers = numbers[numbers["explained"] == config["explained"]]
    others = published("token_f1", config["paths"]["results"])
    source = others["source"].iloc[0]
    figure, (here, there) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    _curves(here, numbers)
    here.set_title(f"{config['model']['title']}\n{config['dataset']['title']} ({suite['title']})", fontsize=9)
    _curves(there, others)
    there.set_title(f"published: {SOURCES[source]}\n{SETUPS['token_f1']}", fontsize=9)
    here.set_ylabel("token F1 (macro)")
    here.legend(fontsize=8)
    path = Path(config["paths"]["results"]) / suite["name"] / "figures" / "token_f1.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def _curves(axes, numbers: pd.DataFrame) -> None:
    # A method keeps its colour in both panels; the palette is safe for colour-blind readers (Okabe & Ito).
    palette = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999"]
    names = [*ORDER, *sorted(set(numbers["method"]) - set(ORDER))]
    for index, name in enumerate(names):
        curve = numbers[numbers["method"] == name].sort_values("k")
        if curve.empty:
            continue
        colour = palette[index % len(palette)]
        axes.plot(curve["k"], curve["value"], label=name, color=colour, marker=".")
        if "low" in curve:
            axes.fill_between(curve["k"], curve["low"], curve["high"], color=colour, alpha=0.12, linewidth=0)
    axes.set_xlabel("k, number of words taken as the rationale")
    axes.grid(alpha=0.3)


def main(arguments: Sequence[str]) -> None:
    """Draw the figure of a suite."""
    print(token_f1(configuration(["task=token_f1", *arguments])))


if __name__ == "__main__":
    command_line(main)
