"""The rows of some samples of a cell, saved while the cell is computed; and what parts come to together."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import BenchError
from bench.files import replace_file
from bench.sanity import COUNTS

POSITION = "position"
DAMAGED = (OSError, ValueError, KeyError, TypeError)  # what reading a damaged part may raise
_KEY = b"bench"  # of the description in the metadata of the Parquet file


@dataclass(frozen=True)
class Part:
    """Some samples of a shard.

    Attributes:
        rows: one per sample; its place among all samples of the cell is in the column ``position``.
        skipped: by position, why a sample has no row.
        origin: what the rows were computed with, and how long it took.
    """

    rows: pd.DataFrame
    skipped: Mapping[int, str]
    origin: Mapping[str, Any]

    @property
    def positions(self) -> set[int]:
        """Of the samples that have a row."""
        return set(self.rows[POSITION].tolist())

    def done(self, skipping: bool) -> set[int]:
        """The positions that need not be looked at again; ``skipping``: also those that were skipped."""
        return self.positions | set(self.skipped) if skipping else self.positions

    def write(self, path: Path) -> None:
        """To a Parquet file, aside first.

        Raises:
            OSError: if it cannot be written.
        """
        table = pa.Table.from_pandas(self.rows, preserve_index=False)
        described = json.dumps({"skipped": list(self.skipped.items()), "origin": self.origin})
        table = table.replace_schema_metadata({_KEY: described})
        replace_file(path, lambda aside: pq.write_table(table, aside))

    @classmethod
    def read(cls, path: Path) -> "Part":
        """Raises one of :data:`DAMAGED` if the file is not whole."""
        table = pq.read_table(path)
        described = json.loads((table.schema.metadata or {})[_KEY])
        rows = table.replace_schema_metadata(None).to_pandas()
        return cls(rows.astype({POSITION: "int64"}), dict(described["skipped"]), described["origin"])


def rows_of(parts: Iterable[Part]) -> pd.DataFrame:
    """The rows of parts in the order of their samples, one for each."""
    tables = [pa.Table.from_pandas(part.rows, preserve_index=False) for part in parts if len(part.rows)]
    rows = pa.concat_tables(tables, promote_options="permissive").replace_schema_metadata(None).to_pandas()
    return rows.drop_duplicates(POSITION).sort_values(POSITION, ignore_index=True)


def skipped_by(parts: Sequence[Part]) -> dict[int, str]:
    """By position, why samples have no row in any of the parts."""
    done = set().union(*(part.positions for part in parts))
    return {p: why for part in parts for p, why in part.skipped.items() if p not in done}


def origin_of(parts: Sequence[Part]) -> dict[str, Any]:
    """What the parts were computed with and what they cost, as the record of their cell says it.

    Raises:
        BenchError: if the weights were not the same in all.
    """
    origins = [part.origin for part in parts]
    last = origins[-1]
    if any(o["checkpoint_sha256"] != last["checkpoint_sha256"] for o in origins):
        raise BenchError("model: parts of a cell were computed with different weights; use rerun=true")
    samples = sum(len(part.rows) for part in parts)
    seconds = {
        phase: round(sum(o["seconds_by_phase"][phase] for o in origins) / max(samples, 1), 6)
        for phase in last["seconds_by_phase"]
    }
    origin = {
        "checkpoint_sha256": last["checkpoint_sha256"],
        "device": ", ".join(sorted({o["device"] for o in origins})),
        "seconds": round(sum(o["seconds"] for o in origins), 3),
        "seconds_per_sample": seconds,
        "batch_size": last["batch_size"],
        "peak_memory_bytes": max(o["peak_memory_bytes"] for o in origins),
        "versions": last["versions"],
        "sanity": _sanity([o["sanity"] for o in origins]),
    }
    others = []
    for o in origins:
        if o["versions"] not in (last["versions"], *others):
            others.append(o["versions"])
    if others:  # e.g. a run that was killed and went on after an update
        origin["other_versions"] = others
    if skipped := skipped_by(parts):
        origin["skipped"] = [skipped[p] for p in sorted(skipped)]
    return origin


def _sanity(findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was found in all parts: how often, or at most."""
    total: dict[str, Any] = {"thorough": all(found["thorough"] for found in findings)}
    for found in findings:
        for name, value in found.items():
            if name in COUNTS:
                total[name] = total.get(name, 0) + value
            elif name != "thorough":
                total[name] = max(total.get(name, 0.0), value)
    return total
