"""Run one explanation with all that a task measures of it, or one shard of that."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.cli import progress, say, tell
from bench.config import DESCRIPTION, build
from bench.data.samples import Limited, Subset
from bench.errors import BenchError
from bench.runner import tracking
from bench.runner.batches import block
from bench.runner.claims import Wanted, claims, is_of_maps, is_shared_work
from bench.runner.finished import in_words
from bench.runner.foreign import ForeignMaps
from bench.runner.identities import Source, is_embedded, maps_id, measurement_id
from bench.runner.loop import Filled, fill
from bench.runner.records import origin_of
from bench.runner.settings import check
from bench.store.blocks import Cut, Work, merge, skipped_by
from bench.store.cells import Cell, KeptMaps, cells_folder
from bench.store.files import BusyError, claimed, is_claimed
from bench.store.identity import differences
from bench.store.subsets import first, stored
from bench.tasks import Measurement, Oracle, Task, Variant


@dataclass(frozen=True)
class Plan:
    """What a run is to fill.

    Attributes:
        task, method, dataset: built from the configuration; the data set without what ``limit`` and ``subset`` leave
            out.
        source: data set and model, with what identifies them.
        identity: that of the source, when the run began.
        maps: the cells of the explanations, by their variant (None: the plain one).
        measured: the cell of each measurement.
    """

    config: Mapping[str, Any]
    task: Task
    method: Any
    dataset: Any
    source: Source
    identity: Mapping[str, Any]
    maps: Mapping[Variant | None, Cell]
    measured: Sequence[tuple[Measurement, Cell]]

    @classmethod
    def of(cls, config: Mapping[str, Any], model: Any = None) -> "Plan":
        """Build from a resolved configuration.

        Args:
            model: that of the configuration, if it is built already.

        Raises:
            BenchError: for everything the user can mend.
        """
        task = build("task", config["task"], description={"_target_"})
        method = build("method", config["method"])
        dataset = dataset_of(config)
        _check_labelled(config, task, dataset)
        source = Source(config, dataset, model)
        with progress("reading the data for their digest", len(dataset), "sample") as advance:
            identity = source.identity(lambda done, total: advance(len(dataset) / total))
        folder, measured, variants = cells_folder(config), [], [None]
        for section, measurement in task.measurements():
            _check_section(task, section, measurement)
            cell_id = measurement_id(identity, config, method, section, measurement)
            if same := [known for known, cell in measured if cell.id == cell_id]:
                raise BenchError(
                    f"task: {measurement} and {same[0]} would be one cell; what tells them apart must be settings with "
                    f"other names than {', '.join(sorted(DESCRIPTION))}"
                )
            measured.append((measurement, Cell(folder, cell_id, config)))
            variants += [variant for variant in measurement.variants if variant not in variants]
        maps = {v: Cell(folder, maps_id(identity, config, method, v), config) for v in variants}
        return cls(config, task, method, dataset, source, identity, maps, measured)

    @property
    def skipping(self) -> bool:
        """Whether samples that cannot be read are left out."""
        return self.config["on_bad_sample"] == "skip"

    def __str__(self) -> str:
        config = self.config
        return f"{self.task.name}: {config['method']['name']} ({config['explained']}), {config['model']['title']}"

    def cells(self) -> list[Cell]:
        """All cells of the plan."""
        return [*self.maps.values(), *(cell for _, cell in self.measured)]

    def wanted(self) -> list[Wanted]:
        """The cells that are not finished as they are asked for: maps to keep, then measurements."""
        missing = [(m, None, cell) for m, cell in self.measured if not self._is_finished(cell)]
        if self.config["keep"] == "none" or isinstance(self.method, Oracle):
            return missing
        if self.config["keep"] == "pixels":
            made = set(self.maps)
        else:  # those that are made in any case
            made = {variant for measurement, *_ in missing for variant in measurement.variants}
            made |= {None for measurement, *_ in missing if measurement.needs_maps}
        # First, so that a run that is killed leaves no measurement finished whose maps are not.
        maps = [(None, v, cell) for v, cell in self.maps.items() if v in made]
        return [entry for entry in maps if not self._is_finished(entry[2])] + missing

    def _is_finished(self, cell: Cell) -> bool:
        # Beside what a restarted job began anew lies what it is to replace.
        outdated = self.config["rerun"] and (not is_restarted() or cell.work_folder.exists())
        if outdated or (result := stored(cell)) is None:
            return False
        return self.skipping or not result.record.get("skipped")


def run(config: Mapping[str, Any]) -> dict[str, float] | None:
    """Compute what a resolved configuration asks for, or its shard, and keep it.

    What is there of it already is not computed again.

    Returns:
        Its metrics; None if all was there already, is not finished yet, or another process is at it.

    Raises:
        BenchError: for everything the user can mend.
    """
    check(config)
    plan = Plan.of(config)
    if not (wanted := plan.wanted()):  # what is finished needs no lock, so results may be read-only
        return done_already(plan)
    # A job that was restarted elsewhere waits until the system has noticed that its first node is lost.
    wait = config["on_busy"] == "wait" or is_restarted()
    shared = [entry for entry in wanted if is_shared_work(entry[0])]
    own = [entry for entry in wanted if not is_shared_work(entry[0])]
    outcomes: list[bool | None] = []
    try:
        # What all methods share comes first, so that they have it soon. What another process is at of that comes last:
        # then it is there, or nearly so.
        with claims(config, shared, wait=False, passing_over=True) as held:
            outcomes.append(_filled(plan, held))
        with claims(config, own, wait) as held_own:
            outcomes.append(_filled(plan, held_own))
        passed_over = [entry for entry in shared if entry[2].id.stem not in held]
        with claims(config, passed_over, wait) as held_last:
            outcomes.append(_filled(plan, held_last))
    except BusyError as e:
        say(f"{plan}: left to {e}")
        return None
    if not any(outcomes):
        return done_already(plan) if False not in outcomes else None
    if any(stored(cell) is None for _, cell in plan.measured):
        return None
    tell(f"{plan} on {in_words(config, plan.task, _rows(plan))}")
    summary = plan_summary(plan)
    tracking.log(plan, summary)  # nobody waits for this: the cells are free again
    return summary


def _filled(plan: Plan, held: set[str]) -> bool | None:
    """Fill the cells that are still wanted, and finish those that then lack nothing.

    Args:
        held: the stems of the cells that this process has claimed.

    Returns:
        Whether all of these are finished; None if none was wanted any more.
    """
    if not held:
        return None
    config = plan.config
    before = {cell.id.stem: cell.written_at() for cell in plan.cells()}
    # Again: another process may have finished some while this one waited.
    wanted = [entry for entry in plan.wanted() if entry[2].id.stem in held]
    if not wanted:
        _tidy(plan, held)
        return None
    filled = [_begun(plan, *entry) for entry in wanted]
    _keep_what_is_made(filled, config)
    if any(one.left for one in filled):
        kept, known = _kept(plan, filled), _known(plan)
        model = plan.source.model()
        _check_loaded(plan, model)
        if _needed(filled) and _needed(filled) <= kept.keys():
            say(f"{plan}: maps are kept already, nothing is explained again")
        fill(config, [one for one in filled if one.left], plan.dataset, model, plan.method, kept, known)
        _check_unchanged(plan, filled)
    finished = [(one, _finish(one, plan, before[one.cell.id.stem])) for one in filled]
    _tidy(plan, held)
    return all(done for one, done in finished if one.measurement is not None)


def _begun(plan: Plan, measurement: Measurement | None, variant: Variant | None, cell: Cell) -> Filled:
    """Begin a cell, or go on with it.

    What several processes may be at, as none claims it, is kept in one shard, however they share the samples.
    """
    config, claimed_alone = plan.config, is_of_maps(measurement)
    own = Cut(len(plan.dataset), config["shards"], block(config))
    cut, shard = (own, config["shard"]) if claimed_alone else (Cut(own.samples, 1, own.block), 0)
    anew = config["rerun"] and not is_restarted()
    with _alone(cell):
        if anew and claimed_alone:
            if _is_shared(cell, config):
                raise BenchError(f"rerun=true: {cell} is being computed in other shards; wait for them")
            Work(cell.work_folder, {}).forget()
        work = Work.begin(cell, cut)
    left = set(own.positions(config["shard"]))
    if claimed_alone or not anew:
        left &= set(work.left(shard, plan.skipping))
    return Filled(cell, work, shard, left, measurement, variant)


def _keep_what_is_made(filled: Sequence[Filled], config: Mapping[str, Any]) -> None:
    """Let samples that are measured already not be explained again for maps of which none is kept.

    These are maps of pixels, which are not kept unless ``keep=pixels`` asks for it.
    """
    if config["keep"] == "pixels":
        return
    explained = set().union(*(one.left for one in filled if one.measurement is not None and one.explanations))
    for one in filled:
        if one.measurement is None and not one.left <= explained and not one.work.has_rows(one.shard):
            one.left &= explained


def _needed(filled: Sequence[Filled]) -> set[Variant | None]:
    """The explanations whose maps are needed."""
    return {variant for one in filled if one.left for variant in one.explanations}


def done_already(plan: Plan) -> None:
    """Say of a plan of which nothing is wanted where it is, and remove what is left of the work."""
    of_method = [cell for measurement, cell in plan.measured if measurement.needs_maps]
    for cell in of_method or plan.cells():
        if (result := stored(cell)) is not None:
            tell(f"{plan}: done already ({result.path}); rerun=true computes it again")
    _tidy(plan)


def _tidy(plan: Plan, held: Collection[str] = ()) -> None:
    """Remove what is left of finished cells: whoever finished one may have been killed before removing it."""
    for cell in plan.cells():
        if cell.work_folder.exists() and cell.record_file.exists():
            with _alone(cell):
                own = plan.config if cell.id.stem in held else None
                if cell.is_done() and not _is_shared(cell, own):
                    Work(cell.work_folder, {}).forget()


def _finish(one: Filled, plan: Plan, before: int | None) -> bool:
    """Write a cell if nothing of it is missing, and nobody has written it since the run began.

    Returns:
        Whether the cell is finished.
    """
    cell, config = one.cell, plan.config
    with _alone(cell):
        if cell.written_at() != before:
            one.work.forget()
            if one.measurement is not None and one.measurement.needs_maps:
                say(f"{plan}: another process has finished it meanwhile")
            return True
        parts = one.work.parts()
        if one.measurement is None and not any(len(part.rows) for part in parts):
            if one.unkept:
                one.work.forget()
            return True  # of pixels, or none of this shard's
        if missing := one.work.missing(parts, plan.skipping):
            if not is_of_maps(one.measurement) and cell.is_done():  # another process has begun it anew, too
                return True
            say(f"{cell}: shard {config['shard']} is done; {one.work.in_words(missing)}")
            return False
        record = {**origin_of(parts), "seed": config["seed"]}
        if isinstance(plan.method, ForeignMaps):
            record["note"] = plan.method.note()
        if skipped := skipped_by(parts):
            record["skipped"] = skipped
        cell.write(merge(parts), record)
        if config["rerun"]:
            for sibling in cell.siblings():
                say(
                    f"{sibling.path}: replaced, as rerun=true was given and only data, weights or code differ"
                )
                sibling.remove()
        one.work.forget()
    return True


def _kept(plan: Plan, filled: Sequence[Filled]) -> dict[Variant | None, KeptMaps]:
    """The finished explanations, to take maps from."""
    being_made = {one.cell.id.stem for one in filled if one.measurement is None}
    if plan.config["rerun"]:
        return {}
    found = {v: stored(cell) for v, cell in plan.maps.items() if cell.id.stem not in being_made}
    return {variant: KeptMaps(result) for variant, result in found.items() if result is not None}


def _known(plan: Plan) -> dict[str, int]:
    """The predicted classes that are stored, by the ids of the samples."""
    for measurement, cell in plan.measured:
        if measurement.name != "predictions" or plan.config["rerun"]:
            continue
        if (result := stored(cell)) is not None:
            return dict(zip(result.rows["id"], result.rows["predicted"].tolist(), strict=True))
    return {}


def _check_loaded(plan: Plan, model: Any) -> None:
    """Raises BenchError if the loaded weights are not those whose digest the cells have."""
    if lines := differences(plan.identity["model"]["content"], model.content):
        raise BenchError(f"model: its files changed while the run began ({'; '.join(lines)}); start again")


def _check_unchanged(plan: Plan, filled: Sequence[Filled]) -> None:
    """Raises BenchError if the data are not those that the run began with; then it keeps nothing."""
    now = Source(plan.config, dataset_of(plan.config), plan.source.model()).identity()
    if lines := differences(plan.identity["dataset"], now["dataset"]):
        for one in filled:
            one.work.forget_shard(one.shard)
        raise BenchError(
            f"dataset: it changed while it was explained ({'; '.join(lines)}); what was computed is discarded. "
            "Start again when nobody writes to it"
        )


def plan_summary(plan: Plan) -> dict[str, float]:
    """The metrics of a plan whose measurements are all finished: ``name``, or ``name@k`` for each k."""
    return plan.task.summary(_rows(plan))


def _rows(plan: Plan) -> dict[str, pd.DataFrame]:
    """The rows of a plan whose measurements are all finished, by the names of the measurements."""
    rows = [stored(cell).rows for _, cell in plan.measured]
    return dict(zip(plan.task.measured_names(), rows, strict=True))


def dataset_of(config: Mapping[str, Any]) -> Any:
    """The data set, or the samples of it that ``limit`` draws with the seed, or the first ``subset`` of either.

    Raises:
        BenchError: if it is missing, damaged or empty.
    """
    whole, subset = _limited(config), config.get("subset")
    if subset is None or subset >= len(whole):
        return whole
    chosen = first(whole.ids, subset)
    return Subset(whole, [place for place, name in enumerate(whole.ids) if name in chosen])


def _limited(config: Mapping[str, Any]) -> Any:
    """The data set, or the samples of it that ``limit`` draws with the seed."""
    if is_embedded(config):
        from bench.embedded.make import ensure

        ensure(Path(config["paths"]["embedded"]))
    dataset = build("dataset", config["dataset"])
    if not len(dataset):
        raise BenchError("dataset: it has no samples")
    if config["limit"] is None or config["limit"] >= len(dataset):
        return dataset
    drawn = np.random.default_rng(config["seed"]).choice(len(dataset), config["limit"], replace=False)
    return Limited(dataset, sorted(drawn.tolist()))


def _check_section(task: Task, section: Mapping[str, Any], measurement: Measurement) -> None:
    """Raises BenchError if a section, by which a measurement's cells are known, would make another measurement."""
    described = build("measurement", section)
    if type(described) is not type(measurement) or (is_dataclass(described) and described != measurement):
        raise BenchError(
            f"task: {type(task).__name__}.measurements() gives {measurement} with a section that makes "
            f"{described}; expected a section (_target_ and settings) that makes the same"
        )


def is_restarted() -> bool:
    """Whether this is a job that a cluster began before, and that was preempted or lost its node."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0


def _check_labelled(config: Mapping[str, Any], task: Task, dataset: Any) -> None:
    """Raises BenchError if annotated classes are needed and the data set is known to have none."""
    labels = getattr(dataset, "labels", None)
    if labels is None or None not in labels:
        return
    if config["explained"] == "target":
        raise BenchError("explained=target: this data set has no annotated classes; use explained=predicted")
    if task.needs_labels():
        raise BenchError(f"dataset: task={task.name} compares with annotated classes, and it has none")


def _alone(cell: Cell):
    """Exclusive lock for the short moments in which a cell is started or finished."""
    return claimed(cell.lock_file("whole"), wait=True)


def _is_shared(cell: Cell, config: Mapping[str, Any] | None) -> bool:
    """Whether another process is at a shard of the cell, however that was cut.

    Args:
        config: under which this process holds a shard of it; None if it does not.
    """
    own = None if config is None else cell.lock_file(f"{config['shard']}-of-{config['shards']}")
    return any(is_claimed(lock) for lock in cell.shard_locks() if lock != own)
