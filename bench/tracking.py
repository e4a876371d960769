"""Weights & Biases: one run per cell, one per training."""

import os
import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.store import Cell

MODES = ("disabled", "offline", "online")
NAMES = ("project", "entity", "group")


def check(settings: dict[str, Any]) -> None:
    """Look at the section ``wandb`` of a configuration.

    Raises:
        BenchError: if ``wandb.mode`` is none, or another key is unknown or no name. A value is not repeated
            in the message: it may be an API key, which must not be in a configuration, for that is kept
            beside the results.
    """
    if not isinstance(settings, Mapping):
        raise BenchError("wandb: expected a section; wandb.mode=disabled turns it off")
    if unknown := sorted(settings.keys() - {"mode", *NAMES}):
        raise BenchError(
            f"wandb.{unknown[0]}: expected wandb.mode, {', '.join(f'wandb.{name}' for name in NAMES)} alone; "
            "give an API key in the environment as WANDB_API_KEY, or run wandb login"
        )
    if settings["mode"] not in MODES:
        raise BenchError(f"wandb.mode={settings['mode']}: expected one of {', '.join(MODES)}")
    for name in NAMES:
        if not isinstance(settings.get(name), str | None):
            raise BenchError(f"wandb.{name}: expected a name, or null for wandb's own choice")


def log(cell: Cell, record: dict[str, Any], rows: pd.DataFrame) -> None:
    """Log a finished cell, if ``wandb.mode`` is ``offline`` or ``online``; its results are on disk already.

    Raises:
        BenchError: if wandb refuses the run.
    """
    settings = cell.config["wandb"]
    if settings["mode"] == "disabled":
        return
    wandb = _wandb()
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


class Training:
    """A training's run at Weights & Biases. Whatever fails there is said once and does not end the training.

    Args:
        config: of the training, with ``wandb``.
        run_id: a run of this id is continued.
    """

    def __init__(self, config: Mapping[str, Any], run_id: str):
        settings = config["wandb"]
        self._run = None
        if settings["mode"] != "disabled":
            self._run = self._try(
                lambda: _wandb().init(
                    mode=settings["mode"],
                    project=settings["project"],
                    entity=settings["entity"],
                    id=run_id,
                    resume="allow",
                    config=dict(config),
                    reinit="finish_previous",
                )
            )

    def log(self, measured: Mapping[str, Any]) -> None:
        """Log what was measured."""
        if self._run is not None:
            self._try(lambda: self._run.log(dict(measured)))

    def finish(self, record: Mapping[str, Any]) -> None:
        """Log what came out, and end the run."""
        if self._run is not None:
            self._try(
                lambda: self._run.summary.update({"best_epoch": record["best_epoch"], **record["accuracy"]})
            )
            self._try(lambda: self._run.finish())

    def _try(self, call):
        try:
            return call()
        except Exception as e:  # wandb raises errors of its own, of its network libraries and plain ones
            print(
                f"wandb failed ({str(e).strip().partition(chr(10))[0]}); the training goes on",
                file=sys.stderr,
            )
            self._run = None
            return None


def _wandb():
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    return wandb
