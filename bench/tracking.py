"""Weights & Biases: one run per cell, one per training."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from bench import sweep
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

    The cells of a sweep are a group.
    """
    config = cell.config
    run = Run(
        config["wandb"],
        "the cell's results are kept",
        group=config["wandb"]["group"]
        or sweep.current()
        or f"{config['suite']['name']}/{config['task']['name']}",
        name=cell.record_file.stem,
        config=config | {"versions": record.get("versions"), "checkpoint": record.get("checkpoint_sha256")},
    )
    run.log(record["metrics"] | {"seconds": record["seconds"]}, rows=rows)
    run.finish()


def training(config: Mapping[str, Any], run_id: str) -> "Run":
    """The run of a training of this configuration; one of this id is continued."""
    return Run(config["wandb"], "the training goes on", id=run_id, resume="allow", config=dict(config))


class Run:
    """A run at Weights & Biases. Whatever fails there is said once and ends nothing else.

    Args:
        settings: the section ``wandb`` of a configuration. In mode ``disabled`` nothing is logged.
        consolation: what a message of failure ends with.
        arguments: more of those of ``wandb.init``.
    """

    def __init__(self, settings: Mapping[str, Any], consolation: str, **arguments: Any):
        self._consolation = consolation
        self._run = None
        if settings["mode"] != "disabled":
            where = {key: settings[key] for key in ("mode", "project", "entity")}
            self._run = self._try(lambda: _wandb().init(**where, **arguments, reinit="finish_previous"))

    def log(self, measured: Mapping[str, Any], **tables: pd.DataFrame) -> None:
        """Log what was measured, and tables beside it."""
        self._with(lambda run: run.log({**measured, **{name: _table(t) for name, t in tables.items()}}))

    def finish(self, summary: Mapping[str, Any] | None = None) -> None:
        """Log what came out, and end the run."""
        self._with(lambda run: run.summary.update(dict(summary or {})))
        self._with(lambda run: run.finish())

    def _with(self, call: Callable[[Any], Any]) -> None:
        if self._run is not None:
            self._try(lambda: call(self._run))

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as e:  # wandb raises errors of its own, of its network libraries and plain ones
            print(
                f"wandb failed ({str(e).strip().partition(chr(10))[0]}); {self._consolation} "
                "(wandb.mode=offline needs neither network nor key; wandb sync sends it later)",
                file=sys.stderr,
            )
            self._run = None
            return None


def _table(rows: pd.DataFrame):
    return _wandb().Table(dataframe=rows.astype(str))


def _wandb():
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    return wandb
