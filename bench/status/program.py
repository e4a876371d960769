"""How far the cells of a suite are: what is known of each, and the program ``python -m bench.status``."""

import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from bench.board.done import entries_for, entry_with
from bench.board.entry import Entry
from bench.board.facts import Part
from bench.catalogue import Catalogue
from bench.cli import several, show, tell
from bench.config import config_dirs, configuration, swept
from bench.errors import BenchError
from bench.store.blocks import Work, unfinished
from bench.store.cells import Cell, Result, announced, cells_folder, outdated, results
from bench.store.files import is_claimed
from bench.store.identity import ANY, CellId, component, recipe
from bench.store.subsets import covers, of_all, size_of
from bench.tables.select import wanted
from bench.tables.statistics import protocol_label
from bench.tasks import Task

ON_BOARD = "on the board"  # computed by somebody who submitted it
OLDER = "older format, run again"
STATES = ("running", "failed", "stopped", "missing", "damaged", OLDER, ON_BOARD, "done")


@dataclass
class Line:
    """What is known about a cell.

    Attributes:
        cell: what it is.
        kind: ``maps``, or the measurement.
        method, explained: of the cell; None for what is measured of the model alone.
        state: ``done``; ``running``, a process is at it; ``failed``, the last one ended with an error;
            ``stopped``, begun and left; ``missing``, not begun; ``damaged``, its rows are not those that were
            written; ``on the board``, not in the store, and an entry has what it would give; or that it is of an
            older format.
        done: samples that have a row, or were skipped.
        samples: of the cell; None if that is not known yet.
        per_second: samples, by one process, while it was computed.
        seconds_left: of one process, at this pace or at that of cells like it; None if there is none yet.
        note: what is missing, or why it failed.
        protocol: its name and version, and the settings that were changed.
        model: its name.
    """

    cell: str
    kind: str
    method: str | None
    explained: str | None
    state: str
    done: int = 0
    samples: int | None = None
    per_second: float | None = None
    seconds_left: float | None = None
    note: str = ""
    protocol: str = ""
    model: str = ""


def status(arguments: Sequence[str]) -> list[Line]:
    """The cells of a suite, in all tasks or those of the arguments; what is not done comes first.

    Args:
        arguments: overrides; ``task=``, ``model=`` and ``experiment=`` may name several. The cells of an experiment are
            sought in the place of those of the tasks' tables.

    Raises:
        BenchError: for an override that hydra does not accept, or a damaged file.
    """
    (tasks, models, experiments), others = several(arguments, "task", "model", "experiment")
    known = Catalogue(config_dirs(arguments)).tables()
    lines: dict[str, Line] = {}
    for model, name in itertools.product(models or [None], tasks or known):
        own = [*others, *([] if model is None else [f"model={model}"])]
        try:
            config = configuration([f"task={name}", *own])
        except BenchError:
            if tasks:
                raise
            continue  # a task of the user's own need not have a data set in every suite
        task = Task(**{key: value for key, value in config["task"].items() if key != "_target_"})
        sought = experiments or task.table.get("experiments", ())
        cells = [cell for experiment in sought for cell in swept(experiment, [f"task={name}", *own])]
        lines |= _of_task(task, config, cells)
    if not tasks:
        lines |= {str(path): _older(path) for path in outdated(cells_folder(configuration(others)))}
    _estimate(list(lines.values()))
    return sorted(lines.values(), key=lambda line: (STATES.index(line.state), line.cell))


def _of_task(task: Task, config: Mapping[str, Any], sought: Sequence[Mapping[str, Any]]) -> dict[str, Line]:
    """The lines of a task's cells by the names of their files, those of missing ones by what they are.

    Args:
        sought: the configurations of the cells that are to be there.
    """
    folder, lines, there = cells_folder(config), {}, []
    for _, measurement in task.measurements():
        finished = list(results(folder, measurement.name))
        begun = list(unfinished(folder, measurement.name))
        lines |= {result.path.stem: _finished(result) for result in finished}
        lines |= {work.folder.name: _begun(work) for work in begun}
        known = {result.path.stem for result in finished} | {work.folder.name for work in begun}
        other = [cell for cell in announced(folder, measurement.name) if cell.id.stem not in known]
        other = [(cell, state) for cell in other if (state := _state_of(cell)) is not None]
        lines |= {cell.id.stem: _not_kept_yet(cell, state) for cell, state in other}
        there += [result.record for result in finished] + [work.plan for work in begun]
        there += [cell.described() for cell, _ in other]
    # One that is measured twice, under other settings, has two names.
    named = zip(task.measured_names(), task.measurements(), strict=True)
    sections = [(name, section, m) for name, (section, m) in named if m.needs_maps]
    on_board = entries_for(config)
    for cell in sought:
        for label, section, measurement in sections:
            own = {**wanted(cell, section), "method": recipe(component(cell["method"]))}
            if not any(_is(record, own, cell) for record in there):
                names = (
                    cell["dataset"]["name"],
                    cell["model"]["name"],
                    cell["method"]["name"],
                    cell["explained"],
                )
                record = {"kind": measurement.name, "names": names, "config": cell}
                lines[f"{label} {names}"] = _not_there(record, entry_with(on_board, cell, section))
    return lines


def _not_there(record: Mapping[str, Any], found: tuple[Entry, Part] | None) -> Line:
    """The line of a cell that is not in the store, with what the board has of it."""
    if found is None:
        return _line(record, "missing")
    entry, part = found
    line = _line(record, ON_BOARD)
    return replace(line, done=part.samples, samples=part.samples, seconds_left=0.0, note=str(entry.path))


def _is(record: Mapping[str, Any], sought: Mapping[str, Any], cell: Mapping[str, Any]) -> bool:
    """Whether a record is of the measurement, the method and the explained class that are sought."""
    own = recipe({key: value for key, value in record["identity"].items() if key in sought})
    if of_all(own) != of_all(sought) or not covers(own, size_of(sought)):
        return False
    return record["identity"].get("explained") in (ANY, cell["explained"])


def _finished(result: Result) -> Line:
    record = result.record
    samples = record["samples"] + len(record.get("skipped", ()))
    pace = record["samples"] / record["seconds"] if record.get("seconds") else None
    line = _line(record, "done")
    try:
        result.check()
    except BenchError as e:
        return replace(line, state="damaged", note=str(e))
    return replace(line, done=samples, samples=samples, per_second=pace, seconds_left=0.0)


def _state_of(cell: Cell) -> str | None:
    """Whether a process is at an unfinished cell, or the last one failed; None for neither."""
    if any(map(is_claimed, cell.shard_locks())):
        return "running"
    return "failed" if cell.failure() else None


def _not_kept_yet(cell: Cell, state: str) -> Line:
    """The line of a cell of which nothing is kept."""
    return replace(_line(cell.described(), state), note=cell.failure() or "")


def _begun(work: Work) -> Line:
    cell = _cell_of(work)
    parts = work.parts()
    missing = work.missing(parts)
    seconds = sum(part.origin["seconds"] for part in parts)
    pace = sum(len(part.rows) for part in parts) / seconds if seconds else None
    failure, state = cell.failure(), _state_of(cell) or "stopped"
    running = state == "running"
    note = (failure or work.in_words(missing)) if missing else "all is there; run it again to finish it"
    return replace(
        _line(work.plan, state),
        done=work.cut.samples - sum(missing.values()),
        samples=work.cut.samples,
        per_second=pace,
        seconds_left=sum(missing.values()) / pace if pace else None,
        note=work.in_words(missing) if running and missing else note,
    )


def _cell_of(work: Work) -> Cell:
    """The cell of a work folder, where that lies now."""
    plan = work.plan
    own = CellId(plan["kind"], plan["identity"], tuple(plan["names"]))
    return Cell(work.folder.parent.parent, own, plan["config"])


def _older(path: Path) -> Line:
    return Line(f"{path.parent.name}: {path.stem}", path.parent.name, None, None, OLDER, note=str(path))


def _line(record: Mapping[str, Any], state: str) -> Line:
    names, config = list(record["names"]), record["config"]
    method, explained = names[2:4] if len(names) > 3 else (None, None)
    label = (
        f"{record['kind']}: {method} ({explained}), {names[1]}" if method else f"{record['kind']}: {names[1]}"
    )
    return Line(
        f"{label} on {names[0]}",
        record["kind"],
        method,
        explained,
        state,
        protocol=protocol_label(config),
        model=names[1],
    )


def _estimate(lines: Sequence[Line]) -> None:
    """Add how long cells will take of which nothing is known: as long as those of the same method, or of any.

    All of the same model: another may be slower by any factor.
    """
    for line in lines:
        alike = [o for o in lines if (o.kind, o.model) == (line.kind, line.model) and o.samples]
        if line.seconds_left is not None or not alike:
            continue
        line.samples = line.samples or statistics.mode(other.samples for other in alike)
        same = [other.per_second for other in alike if other.method == line.method and other.per_second]
        paces = same or [other.per_second for other in alike if other.per_second]
        if paces:
            line.seconds_left = (line.samples - line.done) / statistics.median(paces)


def main(arguments: Sequence[str]) -> None:
    """Print the lines as a table, or as JSON."""
    lines = status([a for a in arguments if a != "--json"])
    if "--json" in arguments:
        tell(json.dumps([asdict(line) for line in lines], indent=1))
        return
    table = pd.DataFrame(
        [
            (
                line.state,
                line.cell,
                line.protocol,
                f"{line.done}/{'?' if line.samples is None else line.samples}",
                "" if line.per_second is None else f"{line.per_second:.3g}",
                "" if not line.seconds_left else str(timedelta(seconds=round(line.seconds_left))),
                line.note,
            )
            for line in lines
        ],
        columns=["state", "cell", "protocol", "samples", "per second", "left", ""],
    )
    show(table.to_markdown(index=False, disable_numparse=True))
    counts = {state: sum(line.state == state for line in lines) for state in STATES}
    known = [line.seconds_left for line in lines if line.seconds_left is not None]
    total = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    unknown = f", and {len(lines) - len(known)} cells of unknown cost" if len(known) < len(lines) else ""
    tell(f"\n{total}; left: {timedelta(seconds=round(sum(known)))} of one process{unknown}")
    for text in per_model(lines):
        tell(text)


def per_model(lines: Sequence[Line]) -> list[str]:
    """What is left of each model in words, where there are several."""
    models = sorted({line.model for line in lines if line.model})
    said = []
    for model in models if len(models) > 1 else ():
        own = [line for line in lines if line.model == model and line.state != "done"]
        known = [line.seconds_left for line in own if line.seconds_left is not None]
        unknown = f", and {len(own) - len(known)} of unknown cost" if len(known) < len(own) else ""
        left = timedelta(seconds=round(sum(known)))
        said.append(f"  {model}: {left} left in {len(own)} cells{unknown}" if own else f"  {model}: all done")
    return said
