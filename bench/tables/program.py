"""The program ``python -m bench.tables``: which tables are made, printed and written."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.catalogue import Catalogue
from bench.cli import choices, option, say, show, tell
from bench.config import config_dirs, configuration
from bench.errors import BenchError
from bench.store.files import or_say
from bench.tables.select import NoCellError
from bench.tables.table import ABLATION, TASKS_OF_ABLATION, Table, ablation, table


def main(arguments: Sequence[str]) -> None:
    """Make all tables that have finished cells, or the one chosen with ``table=`` (``task=`` is the same).

    Raises:
        BenchError: if none could be made, or they cannot be written.
    """
    output, arguments = option("output", arguments)
    options = {"--partial", "--json"} & set(arguments)
    known = [*Catalogue(config_dirs(arguments)).tables(), ABLATION]
    names, others = choices("table", known, [a for a in arguments if a not in options])
    # A table has columns for all classes, so a choice among these means nothing here.
    others = [a for a in others if not a.startswith("explained=")]
    problems, made = {}, []
    for name in names:
        try:
            made.append(_made(name, others, "--partial" in options))
            if "--json" not in options:
                show(made[-1].markdown())  # the next may take a while
        except BenchError as e:
            problems[name] = e
    if not made:
        raise BenchError(f"no table of {names[0]}: {problems[names[0]]}")
    if "--json" in options:
        data = pd.concat([one.data for one in made], ignore_index=True)
        tell(data.to_json(orient="records", indent=1))
    nothing = [name for name, error in problems.items() if isinstance(error, NoCellError)]
    for name, error in problems.items():
        if name not in nothing:
            say(f"no table of {name}: {error}")
    if nothing:
        say(
            f"nothing is computed under these conditions of {', '.join(nothing)}: table={nothing[0]} says what to run"
        )
    for one in made:  # last: what was made is on the screen, even if it cannot be written
        config = one.parts[0].config
        own = Path(config["paths"]["results"]) / config["suite"]["name"] / "tables"
        if output:
            one.write(Path(output), "--output")
        else:
            or_say(lambda one=one, own=own: one.write(own, "paths.results"))


def _made(name: str, arguments: Sequence[str], partial: bool) -> Table:
    tasks = TASKS_OF_ABLATION if name == ABLATION else (name,)
    configs = [configuration([f"task={task}", *arguments]) for task in tasks]
    return ablation(configs, partial) if name == ABLATION else table(configs[0], partial)
