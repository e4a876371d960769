"""Weights & Biases: one run per cell."""

import os
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.store import Cell

MODES = ("disabled", "offline", "online")


def check(settings: dict[str, Any]) -> None:
    """Raises BenchError if ``wandb.mode`` is none."""
    if settings["mode"] not in MODES:
        raise BenchError(f"wandb.mode={settings['mode']}: expected one of {', '.join(MODES)}")


def log(cell: Cell, record: dict[str, Any], rows: pd.DataFrame) -> None:
    """Log a finished cell, if ``wandb.mode`` is ``offline`` or ``online``; its results are on disk already.

    Raises:
        BenchError: if wandb refuses the run.
    """
    settings = cell.config["wandb"]
    if settings["mode"] == "disabled":
        return
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        run = wandb.init(
            mode=settings["mode"],
            project=settings["project"],
            entity=settings["entity"],
            group=f"{cell.config['suite']['name']}/{cell.config['task']['name']}",
            name=cell.record_file.stem,
            config=cell.config | {"versions": record["versions"], "checkpoint": record["checkpoint_sha256"]},
            reinit="finish_previous",
        )
    except (wandb.errors.UsageError, wandb.errors.CommError) as e:
        raise BenchError(
            f"wandb.mode={settings['mode']}: {e}. The cell's results are kept; "
            "use wandb.mode=offline and sync later, or set WANDB_API_KEY"
        ) from e
    run.log(
        {**record["metrics"], "seconds": record["seconds"], "rows": wandb.Table(dataframe=rows.astype(str))}
    )
    run.finish()
