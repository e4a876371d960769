"""Weights & Biases: one run per cell, one per training."""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.runner import sweep
from bench.store.subsets import stored

MODES = ("disabled", "offline", "online")
NAMES = ("project", "entity", "group")
PATIENCE = 20  # seconds for a server that accepts and does not answer
_failed = False  # whether logging has failed in this process: each try would cost every cell as long again


def check(settings: dict[str, Any]) -> None:
    """Look at the section ``wandb`` of a configuration.

    Raises:
        BenchError: if ``wandb.mode`` is not one of :data:`MODES`, or another key is unknown or not a string. A
            value is not repeated in the message: it may be an API key, which must not be in a configuration, for
            that is kept beside the results.
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
    if settings["mode"] != "disabled" and find_spec("wandb") is None:
        raise BenchError(
            f"wandb.mode={settings['mode']}: wandb is not installed; pip install 'transformer-explanation-bench[wandb]'"
        )


def log(plan: Any, summary: Mapping[str, float]) -> None:
    """Log what a finished run measured, if ``wandb.mode`` is ``offline`` or ``online``; its results are kept already.

    The cells of a sweep are a group. After the first failure in a process nothing more is logged.

    Args:
        plan: the run's :class:`bench.runner.cell.Plan`.
    """
    if plan.config["wandb"]["mode"] == "disabled":
        return
    config, cell = plan.config, plan.measured[-1][1]
    result = stored(cell)
    run = Run(
        config["wandb"],
        "the cell's results are kept",
        group=config["wandb"]["group"]
        or sweep.current()
        or f"{config['suite']['name']}/{config['task']['name']}",
        name=cell.id.stem,
        config={**config, "versions": result.record.get("versions"), "identity": cell.id.identity},
    )
    run.log({**summary, "seconds": result.record["seconds"]}, rows=result.rows)
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
        if settings["mode"] != "disabled" and not _failed:
            where = {key: settings[key] for key in ("mode", "project", "entity")}
            self._run = self._try(lambda: _start(**where, **arguments))

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
        global _failed
        try:
            return _in_time(call)
        except Exception as e:  # wandb raises errors of its own, of its network libraries and plain ones
            print(
                f"wandb failed ({str(e).strip().partition(chr(10))[0]}); {self._consolation} "
                "(wandb.mode=offline needs neither network nor key; wandb sync sends it later)",
                file=sys.stderr,
            )
            self._run, _failed = None, True
            return None


def _start(**arguments: Any) -> Any:
    wandb = _wandb()
    limits = wandb.Settings(init_timeout=PATIENCE, login_timeout=PATIENCE)
    return wandb.init(**arguments, reinit="finish_previous", settings=limits)


def _in_time(call: Callable[[], Any]) -> Any:
    """What a call returns, or its error; TimeoutError if it takes too long, and it is left to itself."""
    outcome: dict[str, Any] = {}

    def target() -> None:
        try:
            outcome["value"] = call()
        except BaseException as e:
            outcome["error"] = e

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(2 * PATIENCE)
    if thread.is_alive():
        raise TimeoutError(f"no answer in {2 * PATIENCE} seconds")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def _table(rows: pd.DataFrame):
    return _wandb().Table(dataframe=rows.astype(str))


def _wandb():
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    return wandb
