"""Figures from the result store: ``python -m bench.figures suite=embedded [figure=token_f1]``.

Draws accuracy over the share of pixels masked (perturbation), and token F1 over k beside the published
curves, each with 95 % intervals, to ``results/<suite>/figures/<protocol>/<figure>.svg`` and ``.pdf``. Takes
the same overrides as ``python -m bench``.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench import curves
from bench.commands import choices, command_line
from bench.config import configuration
from bench.drawing import Panel, figure_of, save
from bench.errors import BenchError
from bench.layout import ordered
from bench.numbers import METRICS, base_name, finished, protocol_label
from bench.published import PROTOCOL, SETUPS, SOURCES, published
from bench.store import Result, protocol_of
from bench.tables import ABLATIONS


def perturbation(config: dict[str, Any], found: Sequence[Result]) -> list[Panel]:
    """A panel for each direction, and each kind of hits, of the protocol."""
    return _panels(config, curves.perturbation(config, found), "pixels masked, %", "accuracy, %")


def token_f1(config: dict[str, Any], found: Sequence[Result]) -> list[Panel]:
    """A panel for each metric of the protocol, and one for the published curves under theirs."""
    x_label = "k, number of words taken as the rationale"
    panels = _panels(config, curves.token_f1(config, found), x_label, None)
    if config["protocol"]["name"] == PROTOCOL:
        others = published("token_f1", config["paths"]["results"]).rename(columns={"k": "x"})
        there = f"published: {SOURCES[others['source'].iloc[0]]}\n{SETUPS['token_f1']}"
        panels.append(Panel(there, x_label, METRICS["token_f1"].title, ordered(others)))
    return panels


FIGURES: dict[str, Callable[[dict[str, Any], Sequence[Result]], list[Panel]]] = {
    "perturbation": perturbation,
    "token_f1": token_f1,
}


def _panels(config: dict[str, Any], measured: pd.DataFrame, x_label: str, y_label: str | None) -> list[Panel]:
    here = f"{config['model']['title']}\n{config['dataset']['title']}"
    measured = ordered(measured[~measured["method"].map(base_name).isin(ABLATIONS)])
    return [
        Panel(
            f"{METRICS[metric].title}, {here}" if y_label else here,
            x_label,
            y_label or METRICS[metric].title,
            curve,
        )
        for metric, curve in measured.groupby("metric", sort=False)
    ]


def write(name: str, config: dict[str, Any]) -> list[Path]:
    """Draw a figure of all finished cells under the configuration's conditions; returns its files.

    Raises:
        BenchError: if there are none.
    """
    panels = FIGURES[name](config, finished(config))
    if not panels:
        raise BenchError(f"no finished cell of {name} is of explained={config['explained']}")
    suite, protocol = config["suite"]["name"], config["protocol"]["name"]
    figure = figure_of(panels, f"{config['suite']['title']} · protocol {protocol_label(protocol_of(config))}")
    folder = Path(config["paths"]["results"]) / suite / "figures" / protocol
    files = [folder / f"{name}.{suffix}" for suffix in ("svg", "pdf")]
    for file in files:
        save(figure, file)
    return files


def main(arguments: Sequence[str]) -> None:
    """Draw all figures that have finished cells, or the one chosen with ``figure=`` (``task=`` is the same).

    Raises:
        BenchError: if none could be drawn.
    """
    names, others = choices("figure", FIGURES, arguments)
    problems = []
    for name in names:
        try:
            print(*write(name, configuration([f"task={name}", *others])), sep="\n")
        except BenchError as e:
            problems.append(f"{name}: {e}")
    if len(problems) == len(names):
        raise BenchError(f"no figure of {problems[0]}")
    for problem in problems:
        print(f"no figure of {problem}", file=sys.stderr)


if __name__ == "__main__":
    command_line(main)
