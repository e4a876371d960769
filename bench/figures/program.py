"""The program ``python -m bench.figures``: which figures are drawn and written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.catalogue import Catalogue, catalogue_of
from bench.cli import choices, option, say, tell
from bench.config import build, config_dirs, configuration
from bench.errors import BenchError
from bench.figures.panels import has_curves, panels
from bench.figures.style import figure_of, save
from bench.store.files import writing
from bench.tables.conditions import OTHER_CONDITIONS, file_name, is_standard, samples_of
from bench.tables.select import select
from bench.tables.statistics import numbers, protocol_label


def write(config: Mapping[str, Any], output: str | None = None) -> list[Path]:
    """Draw the figure of a task, of all finished cells under a configuration's conditions; returns its files.

    Args:
        output: the folder below which they lie; None for that of the results.

    Raises:
        BenchError: if there are none, or the folder cannot be written to.
    """
    name, suite, protocol = (config[key]["name"] for key in ("task", "suite", "protocol"))
    selection = select(config)
    title = f"{config['suite']['title']} · protocol {protocol_label(config)} · {samples_of(selection)}"
    if not is_standard(selection):
        title += f"\n{OTHER_CONDITIONS}"
    figure = figure_of(panels(selection, numbers(selection)), title, catalogue_of(config))
    own = Path(config["paths"]["results"]) / suite / "figures"
    folder = (Path(output) if output else own) / protocol
    files = [folder / f"{file_name(name, [selection])}.{suffix}" for suffix in ("svg", "pdf")]
    with writing(folder, "--output"):
        for file in files:
            save(figure, file)
    return files


def main(arguments: Sequence[str]) -> None:
    """Draw all figures that have finished cells, or the one chosen with ``figure=`` (``task=`` is the same).

    Raises:
        BenchError: if none could be drawn.
    """
    output, arguments = option("output", arguments)
    known = Catalogue(config_dirs(arguments)).tables()
    names, others = choices("figure", known, arguments)
    problems, drawn = [], False
    for name in names:
        try:
            config = configuration([f"task={name}", *others])
            if has_curves(build("task", config["task"], description={"_target_"})):
                tell("\n".join(map(str, write(config, output))))
                drawn = True
            elif len(names) == 1:
                raise BenchError("none of its metrics sums up a curve")
        except BenchError as e:
            problems.append(f"{name}: {e}")
    if not drawn:
        raise BenchError(f"no figure of {problems[0]}" if problems else "no task has a metric with a curve")
    for problem in problems:
        say(f"no figure of {problem}")
