"""The cells of a configuration, as a run fills them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.runner.cell import Plan
from bench.store.blocks import Work
from bench.store.cells import Cell

# The measurement of each task that takes maps; beside it stand maps and predictions.
MEASURED = {
    "perturbation": "masking",
    "segmentation": "mask_overlap",
    "token_f1": "rationale_overlap",
}


def cells_of(config: Mapping[str, Any]) -> dict[str, Cell]:
    """All cells of a configuration by their kind, finished or not."""
    plan = Plan.of(config)
    return {"maps": plan.maps[None]} | {cell.id.kind: cell for _, cell in plan.measured}


def cell_of(config: Mapping[str, Any], kind: str | None = None) -> Cell:
    """One cell of a configuration; without a kind that of the measurement that takes maps."""
    return cells_of(config)[kind or MEASURED[config["task"]["name"]]]


def rows_of(config: Mapping[str, Any], kind: str | None = None) -> pd.DataFrame:
    """The rows of a finished cell."""
    return cell_of(config, kind).result().rows


def record_of(config: Mapping[str, Any], kind: str | None = None) -> Mapping[str, Any]:
    """The record of a finished cell."""
    return cell_of(config, kind).result().record


def begun(config: Mapping[str, Any], kind: str | None = None) -> Work:
    """What is kept of an unfinished cell."""
    return Work.read(cell_of(config, kind).work_folder)


def samples_saved(config: Mapping[str, Any], kind: str | None = None) -> int:
    """How many samples of an unfinished cell have a row."""
    return sum(len(part.rows) for part in begun(config, kind).parts())


def finished(config: Mapping[str, Any]) -> set[str]:
    """The kinds of those cells of a configuration that are finished."""
    return {kind for kind, cell in cells_of(config).items() if cell.is_done()}


def same_rows(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Let the finished cells of two configurations be the same, and their rows to the last bit."""
    assert finished(one) == finished(other)
    for kind in finished(one):
        pd.testing.assert_frame_equal(rows_of(one, kind), rows_of(other, kind), check_exact=True)


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder but for locks, which stay."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".locks" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
