"""From the configuration to the objects it names, and to the identity of a cell."""

import hashlib
import itertools
import json
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import BenchError

PROJECT = Path(__file__).resolve().parent.parent
CONF = PROJECT / "conf"
# In configuration files ${project:data} is that folder of the project, wherever a program is started.
OmegaConf.register_new_resolver("project", lambda path: str(PROJECT / path), replace=True)


def _local_processes() -> int:
    from bench.devices import processes  # looks for GPUs, which only this launcher needs

    return processes()


OmegaConf.register_new_resolver("local_processes", _local_processes, replace=True)

# Keys that describe a choice to the runner and to readers; all others are arguments of its _target_.
DESCRIPTION = {"_target_", "name", "title", "limit", "modality", "explained"}


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain data, with every interpolation resolved.

    Raises:
        BenchError: naming a key that has no value yet.
    """
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as e:
        key = e.full_key or "the configuration"
        remedy = (
            "choose a method, e.g. method=rollout" if key == "method._target_" else f"set it with {key}=..."
        )
        raise BenchError(f"{key} has no value: {remedy}") from e


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The configuration of a cell as plain data.

    Raises:
        BenchError: naming a key that has no value yet.
    """
    cell = plain(cfg)
    _check_text(cell)
    cell["method"]["name"] = cell["method"]["name"] or cell["method"]["_target_"].rpartition(".")[2]
    return cell


def _check_text(cell: Mapping[str, Any]) -> None:
    """Raises BenchError if a path or a ``_target_`` is no text, as it is read before anything looks at it."""
    texts = {f"paths.{key}": value for key, value in cell["paths"].items()}
    for section in ("dataset", "model", "method", "task"):
        keys = {"_target_", "path"} & cell[section].keys()
        texts |= {f"{section}.{key}": cell[section][key] for key in sorted(keys)}
    if cell["model"].get("checkpoint") is not None:
        texts["model.checkpoint"] = cell["model"]["checkpoint"]
    for key, value in texts.items():
        if not isinstance(value, str):
            raise BenchError(f"{key}={value}: expected text; quote it if it looks like a number")


def configuration(overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration under command line overrides, which need not choose a method.

    Raises:
        BenchError: if hydra does not take them, or a key has no value.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            return resolved(compose("bench", overrides=["method=rollout", *overrides]))
        except OverrideParseException as e:
            raise BenchError(f"{e.override}: {e}") from e
        except (HydraException, ValueError) as e:  # the latter if the name of a choice is no text
            raise BenchError(str(e)) from e


def swept(experiment: str, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The resolved configurations of all cells of an experiment.

    Raises:
        BenchError: as :func:`configuration`.
    """
    chosen = [f"experiment={experiment}", "method=rollout", *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            params = compose("bench", overrides=chosen, return_hydra_config=True).hydra.sweeper.params
        except HydraException as e:
            raise BenchError(str(e)) from e
    choices = [[f"{key}={value}" for value in str(values).split(",")] for key, values in params.items()]
    return [configuration([*chosen, *each]) for each in itertools.product(*choices)]


def build(section: str, choice: Mapping[str, Any]) -> Any:
    """Call the ``_target_`` of a section of the configuration with the section's other keys.

    Raises:
        BenchError: if there is no such object or it does not take these arguments.
    """
    target = choice["_target_"]
    arguments = {key: value for key, value in choice.items() if key not in DESCRIPTION}
    try:
        make = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as e:
        raise BenchError(
            f"{section}._target_={target} cannot be imported ({e}); "
            "expected package.module.Name, importable from here"
        ) from e
    try:
        return make(**arguments)
    except TypeError as e:
        raise BenchError(f"{section}: {target} does not take {sorted(arguments)}: {e}") from e
    except ValueError as e:
        raise BenchError(f"{section}: {e}") from e


def fingerprint(data: Any) -> str:
    """Eight hexadecimal digits that change with any value in ``data``."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]
