"""Run one cell, or one shard of it."""

import os
import shutil
from typing import Any

import pandas as pd

from bench import maps, tracking
from bench.batches import block
from bench.compute import compute, dataset_of
from bench.config import build
from bench.console import say
from bench.errors import BenchError
from bench.locks import BusyError, claimed, is_claimed
from bench.settings import check
from bench.shards import Cut, Work, together
from bench.store import Cell


def run(config: dict[str, Any]) -> dict[str, float] | None:
    """Compute a cell, or its shard, as the resolved configuration says, and keep it.

    What is there of it already is not computed again.

    Returns:
        Its metrics; None if it was finished already, is not finished yet, or another process is at it.

    Raises:
        BenchError: for everything the user can mend.
    """
    check(config)
    cell = Cell(config)
    shard = _shard(config)
    try:
        # A job that was restarted elsewhere waits until the system has noticed that its first node is lost.
        wait = config["on_busy"] == "wait" or _is_restarted()
        with claimed(cell.lock_file(shard), wait), cell.failures(shard):
            return _run(cell)
    except BusyError as e:
        say(f"{cell}: left to {e}")
        return None


def _run(cell: Cell) -> dict[str, float] | None:
    config = cell.config
    if _is_finished(cell):
        with _alone(cell):
            if not _is_shared(cell):  # whoever finished the cell may have been killed before doing it
                Work(cell.work_folder, {}).forget()
        print(f"{cell}: done already ({cell.record_file})")
        return None
    before = cell.written_at()
    method, task = build("method", config["method"]), build("task", config["task"])
    if (twin := _twin(cell, method)) is not None:
        return _copied(cell, task, *twin)
    dataset = dataset_of(config)
    with _alone(cell):
        if cell.written_at() != before:
            return _finished_by_another(cell)
        if _anew(config):
            if _is_shared(cell):
                raise BenchError(f"rerun=true: {cell} is being computed in other shards; wait for them")
            Work(cell.work_folder, {}).forget()
        work = Work.begin(cell, Cut(len(dataset), config["shards"], block(config)))
    shard = work.shard(config["shard"])
    done = set().union(*(part.done(_skipping(config)) for part in shard.parts()))
    if left := [p for p in shard.positions if p not in done]:
        compute(cell, method, task, dataset, left, lambda part: work.keep(shard, part))
    return _finish(cell, work, task, before)


def _finish(cell: Cell, work: Work, task, before: int | None) -> dict[str, float] | None:
    """Write the cell if nothing of it is missing, and nobody has written it since the run began."""
    with _alone(cell):
        if cell.written_at() != before:
            work.forget()
            return _finished_by_another(cell)
        parts = work.parts()
        if missing := work.missing(parts, _skipping(cell.config)):
            say(f"{cell}: shard {cell.config['shard']} is done; {work.in_words(missing)}")
            return None
        rows, origin = together(parts)
        if "map" in rows:
            ids, contents = rows["id"].tolist(), rows.pop("map")
            cell.write_maps(lambda path: maps.write(path, ids, contents))
        summary = _written(cell, task, rows, origin)
        work.forget()
    return summary


def _finished_by_another(cell: Cell) -> None:
    say(f"{cell}: another process has finished it meanwhile")


def _copied(cell: Cell, task, twin: Cell, rows: pd.DataFrame, origin: dict[str, Any]) -> dict[str, float]:
    """Write the cell with the rows, and if asked the maps, of its twin."""
    with _alone(cell):
        if cell.config["save_maps"] and twin.maps_file.exists():
            cell.write_maps(lambda path: shutil.copyfile(twin.maps_file, path))
        summary = _written(cell, task, rows, origin)
        Work(cell.work_folder, {}).forget()
    return summary


def _written(cell: Cell, task, rows: pd.DataFrame, origin: dict[str, Any]) -> dict[str, float]:
    summary = {name: statistic.value for name, statistic in task.statistics(rows).items()}
    record = {"metrics": summary, "samples": len(rows), "seed": cell.config["seed"], **origin}
    cell.write(rows, record)
    tracking.log(cell, record, rows)
    last_k = {name.partition("@")[0]: name for name in summary}.values()
    print(f"{cell}: " + ", ".join(f"{name} {summary[name]:.4g}" for name in last_k))
    return summary


def _alone(cell: Cell):
    """While a cell is begun or written, which takes a moment, no other process does either."""
    return claimed(cell.lock_file("whole"), wait=True)


def _is_shared(cell: Cell) -> bool:
    """Whether another process is at a shard of the cell, however that was cut."""
    own = cell.lock_file(_shard(cell.config))
    return any(is_claimed(lock) for lock in cell.shard_locks() if lock != own)


def _shard(config: dict[str, Any]) -> str:
    return f"{config['shard']}-of-{config['shards']}"


def _is_finished(cell: Cell) -> bool:
    # Beside what a restarted job began anew lies what it is to replace.
    outdated = cell.config["rerun"] and (not _is_restarted() or cell.work_folder.exists())
    return not outdated and _as_asked(cell) and cell.is_done()


def _anew(config: dict[str, Any]) -> bool:
    """Whether to compute again what is there. A job that a cluster restarts goes on with what it began."""
    return config["rerun"] and not _is_restarted()


def _is_restarted() -> bool:
    """Whether this is a job that a cluster began before, and that was preempted or lost its node."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0


def _skipping(config: dict[str, Any]) -> bool:
    return config["on_bad_sample"] == "skip"


def _as_asked(cell: Cell) -> bool:
    """Whether a finished cell has everything that is asked for: its maps, findings on them, all samples."""
    config = cell.config
    if not cell.record_file.exists():
        return False
    if config["save_maps"] and not cell.maps_file.exists() and config["method"]["name"] != "oracle":
        return False
    try:
        record = cell.result().record
    except BenchError as e:
        say(str(e))
        return False
    if config["sanity"] and not record.get("sanity", {}).get("thorough", False):
        return False
    return _skipping(config) or not record.get("skipped")


def _twin(cell: Cell, method) -> tuple[Cell, pd.DataFrame, dict[str, Any]] | None:
    """A finished cell that differs in the explained class alone, where the maps do not.

    With it come the rows of this cell, and what they were computed with. So a method that does not depend on
    the class runs once for both.
    """
    config = cell.config
    other = {"predicted": "target", "target": "predicted"}[config["explained"]]
    twin = Cell(config | {"explained": other})
    if getattr(method, "class_specific", True) or config["rerun"] or not _is_finished(twin):
        return None
    result = twin.result()
    rows = result.rows
    classes = {"predicted": "predicted", "target": "label"}[config["explained"]]
    if classes not in rows or rows[classes].isna().any():
        return None
    carried = ("checkpoint_sha256", "device", "versions", "other_versions", "sanity", "skipped")
    origin = {key: result.record[key] for key in carried if key in result.record}
    origin |= {"seconds": 0.0, "rows_of": twin.rows_file.name}
    return twin, rows.assign(explained_class=rows[classes]), origin
