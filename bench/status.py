"""How far a suite is: ``python -m bench.status suite=small_real [protocol=clean task=segmentation --json]``.

Lists the cells of the suite's published tables and its ablation, and all others that are there: whether each
is done, running, failed, stopped or missing, how fast it goes and how long it will take. Takes the same
overrides as ``python -m bench``; nothing is run.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import pandas as pd

from bench.commands import command_line
from bench.config import configuration, swept
from bench.console import show
from bench.locks import is_claimed
from bench.numbers import TASKS, protocol_label
from bench.shards import Work, stored
from bench.store import Cell, protocol_of

EXPERIMENTS = {
    "perturbation": ("table1", "ablation_perturbation"),
    "segmentation": ("table2", "ablation_segmentation"),
    "token_f1": ("figure4",),
}
STATES = ("running", "failed", "stopped", "missing", "done")


@dataclass
class Line:
    """What is known about a cell.

    Attributes:
        cell: what it is.
        task, method, explained: of the cell.
        state: ``done``; ``running``, a process is at it; ``failed``, the last one ended with an error;
            ``stopped``, begun and left; ``missing``, not begun.
        done: samples that have a row, or were skipped.
        samples: of the cell; None if that is not known yet.
        per_second: samples, by one process, while it was computed.
        seconds_left: of one process, at this pace or at that of cells like it; None if there is none yet.
        note: what is missing, or why it failed.
        protocol: its name and version, and the settings that were changed.
    """

    cell: str
    task: str
    method: str
    explained: str
    state: str
    done: int = 0
    samples: int | None = None
    per_second: float | None = None
    seconds_left: float | None = None
    note: str = ""
    protocol: str = ""


def status(overrides: Sequence[str]) -> list[Line]:
    """The cells of a suite, in all tasks or those of the overrides; what is not done comes first.

    Raises:
        BenchError: for overrides that are none, or a damaged file.
    """
    tasks = [a.partition("=")[2] for a in overrides if a.startswith("task=")] or list(TASKS)
    others = [a for a in overrides if not a.startswith("task=")]
    lines: dict[str, Line] = {}
    for task in tasks:
        config = configuration([f"task={task}", *others])
        finished, unfinished = stored(config, task)
        lines |= {result.path.stem: _finished(result.record) for result in finished}
        lines |= {work.folder.name: _begun(work) for work in unfinished}
        expected = [c for experiment in EXPERIMENTS[task] for c in swept(experiment, others)]
        for cell in map(Cell, expected):
            if cell.work_folder.name not in lines:
                lines[cell.work_folder.name] = _not_begun(cell)
    _estimate(list(lines.values()))
    return sorted(lines.values(), key=lambda line: (STATES.index(line.state), line.cell))


def _finished(record: dict[str, Any]) -> Line:
    samples = record["samples"] + len(record.get("skipped", ()))
    pace = record["samples"] / record["seconds"] if record.get("seconds") else None
    note = f"rows of {record['rows_of']}" if "rows_of" in record else ""
    return _line(Cell(record["config"]), "done", samples, samples, pace, 0.0, note)


def _begun(work: Work) -> Line:
    cell = Cell(work.plan["config"])
    parts = work.parts()
    missing = work.missing(parts)
    seconds = sum(part.origin["seconds"] for part in parts)
    pace = sum(len(part.rows) for part in parts) / seconds if seconds else None
    failure = cell.failure()
    running = _is_running(cell)
    state = "running" if running else "failed" if failure else "stopped"
    done = work.cut.samples - sum(missing.values())
    note = (failure or work.in_words(missing)) if missing else "all is there; run it again to put it together"
    left = sum(missing.values()) / pace if pace else None
    return _line(cell, state, done, work.cut.samples, pace, left, work.in_words(missing) if running else note)


def _not_begun(cell: Cell) -> Line:
    failure = cell.failure()
    state = "running" if _is_running(cell) else "failed" if failure else "missing"
    return _line(cell, state, note=failure or "")


def _is_running(cell: Cell) -> bool:
    return any(map(is_claimed, cell.shard_locks()))


def _line(
    cell: Cell,
    state: str,
    done: int = 0,
    samples: int | None = None,
    per_second: float | None = None,
    seconds_left: float | None = None,
    note: str = "",
) -> Line:
    c = cell.config
    names = (str(cell), c["task"]["name"], c["method"]["name"], c["explained"])
    protocol = protocol_label(protocol_of(c))
    return Line(*names, state, done, samples, per_second, seconds_left, note, protocol)


def _estimate(lines: Sequence[Line]) -> None:
    """How long cells will take of which nothing is known: as long as those of the same method, or of any."""
    for line in lines:
        alike = [other for other in lines if other.task == line.task and other.samples]
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
        print(json.dumps([asdict(line) for line in lines], indent=1))
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
    print(f"\n{total}; left: {timedelta(seconds=round(sum(known)))} of one process{unknown}")


if __name__ == "__main__":
    command_line(main)
