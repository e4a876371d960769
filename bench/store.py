"""The result store: for each cell one Parquet file of rows per sample beside one JSON file.

``results/<suite>/cells/<task>/<dataset>--<model>--<method>--<explained>--<fingerprint>.{parquet,json}``. The
fingerprint is of everything that can change the rows, so a cell whose files exist is done, and a cell with
other settings is another cell. The JSON is written last and has the SHA-256 of the other: without both there
is no cell. What is kept of a cell until then is in :mod:`bench.shards`.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config import fingerprint
from bench.console import say
from bench.embedded import VERSION as EMBEDDED_VERSION
from bench.errors import BenchError
from bench.files import read_json, replace_file, sha256, writing

# Rises when rows or files change their meaning; cells of another format are not read.
FORMAT = 2


@dataclass(frozen=True)
class Cell:
    """What is computed and where it is kept: task × dataset × model × method × explained class.

    Args:
        config: the resolved configuration (:func:`bench.config.resolved`).
    """

    config: dict[str, Any] = field(repr=False)

    @property
    def conditions(self) -> dict[str, Any]:
        """What rows of one table must have in common: everything but the method and the explained class.

        Not in it are the protocol's ``scores``: they say how rows are read, not what is in them.
        """
        protocol = protocol_of(self.config)
        task = self.config["task"]["name"]
        measured = {key: value for key, value in protocol[task].items() if key != "scores"}
        return {
            "format": FORMAT,
            "task": task,
            "dataset": _dataset(self.config),
            "model": _model(self.config),
            "protocol": protocol | {task: measured},
        }

    @property
    def rows_file(self) -> Path:
        """The Parquet file."""
        return self._path.with_suffix(".parquet")

    @property
    def record_file(self) -> Path:
        """The JSON file."""
        return self._path.with_suffix(".json")

    @property
    def maps_file(self) -> Path:
        """The maps themselves, if ``save_maps`` was set (:mod:`bench.maps`)."""
        return self._path.with_suffix(".maps.npz")

    @property
    def work_folder(self) -> Path:
        """Where the cell is kept until it is finished."""
        return self._path

    def lock_file(self, name: str) -> Path:
        """What a process holds while it is at some part of the cell."""
        return self._path.parent / ".locks" / f"{self._path.name}.{name}.lock"

    def shard_locks(self) -> list[Path]:
        """The lock files of all shards that were ever begun, however the cell was cut."""
        return sorted(self.lock_file("").parent.glob(f"{self._path.name}.*-of-*.lock"))

    @contextmanager
    def failures(self, name: str) -> Iterator[None]:
        """Note for :meth:`failure` why some part of the cell failed, until it does not any more."""
        file = self.lock_file(name).with_suffix(".failed")
        file.unlink(missing_ok=True)
        try:
            yield
        except Exception as e:
            with suppress(OSError):
                file.write_text(f"{type(e).__name__}: {e}" if not isinstance(e, BenchError) else str(e))
            raise

    def failure(self) -> str | None:
        """Why the cell failed when it was run last; None if it did not."""
        files = sorted(self.lock_file("").parent.glob(f"{self._path.name}.*.failed"))
        return files[0].read_text() if files else None

    @property
    def _path(self) -> Path:
        c = self.config
        identity = self.conditions | {"method": c["method"], "explained": c["explained"]}
        names = (c["dataset"]["name"], c["model"]["name"], c["method"]["name"], c["explained"])
        stem = "--".join(re.sub(r"[^\w-]+", "_", str(name)) for name in (*names, fingerprint(identity)))
        return folder(c, c["task"]["name"]) / stem

    def __str__(self) -> str:
        c = self.config
        return f"{c['task']['name']}: {c['method']['name']} ({c['explained']}), {c['model']['title']}"

    def written_at(self) -> int | None:
        """When the cell was finished, to compare with; None if it is not."""
        return self.record_file.stat().st_mtime_ns if self.record_file.exists() else None

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

    def write(self, rows: pd.DataFrame, record: dict[str, Any]) -> None:
        """Keep a finished cell.

        Raises:
            BenchError: if the results folder cannot be written to.
        """
        settings = flatten(self.conditions["protocol"], "protocol") | flatten(self.config["method"], "method")
        labels = {
            "task": self.config["task"]["name"],
            "dataset": self.config["dataset"]["name"],
            "model": self.config["model"]["name"],
            "method": self.config["method"]["name"],
            "explained": self.config["explained"],
        }
        described = rows.assign(**{key: str(value) for key, value in settings.items()}, **labels)
        with writing(self.rows_file.parent):
            replace_file(self.rows_file, lambda path: described.to_parquet(path, index=False))
            whole = {"rows_sha256": sha256(self.rows_file)}
            text = json.dumps(self.described() | record | whole, indent=1, default=str)
            replace_file(self.record_file, lambda path: path.write_text(text + "\n"))

    def described(self) -> dict[str, Any]:
        """What the cell is: of its record all that does not come from computing it."""
        return {"conditions": self.conditions, "method": self.config["method"], "config": self.config}

    def write_maps(self, write: Callable[[Path], None]) -> None:
        """Keep the maps; ``write`` gets the file to write to.

        Raises:
            BenchError: if the results folder cannot be written to.
        """
        with writing(self.maps_file.parent):
            replace_file(self.maps_file, write)


def protocol_of(config: dict[str, Any]) -> dict[str, Any]:
    """The protocol's name, version and those of its settings that concern the task of a configuration."""
    protocol, task = config["protocol"], config["task"]
    sections = ("images", task["name"]) if task["modality"] == "image" else (task["name"],)
    return {key: protocol[key] for key in ("name", "version", *sections)}


@dataclass(frozen=True)
class Result:
    """A finished cell, read back.

    Attributes:
        path: of its JSON file.
        record: the content of that.
        chosen: those of its rows that are to be looked at, if not all.
    """

    path: Path
    record: dict[str, Any] = field(repr=False)
    chosen: pd.DataFrame | None = field(default=None, repr=False)

    @classmethod
    def read(cls, path: Path) -> "Result":
        """The cell of a JSON file.

        Raises:
            BenchError: if the file is damaged.
        """
        return cls(path, read_json(path, "run its cell again"))

    @property
    def is_partial(self) -> bool:
        """Whether some of its rows are left out, or not there yet."""
        return self.chosen is not None

    def check(self) -> None:
        """Raises BenchError if the rows are not those that were written."""
        path = self.path.with_suffix(".parquet")
        if self.record.get("rows_sha256") not in (None, sha256(path)):
            raise BenchError(f"{path} is damaged (its SHA-256 is not that in the JSON); run its cell again")

    @property
    def rows(self) -> pd.DataFrame:
        """One row per sample.

        Raises:
            BenchError: if the file is damaged.
        """
        if self.chosen is not None:
            return self.chosen
        path = self.path.with_suffix(".parquet")
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as e:  # pyarrow's errors are kinds of these
            raise BenchError(f"{path} is damaged ({e}); run its cell again") from e


def _dataset(config: dict[str, Any]) -> dict[str, Any]:
    """What tells one choice of samples from another, however its path is spelled."""
    chosen = {key: value for key, value in config["dataset"].items() if key != "title"}
    chosen |= {"limit": config["limit"], "seed": config["seed"]}
    if "path" in chosen and Path(chosen["path"]).exists():
        chosen["path"] = str(Path(chosen["path"]).resolve())
    if is_embedded(config):
        chosen |= {"path": None, "embedded_version": EMBEDDED_VERSION}
    return chosen


def is_embedded(config: dict[str, Any]) -> bool:
    """Whether the data set is part of the data that the project makes itself."""
    path = config["dataset"].get("path")
    return path is not None and Path(path).is_relative_to(config["paths"]["embedded"])


def _model(config: dict[str, Any]) -> dict[str, Any]:
    """What tells one model from another: local weights count by their content, not by where they lie."""
    chosen = {key: value for key, value in config["model"].items() if key != "title"}
    for key in ("checkpoint", "path"):
        local = Path(chosen[key]) if chosen.get(key) else None
        if local is not None and local.exists():
            files = sorted(f for f in local.iterdir() if f.is_file()) if local.is_dir() else [local]
            chosen[key] = [_sha256_once(file, file.stat().st_mtime_ns) for file in files]
    return chosen


@cache
def _sha256_once(file: Path, changed: int) -> str:
    return sha256(file)


def folder(config: dict[str, Any], task: str) -> Path:
    """Where the cells of a suite's task are kept."""
    return Path(config["paths"]["results"]) / config["suite"]["name"] / "cells" / task


def results(config: dict[str, Any], task: str) -> Iterator[Result]:
    """All finished cells of a suite's task, in the order of their names.

    Raises:
        BenchError: if a JSON file is damaged.
    """
    for path in sorted(folder(config, task).glob("*.json")):
        if path.with_suffix(".parquet").exists():
            yield Result.read(path)


def flatten(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings under dotted names."""
    flat = {}
    for key, value in settings.items():
        name = f"{prefix}.{key}" if prefix else key
        flat.update(flatten(value, name) if isinstance(value, dict) else {name: value})
    return flat
