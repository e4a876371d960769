"""Compute one cell."""

import os
import platform
import random
import subprocess
import time
from dataclasses import is_dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Subset
from tqdm import tqdm

from bench import sanity, tracking
from bench.batches import BatchSize, loaded, rows_of
from bench.config import build
from bench.devices import device_of
from bench.errors import BenchError
from bench.maps import Kept
from bench.memory import keep_freed_memory
from bench.store import Cell, is_embedded
from bench.tasks import Oracle

PACKAGES = (
    "transformer-explanation-bench",
    "torch",
    "timm",
    "transformers",
    "numpy",
    "pandas",
    "pyarrow",
    "pillow",
)


def run(config: dict[str, Any]) -> dict[str, float] | None:
    """Compute the cell of a resolved configuration and keep it; None if it was done already.

    Raises:
        BenchError: for everything the user can mend.
    """
    _check(config)
    cell = Cell(config)
    if cell.is_done() and not config["rerun"] and _looked_into(config, cell):
        print(f"{cell}: done already ({cell.record_file})")
        return None
    method, task = build("method", config["method"]), build("task", config["task"])
    rows, origin = _twin(config, method) or _computed(cell, method, task)
    summary = {name: statistic.value for name, statistic in task.statistics(rows).items()}
    record = {"metrics": summary, "samples": len(rows), "seed": config["seed"], **origin}
    cell.write(rows, record)
    tracking.log(cell, record, rows)
    last_k = {name.partition("@")[0]: name for name in summary}.values()
    tqdm.write(f"{cell}: " + ", ".join(f"{name} {summary[name]:.4g}" for name in last_k))
    return summary


def _computed(cell: Cell, method, task) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of all samples, and what they were computed with."""
    config = cell.config
    used = versions()
    keep_freed_memory()
    seed_everything(config["seed"])
    dataset = _dataset(config)
    model = build("model", config["model"]).to(device_of(config["device"]))
    task.check(model, dataset)
    method = _fitted(method, model, config["method"])
    found: dict[str, float] = {}
    if (config["sanity"] or sanity.is_reduced(method)) and not isinstance(method, Oracle):
        method = sanity.Checked(method, thorough=config["sanity"], found=found)
    kept = None
    if config["save_maps"] and not isinstance(method, Oracle):
        grid, prefix_tokens = getattr(model, "grid", None), getattr(model, "prefix_tokens", 0)
        method = kept = Kept(method, grid, prefix_tokens)
    started = time.time()
    batch_size = BatchSize.of(config["batch_size"], model.device)
    batches = []
    with tqdm(total=len(dataset), desc=str(cell), unit="sample", mininterval=1, leave=False) as progress:
        samples = loaded(config, dataset, task.preparation(model), _seed_worker)
        for rows in rows_of(lambda s: task.rows(model, method, s, config["explained"]), samples, batch_size):
            batches.append(rows)
            if kept is not None:
                kept.keep()
            progress.update(len(rows))
    rows = pd.concat(batches, ignore_index=True)
    if kept is not None:
        cell.write_maps(lambda path: kept.write(path, rows["id"].tolist()))
    origin = {
        "checkpoint_sha256": model.checksum,
        "device": str(model.device),
        "seconds": round(time.time() - started, 3),
        "batch_size": batch_size.size,
        "peak_memory_bytes": batch_size.memory.peak(),
        "versions": used,
        "sanity": {"thorough": config["sanity"], **found},
    }
    return rows, origin


def _looked_into(config: dict[str, Any], cell: Cell) -> bool:
    """Whether the maps of a finished cell were kept and looked at as far as is asked for."""
    if config["save_maps"] and not cell.maps_file.exists() and not _is_oracle(config):
        return False
    return not config["sanity"] or cell.result().record.get("sanity", {}).get("thorough", False)


def _is_oracle(config: dict[str, Any]) -> bool:
    return config["method"]["name"] == "oracle"


def _twin(config: dict[str, Any], method) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """The rows of a finished cell that differs in the explained class alone, where the maps do not.

    So a method that does not depend on the class runs once for both.
    """
    other = {"predicted": "target", "target": "predicted"}[config["explained"]]
    twin = Cell(config | {"explained": other})
    if getattr(method, "class_specific", True) or config["rerun"] or not twin.is_done():
        return None
    if not _looked_into(config, twin):
        return None
    result = twin.result()
    rows = result.rows
    classes = {"predicted": "predicted", "target": "label"}[config["explained"]]
    if classes not in rows or rows[classes].isna().any():
        return None
    carried = ("checkpoint_sha256", "device", "versions", "sanity")
    origin = {key: result.record[key] for key in carried if key in result.record}
    return rows.assign(explained_class=rows[classes]), origin | {
        "seconds": 0.0,
        "rows_of": twin.rows_file.name,
    }


def seed_everything(seed: int) -> None:
    """Seed what a model, a data set or a method of the user's own may draw from."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  the global state is what they draw from
    torch.manual_seed(seed)


def _seed_worker(_: int) -> None:
    # torch has given each worker process a seed of its own, derived from the loader's generator.
    seed_everything(torch.initial_seed() % 2**32)


def _check(config: dict[str, Any]) -> None:
    instead = {"batch_size": ("auto", ", or auto"), "limit": (None, ", or null")}
    for key, least in (("batch_size", 1), ("limit", 1), ("seed", 0), ("num_workers", 0)):
        value, (other, hint) = config[key], instead.get(key, (least, ""))
        if value != other and (not isinstance(value, int) or value < least):
            raise BenchError(f"{key}={value}: expected a whole number, {least} or more{hint}")
    for key in ("rerun", "sanity", "save_maps"):
        if not isinstance(config[key], bool):
            raise BenchError(f"{key}={config[key]}: expected true or false")
    if config["explained"] not in ("predicted", "target"):
        raise BenchError(f"explained={config['explained']}: expected predicted or target")
    tracking.check(config["wandb"])


def _fitted(method, model, given: dict[str, Any]):
    """The method, told how many tokens before the patches the model has, if it asks and was not told."""
    tokens = getattr(model, "prefix_tokens", None)
    if tokens is None or not hasattr(method, "prefix_tokens"):
        return method
    if "prefix_tokens" not in given and is_dataclass(method):
        return replace(method, prefix_tokens=tokens)
    if method.prefix_tokens != tokens:
        raise BenchError(f"method.prefix_tokens={method.prefix_tokens}: the model has {tokens}")
    return method


def _dataset(config: dict[str, Any]):
    """The data set, or the samples of it that ``limit`` draws with the seed."""
    if is_embedded(config):
        from bench.embedded.make import ensure

        ensure(Path(config["paths"]["embedded"]))
    dataset = build("dataset", config["dataset"])
    if config["limit"] is None or config["limit"] >= len(dataset):
        return dataset
    drawn = np.random.default_rng(config["seed"]).choice(len(dataset), config["limit"], replace=False)
    return Subset(dataset, sorted(drawn.tolist()))


def versions() -> dict[str, str]:
    """What the rows were computed with."""
    git = ["git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(git, capture_output=True, text=True, check=False)
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "commit": described.stdout.strip() or "unknown",
    }
