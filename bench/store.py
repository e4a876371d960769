"""The result store: for each cell one Parquet file of rows per sample beside one JSON file.

``results/<suite>/cells/<task>/<dataset>--<model>--<method>--<explained>--<fingerprint>.{parquet,json}``. The
fingerprint is of everything that can change the rows, so a cell whose files exist is done, and a cell with
other settings is another cell. The JSON is written last: without it there is no cell.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config import fingerprint
from bench.embedded import VERSION as EMBEDDED_VERSION
from bench.errors import BenchError

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
    def _path(self) -> Path:
        c = self.config
        identity = self.conditions | {"method": c["method"], "explained": c["explained"]}
        names = (c["dataset"]["name"], c["model"]["name"], c["method"]["name"], c["explained"])
        stem = "--".join(re.sub(r"[^\w-]+", "_", str(name)) for name in (*names, fingerprint(identity)))
        return folder(c, c["task"]["name"]) / stem

    def __str__(self) -> str:
        c = self.config
        return f"{c['task']['name']}: {c['method']['name']} ({c['explained']}), {c['model']['title']}"

    def is_done(self) -> bool:
        """Whether both files are there."""
        return self.record_file.exists() and self.rows_file.exists()

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
        record = {"conditions": self.conditions, "method": self.config["method"]} | record
        text = json.dumps(record | {"config": self.config}, indent=1, default=str)
        self._write(self.rows_file, lambda path: described.to_parquet(path, index=False))
        self._write(self.record_file, lambda path: path.write_text(text + "\n"))

    def write_maps(self, write: Callable[[Path], None]) -> None:
        """Keep the maps; ``write`` gets the file to write to.

        Raises:
            BenchError: if the results folder cannot be written to.
        """
        self._write(self.maps_file, write)

    def _write(self, file: Path, write: Callable[[Path], None]) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _replace(file, write)
        except OSError as e:
            raise BenchError(
                f"paths.results: {file.parent} cannot be written to ({e.strerror or e}); "
                "free some space or choose another folder with paths.results=..."
            ) from e


def protocol_of(config: dict[str, Any]) -> dict[str, Any]:
    """The protocol's name, version and those of its settings that concern the task of a configuration."""
    protocol, task = config["protocol"], config["task"]
    sections = ("images", task["name"]) if task["modality"] == "image" else (task["name"],)
    return {key: protocol[key] for key in ("name", "version", *sections)}


@dataclass(frozen=True)
class Result:
    """A finished cell, read back."""

    path: Path
    record: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Result":
        """The cell of a JSON file.

        Raises:
            BenchError: if the file is damaged.
        """
        try:
            return cls(path, json.loads(path.read_text()))
        except ValueError as e:
            raise BenchError(f"{path} is damaged ({e}); delete it and run its cell again") from e

    @property
    def rows(self) -> pd.DataFrame:
        """One row per sample.

        Raises:
            BenchError: if the file is damaged.
        """
        path = self.path.with_suffix(".parquet")
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as e:  # pyarrow's errors are kinds of these
            raise BenchError(f"{path} is damaged ({e}); delete it and run its cell again") from e


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
            chosen[key] = [_sha256(file, file.stat().st_mtime_ns) for file in files]
    return chosen


@cache
def _sha256(file: Path, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


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


def _replace(path: Path, write) -> None:
    """Write aside, then rename, so that nobody ever sees half a file."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def flatten(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings under dotted names."""
    flat = {}
    for key, value in settings.items():
        name = f"{prefix}.{key}" if prefix else key
        flat.update(flatten(value, name) if isinstance(value, dict) else {name: value})
    return flat
