"""The Parquet files of the board: per-sample scores and raw maps, and statistics of the former."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.board.facts import Number, Part
from bench.config import target_of
from bench.errors import BenchError
from bench.store.files import replace_file, sha256, writing
from metrics import Statistic

LARGEST = 200_000  # bytes of a file
REMEDY = "write it anew with tebench submit"


def slug(name: str) -> str:
    """A name as it stands in the name of a file."""
    return re.sub(r"[^\w-]+", "_", name, flags=re.ASCII).strip("_")


def ids_digest(ids: Sequence[str]) -> str:
    """The SHA-256 of a list of ids, in whatever order they come."""
    return hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest()


def save_table(folder: Path, name: str, rows: pd.DataFrame) -> tuple[str, str]:
    """Write a Parquet file of the board; returns its name and SHA-256.

    Raises:
        BenchError: if the folder cannot be written to.
    """
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    with writing(folder):
        # Bytes of equal rank side by side: so the exponents of numbers, which are alike, take little room.
        settings = {"compression": "zstd", "compression_level": 9, "use_dictionary": False}
        floats = [c for c in table.schema.names if pa.types.is_floating(table.schema.field(c).type)]
        lists = [f"{c}.list.element" for c in table.schema.names if _holds_floats(table.schema.field(c).type)]
        encoding = dict.fromkeys([*floats, *lists], "BYTE_STREAM_SPLIT")
        replace_file(
            folder / name, lambda path: pq.write_table(table, path, column_encoding=encoding, **settings)
        )
    return name, sha256(folder / name)


def _holds_floats(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and pa.types.is_floating(kind.value_type)


def read_table(path: Path, named: Sequence[str]) -> pd.DataFrame:
    """A Parquet file beside an entry.

    Args:
        path: of the entry's JSON file.
        named: the name of the file, and its SHA-256.

    Raises:
        BenchError: if the file is missing, or not the one that was written.
    """
    name, digest = named
    file = path.parent / name
    if Path(name).name != name:
        raise BenchError(f"{path}: {name} is not the name of a file beside it; {REMEDY}")
    if not file.is_file():
        raise BenchError(f"{file} is missing; {REMEDY}")
    if sha256(file) != digest:
        raise BenchError(f"{file} is not the file that {path.name} was written with (SHA-256); {REMEDY}")
    try:
        return pq.read_table(file).to_pandas()
    except (OSError, ValueError) as e:  # pyarrow's errors are kinds of these
        raise BenchError(f"{file} cannot be read ({e}); {REMEDY}") from e


def statistic(path: Path, part: Part, number: Number, rows: pd.DataFrame) -> Statistic:
    """A number of a part as a function of its column of per-sample rows.

    Raises:
        BenchError: if the column is missing, or is not what its metric is made of.
    """
    if number.column not in rows:
        raise BenchError(f"{path.parent / part.rows[0]} has no column {number.column}; {REMEDY}")
    ends = None if number.ends is None else np.array(number.ends, dtype=np.float64)
    try:
        if number.scale is not None:
            values = rows[number.column].to_numpy(dtype=np.float64)
            mean = Statistic.mean(values, number.scale, defined=np.isfinite(values))
            return replace(mean, ends=ends, proportion=number.proportion)
        section = part.metrics[number.metric].section
        if not section["_target_"].startswith("metrics."):  # what a file names is not imported
            raise ValueError(f"{section['_target_']} is none of the project's metrics")
        of_sums = target_of(f"metric {number.metric}", section).of_sums
        terms = np.stack(rows[number.column].to_list()).astype(np.float64)
        return Statistic(terms, of_sums, ends=ends)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise BenchError(
            f"{path.parent / part.rows[0]}: {number.column} is not what its metric is made of ({e}); {REMEDY}"
        ) from e
