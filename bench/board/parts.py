"""What finished cells say of each method, as parts of entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.board.entry import Entry
from bench.board.facts import Key, MetricFacts, Number, OfMethod, Part, Said, list_name
from bench.board.known import metric_section, reads_of, without_list
from bench.board.tables import LARGEST, ids_digest, save_table
from bench.catalogue import Catalogue, base_name, catalogue_of
from bench.config import target_of
from bench.errors import BenchError
from bench.report.shown import kept_maps
from bench.store.cells import Result, cells_folder, results
from bench.tables.select import Scored, Selection, select
from bench.tables.statistics import RESAMPLES, protocol_label
from metrics import Statistic, intervals

MAPS = ("id", "explained_class", "prefix", "map", "shape", "input_ids")  # columns of raw maps
CHOICES = ("dataset", "model")
DIGITS = 12  # of a digest in the name of a file of maps


@dataclass(frozen=True)
class Submission:
    """What one task says of one method, not written yet.

    Attributes:
        selection: of the finished cells.
        scored: the method.
        explained: the class.
        statistics: by metric and k.
        ids: of the samples, sorted.
    """

    selection: Selection
    scored: Scored
    explained: str
    statistics: Mapping[Key, Statistic] = field(repr=False)
    ids: Sequence[str] = field(repr=False)

    @property
    def made_of(self) -> Mapping[str, Any]:
        """The method's part of the identity."""
        return self.scored.method

    def entry(self, source: Mapping[str, str] | None) -> Entry:
        """The entry that it is a part of, without parts.

        Args:
            source: of the method's code (:func:`bench.board.origin.source_of`).
        """
        config, identity = self.selection.config, self._first.identity
        said = self._first.record["config"]
        return Entry(
            Said(config["dataset"]["name"], said["dataset"]["title"], without_list(identity["dataset"])),
            Said(config["model"]["name"], said["model"]["title"], identity["model"]),
            self._method(source),
            self.explained,
            (),
        )

    @property
    def _first(self) -> Result:
        return self.scored.own[0]

    def _method(self, source: Mapping[str, str] | None) -> OfMethod:
        one, said = self.scored, self._first.record["config"]["method"]
        facts = Catalogue().method(one.name) if Catalogue().file("method", one.name) else None
        return OfMethod(
            name=one.name,
            label=one.label,
            title=facts.title if facts else str(said.get("title") or one.name),
            kind=facts.kind if facts else str(said.get("kind", "method")),
            family=facts.family if facts else str(said.get("family", "other")),
            made_of=one.method,
            source=source,
            word_score=getattr(target_of("method", {"_target_": one.method["target"]}), "word_score", None),
        )

    def written(self, folder: Path, stem: str) -> Part:
        """The part, its rows and maps written to a folder.

        Args:
            stem: of the names of the entry's files.

        Raises:
            BenchError: if a file cannot be written, or the rows are larger than a board takes.
        """
        config, task, dataset = self.selection.config, self.selection.task, self._first.identity["dataset"]
        name = f"{stem}.{task.name}.{config['protocol']['name']}.parquet"
        rows = save_table(folder, name, self._rows())
        if (size := (folder / name).stat().st_size) > LARGEST:
            (folder / name).unlink()
            raise BenchError(
                f"{self.scored.label}: its per-sample rows take {size:,} bytes, and a board takes {LARGEST:,}; "
                "submit a list of fewer samples (limit=…)"
            )
        kept = kept_maps(config, self.scored)
        maps, note = _maps(folder, stem, kept)
        reads = reads_of(task)
        return Part(
            task=task.name,
            protocol=config["protocol"]["name"],
            version=config["protocol"]["version"],
            protocol_label=protocol_label(config),
            suite=config["suite"]["name"],
            choices=_choices(config),
            on=list_name(dataset["limit"], dataset["seed"]),
            seed=config["seed"],
            samples=len(self.ids),
            ids_sha256=ids_digest(self.ids),
            content=dataset["content"],
            inputs=config["task"]["inputs"],
            measurements={
                name: result.identity["measurement"] for name, result in self.scored.results.items()
            },
            metrics={name: self._facts(name, reads.get(name, [])) for name, _ in self.statistics},
            numbers=numbers_of(self.statistics, config["seed"]),
            cost=_cost((kept or self._first).record),
            checks=(kept or self._first).record.get("checks", {}),
            versions=self._first.record["versions"],
            rows=rows,
            maps=maps,
            note=note,
        )

    def _facts(self, name: str, reads: Sequence[str]) -> MetricFacts:
        task = self.selection.task
        metric = task.built_metrics()[name]
        family = str(task.table.get("family", task.name))
        direction = metric.higher_is_better
        section = metric_section(task, name)
        return MetricFacts(metric.title, metric.unit, direction, family, metric.version, section, reads)

    def _rows(self) -> pd.DataFrame:
        return rows_of(self.ids, self.statistics)


def submissions(
    config: Mapping[str, Any], methods: Sequence[str] | None = None, explained: str | None = None
) -> list[Submission]:
    """What a task says of each method, from finished cells.

    Args:
        config: a resolved configuration.
        methods: by their names; None for all that are finished.
        explained: only of this explained class; None for all.

    Raises:
        BenchError: if there is none, or the cells do not belong together.
    """
    found, problems = [], []
    for name in _finished(config) if methods is None else methods:
        try:
            selection = select(config, lambda other, name=name: other == name)
        except BenchError as e:
            problems.append(e)
            continue
        for one in selection.scored:
            if explained in (None, one.explained):
                found.append(_submission(selection, one))
    if problems and (methods is not None or not found):
        raise problems[0]
    if not found:
        raise BenchError(
            f"{config['task']['name']}: there is no finished cell under these conditions; run them first"
        )
    return found


def _finished(config: Mapping[str, Any]) -> list[str]:
    """The names of methods with finished cells of the data set and the model, ablations left out."""
    facts, source = catalogue_of(config), [config["dataset"]["name"], config["model"]["name"]]
    kinds = [
        path.name for path in sorted(cells_folder(config).glob("*")) if path.is_dir() and path.name != "maps"
    ]
    found = {
        record["names"][2]
        for kind in kinds
        for record in (result.record for result in results(cells_folder(config), kind))
        if record["names"][:2] == source and "method" in record["identity"]
    }
    return sorted(name for name in found if facts.method(base_name(name)).kind != "ablation")


def _submission(selection: Selection, one: Scored) -> Submission:
    if skipped := next((r.record["skipped"] for r in one.results.values() if r.record.get("skipped")), None):
        raise BenchError(
            f"{one.label}: {len(skipped)} samples were left out, as they could not be read ({skipped[0]}); "
            "a board takes all samples of a list"
        )
    statistics = selection.task.statistics(one.tables())
    ids = sorted(next(iter(one.results.values())).ids())
    if wrong := [key for key, statistic in statistics.items() if len(statistic.terms) != len(ids)]:
        raise BenchError(
            f"{one.label}: {wrong[0][0]} is of {len(statistics[wrong[0]].terms)} samples, of {len(ids)}"
        )
    for (metric, _), statistic in statistics.items():
        pooled = selection.task.built_metrics()[metric].of_sums
        if statistic.scale is None and pooled is None:
            raise BenchError(f"metric {metric}: a board takes means, and ratios that state their of_sums")
    return Submission(selection, one, one.explained, statistics, ids)


def rows_of(ids: Sequence[str], statistics: Mapping[Key, Statistic]) -> pd.DataFrame:
    """Per-sample rows: of a mean the number of each sample, NaN where it does not count; of a ratio its terms."""
    columns: dict[str, Any] = {"id": list(ids)}
    for (metric, k), statistic in statistics.items():
        name = f"{metric}@{k}" if k else metric
        if statistic.scale is None:
            columns[name] = list(np.asarray(statistic.terms, dtype=np.float64))
        else:
            columns[name] = np.where(statistic.terms[:, 1] > 0, statistic.terms[:, 0], np.nan)
    return pd.DataFrame(columns)


def numbers_of(statistics: Mapping[Key, Statistic], seed: int) -> dict[Key, Number]:
    """Numbers with their intervals, as tables have them."""
    low, high, kinds = intervals(list(statistics.values()), RESAMPLES, seed)
    found = {}
    for (key, statistic), *ends, kind in zip(statistics.items(), low, high, kinds, strict=True):
        shown = [float(x) if statistic.count else None for x in (statistic.value, *ends)]
        found[key] = Number(
            *key,
            *shown,
            interval=kind,
            samples=statistic.count,
            scale=statistic.scale,
            proportion=statistic.proportion,
            ends=None if statistic.ends is None else np.asarray(statistic.ends, dtype=float).tolist(),
        )
    return found


def _maps(folder: Path, stem: str, kept: Result | None) -> tuple[tuple[str, str] | None, str]:
    """The file of raw maps, and why there is none."""
    if kept is None:
        return None, "No maps are kept of it, so its scores cannot be recomputed."
    rows = kept.rows
    name = f"{stem}.maps-{kept.record['rows_sha256'][:DIGITS]}.parquet"
    saved = save_table(
        folder, name, rows[[c for c in MAPS if c in rows]].sort_values("id", ignore_index=True)
    )
    if (size := (folder / name).stat().st_size) > LARGEST:
        (folder / name).unlink()
        return (
            None,
            f"Its maps take {size:,} bytes, and a board takes {LARGEST:,}, so its scores cannot be recomputed.",
        )
    return saved, ""


def _cost(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seconds": (record.get("seconds_per_sample") or {}).get("explain"),
        "device": record.get("device"),
        "batch_size": record.get("batch_size"),
        "peak_memory_bytes": record.get("peak_memory_bytes"),
    }


def _choices(config: Mapping[str, Any]) -> dict[str, str]:
    """What the command line named beside suite, task, protocol and method."""
    given = [override.partition("=") for override in config["overrides"]]
    return {key: value for key, _, value in given if key in CHOICES}
