"""Rows of finished cells, and their way into a store, for tests of what is made from the store alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.config import build, target_of
from bench.runner.identities import maps_id, measurement_id
from bench.store.cells import Cell, cells_folder
from bench.store.code import code_of
from bench.store.identity import chosen_samples, component

STEPS = 10
SAMPLES = 40
COLUMN_OF = {"perturbation": "negative_predictions", "segmentation": "intersection", "token_f1": "token_f1"}
OF_THE_MODEL = ("label", "predicted")  # the columns of predictions; a task's other measurement has the rest


def store(
    config: Mapping[str, Any],
    rows: pd.DataFrame,
    weights: str = "a" * 64,
    data: Any = "data",
    method: Any = None,
    record: Mapping[str, Any] | None = None,
) -> dict[str, Cell]:
    """Put the finished cells of a task's measurements into the store of a resolved configuration.

    Args:
        rows: with all their columns and ``id``; columns that are not there leave their cell out.
        weights, data: the digests of the model's weights and of the data.
        method: the built method; None builds that of the configuration.
        record: what the records of the method's own cells say beside what they always say.

    Returns:
        The cells by the name of their measurement.
    """
    method = build("method", config["method"]) if method is None else method
    source = source_of(config, weights, data)
    cells = {}
    for section, measurement in build("task", config["task"], description={"_target_"}).measurements():
        columns = [c for c in rows if c != "id" and (c in OF_THE_MODEL) != measurement.needs_maps]
        if not columns:
            continue
        cell_id = measurement_id(source, config, method, section, measurement)
        cell = cells[measurement.name] = Cell(cells_folder(config), cell_id, config)
        cell.write(rows[["id", *columns]], (record or {}) if measurement.needs_maps else {})
    return cells


def store_maps(
    config: Mapping[str, Any],
    maps: Mapping[str, np.ndarray],
    explained_class: int = 0,
    weights: str = "a" * 64,
    data: Any = "data",
    record: Mapping[str, Any] | None = None,
) -> Cell:
    """Put a finished explanation into the store: maps of images by the ids of samples, (rows, columns)."""
    cell_id = maps_id(source_of(config, weights, data), config, build("method", config["method"]))
    rows = [
        {"id": name, "explained_class": explained_class, "prefix": np.zeros(0, np.float32)}
        | {"map": values.astype(np.float32).ravel(), "shape": list(values.shape)}
        for name, values in maps.items()
    ]
    cell = Cell(cells_folder(config), cell_id, config)
    cell.write(pd.DataFrame(rows), record or {})
    return cell


def source_of(config: Mapping[str, Any], weights: str = "a" * 64, data: Any = "data") -> dict[str, Any]:
    """What data set and model of a configuration are made of, with given digests: neither is looked at."""
    code = {
        section: code_of(target_of(section, config[section]), section) for section in ("dataset", "model")
    }
    return {
        "dataset": component(config["dataset"], code=code["dataset"], content=data) | chosen_samples(config),
        "model": component(config["model"], code=code["model"], content={"weights": weights}),
        "inputs": config["task"]["inputs"],
    }


def kept(results: Path) -> list[Path]:
    """The files of a results folder; locks, which stay, are none."""
    return [path for path in results.rglob("*") if path.is_file() and ".locks" not in path.parts]


def perturbation(negative=0.5, positive=0.2, seed=0):
    """Rows of images of class 1 that are classified correctly with these probabilities at every step."""
    rng = np.random.default_rng(seed)
    rows = {"id": [f"i{i}" for i in range(SAMPLES)], "label": 1, "predicted": [1] * 30 + [0] * 10}
    for direction, share in (("negative", negative), ("positive", positive)):
        rows[f"{direction}_predictions"] = list((rng.random((SAMPLES, STEPS)) < share).astype(int))
    return pd.DataFrame(rows)


def segmentation(right=0.8, average_precision=0.7, seed=0):
    """Rows of images with this share of pixels right, on average."""
    rng = np.random.default_rng(seed)
    correct = (1000 * np.clip(rng.normal(right, 0.05, SAMPLES), 0, 1)).astype(int)
    wrong = 1000 - correct
    foreground = correct // 4
    background = correct - foreground
    return pd.DataFrame(
        {
            "id": [f"i{i}" for i in range(SAMPLES)],
            "correct": correct,
            "labelled": 1000,
            "intersection": list(np.stack([background, foreground], 1)),
            "union": list(np.stack([background + wrong, foreground + wrong], 1)),
            "average_precision": np.clip(rng.normal(average_precision, 0.05, SAMPLES), 0, 1),
        }
    )


def token_f1(slope=0.002, seed=0):
    """Rows of documents whose F1 grows with k."""
    ks = np.arange(5, 81, 5)
    noise = np.random.default_rng(seed).random((SAMPLES, 1))
    scores = list(slope * ks * (0.5 + noise))
    ids = [f"d{i}" for i in range(SAMPLES)]
    visible = {"visible_token_f1": [2 * s for s in scores], "visible_recall": [3 * s for s in scores]}
    return pd.DataFrame({"id": ids, "label": 1, "predicted": 1, "token_f1": scores, **visible})
