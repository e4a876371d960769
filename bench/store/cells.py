"""The result store: for each cell a Parquet file with a row per sample beside a JSON file, its record.

``results/<suite>/cells/<kind>/<dataset>--<model>--<method>--<explained>--<fingerprint>.{parquet,json}``. The kind
is ``maps`` for an explanation, else the name of a measurement. The fingerprint is of the cell's identity, so what
has the same identity is done, and what has another is another cell, wherever its files lie. The record is written
last and has the SHA-256 of the rows: without both there is no cell. What is kept of a cell until then is in
:mod:`bench.store.blocks`.
"""

import glob
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cli import say
from bench.errors import BenchError
from bench.store.files import BusyError, read_json, replace_file, sha256, write_text, writing
from bench.store.identity import CellId, recipe

FORMAT = 3  # rises when the files change their meaning; cells of another format are not read
TOGETHER = 64  # rows of a Parquet row group, so that maps can be read one after the other


@dataclass(frozen=True)
class Cell:
    """A place in the store for a cell.

    Attributes:
        folder: ``results/<suite>/cells``.
        id: what the cell is.
        config: the resolved configuration under which it is computed; for people and for status.
    """

    folder: Path
    id: CellId
    config: Mapping[str, Any] = field(repr=False)

    @property
    def _path(self) -> Path:
        return self.folder / self.id.kind / self.id.stem

    @property
    def rows_file(self) -> Path:
        """The Parquet file."""
        return self._path.with_name(f"{self.id.stem}.parquet")

    @property
    def record_file(self) -> Path:
        """The JSON file."""
        return self._path.with_name(f"{self.id.stem}.json")

    @property
    def work_folder(self) -> Path:
        """Where the cell is kept until it is finished."""
        return self._path

    def lock_file(self, name: str) -> Path:
        """What a process holds while it is at some part of the cell."""
        return self._path.parent / ".locks" / f"{self.id.fingerprint}.{name}.lock"

    def shard_locks(self) -> list[Path]:
        """The lock files of all shards that were ever begun, however the cell was cut."""
        return sorted(self.lock_file("").parent.glob(f"{self.id.fingerprint}.*-of-*.lock"))

    @contextmanager
    def failures(self, name: str) -> Iterator[None]:
        """Note for :meth:`failure` why some part of the cell failed, until it does not any more."""
        file = self.lock_file(name).with_suffix(".failed")
        with suppress(OSError):
            file.unlink(missing_ok=True)
        try:
            yield
        except BusyError:
            raise
        except Exception as e:
            with suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{type(e).__name__}: {e}" if not isinstance(e, BenchError) else str(e))
            raise

    def announce(self, name: str) -> None:
        """Let status know what a process is at before any of it is kept."""
        with suppress(OSError):
            self.lock_file(name).with_suffix(".cell").write_text(json.dumps(self.described(), default=str))

    def failure(self) -> str | None:
        """Why the cell failed when it was run last; None if it did not."""
        files = sorted(self.lock_file("").parent.glob(f"{self.id.fingerprint}.*.failed"))
        return files[0].read_text() if files else None

    def __str__(self) -> str:
        return str(self.id)

    def written_at(self) -> int | None:
        """When the cell was finished, to compare with; None if it is not."""
        try:
            return self.record_file.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def is_done(self) -> bool:
        """Whether both files are there and whole; a damaged one is reported."""
        if not (self.record_file.exists() and self.rows_file.exists()):
            return False
        try:
            self.result().check()
        except BenchError as e:
            say(str(e))
            return False
        return True

    def result(self) -> "Result":
        """What a finished cell holds.

        Raises:
            BenchError: if its JSON file is damaged.
        """
        return Result.read(self.record_file)

    def described(self) -> dict[str, Any]:
        """What the cell is: of its record all that does not come from computing it."""
        return {
            "format": FORMAT,
            "kind": self.id.kind,
            "names": list(self.id.names),
            "identity": self.id.identity,
            "config": self.config,
        }

    def write(self, rows: pd.DataFrame, record: Mapping[str, Any]) -> None:
        """Keep a finished cell.

        Raises:
            BenchError: if the results folder cannot be written to.
        """
        table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
        with writing(self.rows_file.parent):
            replace_file(self.rows_file, lambda path: pq.write_table(table, path, row_group_size=TOGETHER))
            whole = {"rows_sha256": sha256(self.rows_file), "samples": len(rows)}
            text = json.dumps(self.described() | dict(record) | whole, indent=1, default=str)
            write_text(self.record_file, text + "\n")

    def namesakes(self) -> list["Result"]:
        """Finished cells of the same kind and names, itself among them, whatever else differs."""
        prefix = self.id.stem.removesuffix(self.id.fingerprint)
        paths = sorted(self.record_file.parent.glob(f"{glob.escape(prefix)}*.json"))
        found = [Result.read(path) for path in paths if path.with_suffix(".parquet").exists()]
        return [
            r for r in found if r.record.get("format") == FORMAT and r.record["names"] == list(self.id.names)
        ]

    def siblings(self) -> list["Result"]:
        """Finished cells of the same recipe, but of other data, weights or code."""
        own = recipe(self.id.identity)
        return [
            result
            for result in results(self.folder, self.id.kind)
            if result.path != self.record_file and recipe(result.identity) == own
        ]


@dataclass(frozen=True)
class Result:
    """A finished cell, or what is done of one, read back.

    Attributes:
        path: of its JSON file.
        record: the content of that.
        chosen: those of its rows that are to be looked at, if not all.
    """

    path: Path
    record: Mapping[str, Any] = field(repr=False)
    chosen: pd.DataFrame | None = field(default=None, repr=False)

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read the record of a cell.

        Raises:
            BenchError: if the file is damaged.
        """
        return cls(path, read_json(path, "run its cell again with rerun=true"))

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the cell's rows are made of."""
        return self.record["identity"]

    @property
    def explained(self) -> str | None:
        """The explained class: ``predicted``, ``target``, or ``any`` where the rows do not depend on it."""
        return self.identity.get("explained")

    @property
    def is_partial(self) -> bool:
        """Whether some of its rows are left out, or not there yet."""
        return self.chosen is not None

    def __str__(self) -> str:
        return f"{self.record['kind']}: {', '.join(self.record['names'])}"

    def check(self) -> None:
        """Raises BenchError if the rows are not those that were written."""
        path = self.path.with_suffix(".parquet")
        try:
            found = sha256(path)
        except OSError as e:
            raise BenchError(f"{path} cannot be read ({e.strerror or e}); run its cell again") from e
        if self.record.get("rows_sha256") != found:
            raise BenchError(
                f"{path} is damaged (its SHA-256 is not that in the JSON); run its cell again with rerun=true"
            )

    @property
    def rows(self) -> pd.DataFrame:
        """One row per sample.

        Raises:
            BenchError: if the file is damaged.
        """
        if self.chosen is not None:
            return self.chosen
        self.check()
        path = self.path.with_suffix(".parquet")
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as e:  # pyarrow's errors are kinds of these
            raise BenchError(f"{path} is damaged ({e}); run its cell again with rerun=true") from e

    def ids(self) -> list[str]:
        """The ids of its samples in their order, without reading what was measured of them.

        Raises:
            BenchError: if the file is damaged.
        """
        if self.chosen is not None:
            return self.chosen["id"].tolist()
        path = self.path.with_suffix(".parquet")
        try:
            return pq.read_table(path, columns=["id"]).column("id").to_pylist()
        except (OSError, ValueError) as e:  # pyarrow's errors are kinds of these
            raise BenchError(f"{path} is damaged ({e}); run its cell again with rerun=true") from e

    def only(self, ids: set[str]) -> "Result":
        """The same cell with the rows of some samples; what was said about all samples is left out."""
        rows = self.rows
        chosen = rows[rows["id"].isin(ids)]
        return replace(self, record={**self.record, "samples": len(chosen)}, chosen=chosen)

    def remove(self) -> None:
        """Delete its files.

        Raises:
            BenchError: if they cannot be removed.
        """
        with writing(self.path.parent):
            self.path.unlink(missing_ok=True)  # first: without a record there is no cell
            self.path.with_suffix(".parquet").unlink(missing_ok=True)


def cells_folder(config: Mapping[str, Any]) -> Path:
    """Where the cells of a configuration's suite are kept."""
    return Path(config["paths"]["results"]) / config["suite"]["name"] / "cells"


def results(folder: Path, kind: str) -> Iterator[Result]:
    """All finished cells of a kind, in the order of their names.

    Raises:
        BenchError: if a JSON file is damaged.
    """
    for path in sorted((folder / kind).glob("*.json")):
        if path.with_name(f"{path.stem}.parquet").exists():
            result = Result.read(path)
            if result.record.get("format") == FORMAT:
                yield result


def announced(folder: Path, kind: str) -> Iterator[Cell]:
    """The cells of a kind that some process was or is at, finished or not, each once."""
    seen = set()
    for path in sorted((folder / kind / ".locks").glob("*.cell")):
        with suppress(BenchError, KeyError):
            described = read_json(path, "")
            own = CellId(described["kind"], described["identity"], tuple(described["names"]))
            if described.get("format") == FORMAT and own.fingerprint not in seen:
                seen.add(own.fingerprint)
                yield Cell(folder, own, described["config"])


def outdated(folder: Path) -> list[Path]:
    """The records of cells that an older format left; they are kept, and not read."""
    found = []
    for path in sorted(folder.glob("*/*.json")):
        with suppress(BenchError):
            record = read_json(path, "")
            if record.get("format", record.get("conditions", {}).get("format")) != FORMAT:
                found.append(path)
    return found


class KeptMaps:
    """The maps of a finished explanation, read one group of rows after the other.

    Args:
        result: of the cell, whose digest is checked.

    Raises:
        BenchError: if it is damaged.
    """

    def __init__(self, result: Result):
        result.check()
        self.result = result
        self._file = pq.ParquetFile(result.path.with_suffix(".parquet"))
        ids = self._file.read(columns=["id"]).column("id").to_pylist()
        self._place = {name: place for place, name in enumerate(ids)}
        self._group: tuple[int, list[dict[str, Any]]] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._place

    def __getitem__(self, name: str) -> dict[str, Any]:
        """The row of a sample: its map, shape, prefix tokens and explained class."""
        group, place = divmod(self._place[name], TOGETHER)
        if self._group is None or self._group[0] != group:
            self._group = group, self._file.read_row_group(group).to_pylist()
        return self._group[1][place]
