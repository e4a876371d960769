"""Figures from the result store: ``python -m bench.figures suite=embedded``.

Draws token F1 over k with 95 % intervals, and the published curves, to
``results/<suite>/figures/<protocol>/token_f1.svg``. Takes the same overrides as ``python -m bench``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config import configuration
from bench.layout import ORDER
from bench.numbers import METRICS, REFERENCES, finished, numbers, protocol_label
from bench.published import PROTOCOL, SETUPS, SOURCES, published
from bench.store import protocol_of
from bench.tables import ABLATIONS, command_line

PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999"]


def token_f1(config: dict[str, Any]) -> Path:
    """Draw token F1 over k of all finished cells under the configuration's conditions; returns the file.

    One panel for each metric of the protocol, and one for the published curves under theirs.

    Raises:
        BenchError: if there are none.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"  # the same numbers, the same bytes
    from matplotlib import pyplot as plt

    suite, protocol = config["suite"], config["protocol"]["name"]
    measured = numbers(config, finished(config))
    measured = measured[measured["explained"] == config["explained"]]
    here = f"{config['model']['title']}\n{config['dataset']['title']} ({suite['title']})"
    panels = [(METRICS[m].title, here, curves) for m, curves in measured.groupby("metric", sort=False)]
    if protocol == PROTOCOL:
        others = published("token_f1", config["paths"]["results"])
        there = f"published: {SOURCES[others['source'].iloc[0]]}\n{SETUPS['token_f1']}"
        panels.append((METRICS["token_f1"].title, there, others))
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4), layout="constrained")
    for panel, (metric, title, curves) in zip(axes, panels, strict=True):
        _curves(panel, curves)
        panel.set_title(title, fontsize=9)
        panel.set_ylabel(metric)
    axes[0].legend(fontsize=7)
    figure.suptitle(f"protocol {protocol_label(protocol_of(config))}", fontsize=9)
    path = Path(config["paths"]["results"]) / suite["name"] / "figures" / protocol / "token_f1.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def _curves(axes, numbers: pd.DataFrame) -> None:
    # A method keeps its colour in all panels; the palette is safe for colour-blind readers (Okabe & Ito).
    names = [name for name in ORDER if name not in ABLATIONS]
    names += sorted(set(numbers["method"]) - {*ORDER, *REFERENCES})
    for index, name in enumerate([*names, *REFERENCES]):
        curve = numbers[numbers["method"] == name].sort_values("k")
        if curve.empty:
            continue
        style = {"color": PALETTE[index % len(PALETTE)], "marker": "."}
        if name in REFERENCES:
            style = {"color": "#555555", "linestyle": {"random": ":", "oracle": "--"}[name]}
        axes.plot(curve["k"], curve["value"], label=name, **style)
        if "low" in curve:
            axes.fill_between(
                curve["k"], curve["low"], curve["high"], color=style["color"], alpha=0.12, linewidth=0
            )
    axes.set_xlabel("k, number of words taken as the rationale")
    axes.grid(alpha=0.3)


def main(arguments: Sequence[str]) -> None:
    """Draw the figure of a suite."""
    print(token_f1(configuration(["task=token_f1", *arguments])))


if __name__ == "__main__":
    command_line(main)
