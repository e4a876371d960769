"""From the command line to a configuration, and from that to the objects it names."""

import hashlib
import itertools
import json
import pkgutil
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from bench.catalogue import CONF, INSTALLED, PACKAGE, PROJECT, Catalogue
from bench.errors import BenchError, did_you_mean
from bench.suggestions import GROUPS, UnknownSettingError, check_choices, check_form, unknown_setting
from bench.titles import retitled

CONFIG_DIR = ("--config-dir", "-cd")  # options of hydra that name a folder of the user's own choices
SWEEP = ("-m", "--multirun")
# What hydra takes for those who know it: nothing of the project needs them.
HYDRA_OPTIONS = {
    *(
        "--cfg",
        "-c",
        "--resolve",
        "--package",
        "-p",
        "--info",
        "-i",
        "--run",
        "-r",
        "--version",
        "--hydra-help",
    ),
    *("--config-path", "-cp", "--config-name", "-cn", "--shell-completion", "-sc", "--experimental-rerun"),
}
FOREIGN_MAPS = "bench.runner.foreign.ForeignMaps"
# Keys that describe a choice to the runner and to readers; all others are arguments of its _target_.
DESCRIPTION = {
    *("_target_", "name", "title", "retitled", "limit", "kind", "order", "family"),
    *("nested_subsets", "expected_samples", "expected_shape", "made_by"),
}


def _one_of(value: str, chosen: Any, key: str, *known: str) -> bool:
    """Whether a setting that lists some of the ``known`` names has one of them."""
    listed = OmegaConf.to_container(chosen) if OmegaConf.is_config(chosen) else chosen
    if not isinstance(listed, list) or not listed or not all(name in known for name in listed):
        raise BenchError(f"{key}={listed}: expected a list of one or more of {', '.join(known)}")
    return value in listed


def _flag(key: str, *, _root_: DictConfig) -> bool:
    """The setting of this name, true or false, which Python takes 1 and "often" for."""
    value = OmegaConf.select(_root_, key)
    if not isinstance(value, bool):
        raise BenchError(f"{key}={value}: expected true or false")
    return value


def _nested_subset(key: str, *, _root_: DictConfig) -> int | None:
    """How many samples the model, or else the suite, wants of a task or of methods that cost so much; None: all."""
    for section in ("model", "suite"):
        if (count := OmegaConf.select(_root_, f"{section}.nested_subsets.{key}")) is not None:
            return count
    return None


for _name, _resolver in {
    # In configuration files ${project:data} is that folder of the checkout, wherever a program is started; of an
    # installed project, that of the working directory.
    "project": lambda path: str((Path.cwd() if INSTALLED else PROJECT) / path),
    "package": lambda path: str(PACKAGE / path),  # a file that comes with the package
    "basename": lambda path: Path(str(path)).name or str(path),
    "one_of": _one_of,
    "flag": _flag,
    "nested_subset": _nested_subset,
    # What a function without arguments returns that only some choice needs: it is imported for that alone.
    "call": lambda function: pkgutil.resolve_name(function)(),
}.items():
    OmegaConf.register_new_resolver(_name, _resolver, replace=True)


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """The folders of choices that a command line adds to the project's own.

    Raises:
        BenchError: if one does not exist.
    """
    found = []
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in CONFIG_DIR:
            value = value if equals else next(iter(arguments[place + 1 : place + 2]), "")
            if not Path(value).is_dir():
                raise BenchError(
                    f"{option} {value}: no such folder; expected one with method/, metric/, task/, …"
                )
            found.append(Path(value).resolve())
    return found


def with_metrics(arguments: Sequence[str]) -> list[str]:
    """A command line with its choices of metrics as hydra takes them.

    ``+metric=NAME`` adds a metric to the task, and ``metric._target_=package.Metric`` one of the user's own,
    with further arguments as ``metric.alpha=1``.

    Raises:
        BenchError: if a metric of the user's own cannot be imported.
    """
    kept: list[str] = []
    own: dict[str, str] = {}
    for argument in arguments:
        option, equals, value = argument.partition("=")
        key = option.lstrip("+")
        if key == "metric" and equals and value:
            kept += [f"+metric@task.metrics.{name}={name}" for name in value.split(",")]
        elif key.startswith("metric."):
            own[key.removeprefix("metric.")] = value
        else:
            kept.append(argument)
    return kept + (_own_metric(own) if own else [])


def _own_metric(settings: Mapping[str, str]) -> list[str]:
    if "_target_" not in settings:
        raise BenchError(
            f"metric.{next(iter(settings))}: name the metric itself with metric._target_=package.Name"
        )
    metric = _imported("metric", settings["_target_"])
    name = settings.get("name", metric.__name__)
    reads = getattr(metric, "measurements", ())
    return [
        *(f"+measurement@task.metrics.{name}.reads.{measurement}={measurement}" for measurement in reads),
        *(f"+task.metrics.{name}.{key}={value}" for key, value in settings.items() if key != "name"),
    ]


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain data, with every interpolation resolved.

    Raises:
        BenchError: naming a key that has no value yet.
    """
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as e:
        if (said := _said_by_a_resolver(e)) is not None:
            raise said from None
        referred = isinstance(e, InterpolationToMissingValueError)  # another key refers to the missing one
        missing = re.search(r"Missing mandatory value: ([\w.]+)", str(e)) if referred else None
        key = missing[1] if missing else e.full_key or "the configuration"
        remedy = (
            "choose a method, e.g. method=rollout" if key == "method._target_" else f"set it with {key}=..."
        )
        raise BenchError(f"{key} has no value: {remedy}") from e


def _said_by_a_resolver(error: BaseException | None) -> BenchError | None:
    """The BenchError that omegaconf, which raises its own from it, hides; None if there is none."""
    while error is not None and not isinstance(error, BenchError):
        error = error.__cause__ or error.__context__
    return error


def resolved(cfg: DictConfig, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The configuration of a cell as plain data.

    Data set and model have the title of what is read, and under ``retitled`` the settings, if any, that make it
    another than that of their file.

    Args:
        overrides: of the command line that it was composed of.

    Raises:
        BenchError: naming a key that has no value yet.
    """
    if cfg.get("maps") is not None:
        cfg = _with_foreign_maps(cfg)
    cell = plain(cfg)
    _check_text(cell)
    for section in ("method", "model", "dataset"):
        choice = cell[section]
        choice["name"] = str(choice.get("name") or choice["_target_"].rpartition(".")[2])
        choice["title"] = str(choice.get("title") or choice["name"])
    for section in ("model", "dataset"):
        raw = OmegaConf.to_container(cfg[section], resolve=False)
        title, changed = retitled(section, cell[section], raw, overrides)
        if changed:
            cell[section] |= {"title": title, "retitled": changed}
    cell["task"].setdefault("table", {})
    cell["task"]["metrics"] = _metrics(cell["task"].get("metrics") or {})
    return cell


def _with_foreign_maps(cfg: DictConfig) -> DictConfig:
    """A configuration in which the maps of a file stand in the place of a method's."""
    name = None if OmegaConf.is_missing(cfg.method, "name") else cfg.method.get("name")
    method = {
        "_target_": FOREIGN_MAPS,
        "name": name if OmegaConf.is_missing(cfg.method, "_target_") and name else Path(str(cfg.maps)).stem,
        "title": None,
        "path": str(cfg.maps),
    }
    changed = OmegaConf.create(OmegaConf.to_container(cfg, resolve=False))
    changed.method = method
    return changed


def _metrics(sections: Any) -> dict[str, dict[str, Any]]:
    """The sections of those metrics that are enabled, each with a name, a title and what it reads.

    Raises:
        BenchError: if one is not a section with the metric's ``_target_`` and those of its measurements.
    """
    chosen = {}
    for name, section in _sections("task.metrics", sections).items():
        key = f"task.metrics.{name}"
        _check_target(key, section)
        rest = {key: value for key, value in section.items() if key != "enabled"}
        reads = _sections(f"{key}.reads", rest.get("reads", {}))
        for measurement, its in reads.items():
            _check_target(f"{key}.reads.{measurement}", its)
        if section.get("enabled", True):
            chosen[name] = {"name": name, "title": name.replace("_", " ")} | rest | {"reads": reads}
    return chosen


def _sections(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BenchError(f"{key}={value}: expected a section by name for each")
    return value


def _check_target(key: str, section: Any) -> None:
    if not isinstance(section, Mapping) or not isinstance(section.get("_target_"), str):
        raise BenchError(f"{key}: expected a section with _target_=package.Name")


def _check_text(cell: Mapping[str, Any]) -> None:
    """Raises BenchError if a path or a ``_target_`` is not text: it is read before anything looks at it."""
    texts = {f"paths.{key}": value for key, value in cell["paths"].items()}
    for section in ("dataset", "model", "method", "task"):
        keys = {"_target_", "path"} & cell[section].keys()
        texts |= {f"{section}.{key}": cell[section][key] for key in sorted(keys)}
    if cell["model"].get("checkpoint") is not None:
        texts["model.checkpoint"] = cell["model"]["checkpoint"]
    for key, value in texts.items():
        if not isinstance(value, str):
            raise BenchError(f"{key}={value}: expected text; quote it if it looks like a number")


def composed(arguments: Sequence[str]) -> DictConfig:
    """What hydra makes of a command line, with its section, nothing resolved; it need not choose a method.

    Raises:
        BenchError: for an override that hydra does not accept.
    """
    return _composed(tuple(overrides_of(arguments)), tuple(config_dirs(arguments)))


def overrides_of(arguments: Sequence[str]) -> list[str]:
    """The overrides among the arguments of a command line, as hydra takes them: all but folders of choices.

    Raises:
        BenchError: if a metric of the user's own cannot be imported.
    """
    overrides, skipping = [], False
    for argument in with_metrics(arguments):
        option, equals, _ = argument.partition("=")
        if skipping or option in CONFIG_DIR:
            skipping = option in CONFIG_DIR and not equals and not skipping
        else:
            overrides.append(argument)
    return overrides


def checked(arguments: Sequence[str]) -> list[str]:
    """A command line of ``python -m bench`` as hydra takes it, after a look at what it chooses.

    Raises:
        BenchError: for a choice, a setting or an option that there is not, with those that are alike; for what
            cannot be read; and for several values without -m.
    """
    arguments = with_metrics(arguments)
    sweeping = not set(SWEEP).isdisjoint(arguments)
    overrides, facts = overrides_of(arguments), Catalogue(config_dirs(arguments))
    if any(override.lstrip("+").startswith("hydra.searchpath") for override in overrides):
        return arguments  # choices may lie where only hydra looks
    options = [o.partition("=")[0] for o in overrides if o.startswith("-")]
    if unknown := [option for option in options if option not in (*SWEEP, *HYDRA_OPTIONS)]:
        raise BenchError(f"{unknown[0]}: {did_you_mean(unknown[0], (*SWEEP, *CONFIG_DIR, '--help'))}")
    if set(options) <= set(SWEEP):  # the values of hydra's own options look like no override
        check_form([o for o in overrides if o not in SWEEP], sweeping)
    plain_ones = [o for o in overrides if "=" in o and not o.startswith(("-", "~", "hydra"))]
    check_choices(plain_ones, facts)
    if any(_may_be_unknown(override) for override in plain_ones):
        try:
            _composed(tuple(map(_first_value, plain_ones)), tuple(config_dirs(arguments)))
        except UnknownSettingError:
            raise
        except BenchError:
            if not sweeping:
                raise
            # hydra has its own words for it, and takes more than one cell does: lists of a sweep
    return arguments


def _may_be_unknown(override: str) -> bool:
    """Whether an override is of a setting that there may not be."""
    key = override.partition("=")[0]
    return not override.startswith("+") and key not in _known_keys()


@lru_cache(maxsize=1)
def _known_keys() -> frozenset[str]:
    return frozenset({*GROUPS, *map(str, OmegaConf.load(CONF / "bench.yaml"))})


def _first_value(override: str) -> str:
    """An override of a sweep as one of its cells has it."""
    key, equals, value = override.partition("=")
    if equals and re.fullmatch(r"[\w/.-]+(,[\w/.-]+)+", value):
        return f"{key}={value.partition(',')[0]}"
    ranged = re.fullmatch(r"range\((\d+).*\)", value)
    return f"{key}={ranged[1]}" if ranged else override


@lru_cache(maxsize=64)
def _composed(overrides: tuple[str, ...], dirs: tuple[Path, ...]) -> DictConfig:
    if not any(override.lstrip("+").startswith("hydra.searchpath") for override in overrides):
        check_form(overrides)
        check_choices(overrides, Catalogue(dirs))
    own = [f"hydra.searchpath=[{','.join(quoted(f'file://{folder}') for folder in dirs)}]"] if dirs else []
    chosen = ["method=rollout", *own, *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            return compose("bench", overrides=chosen, return_hydra_config=True)
        except OverrideParseException as e:
            raise BenchError(f"{e.override}: {e}") from e
        except (HydraException, ValueError) as e:  # the latter if the name of a choice is not text
            unknown = re.match(r"Could not override '([^']+)'", str(e))
            if unknown is None:
                raise BenchError(str(e)) from e
            known = [o for o in chosen if o.lstrip("+~").partition("=")[0] != unknown[1]]
            settings = OmegaConf.to_container(compose("bench", overrides=known), resolve=False)
            raise UnknownSettingError(unknown_setting(unknown[1], flatten(settings))) from e


def configuration(arguments: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration of a command line, which need not choose a method.

    Beside its sections it says under ``config_dirs`` and ``overrides`` what it was composed of.

    Raises:
        BenchError: for an override that hydra does not accept, or a key without a value.
    """
    cfg = composed(arguments)
    own = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    overrides = overrides_of(arguments)
    return resolved(own, overrides) | {
        "config_dirs": [str(folder) for folder in config_dirs(arguments)],
        "overrides": overrides,
    }


def swept(experiment: str, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """The resolved configurations of all cells of an experiment.

    Raises:
        BenchError: as :func:`configuration`.
    """
    chosen = [f"experiment={experiment}", *arguments]
    base = configuration(chosen)
    choices = {key: str(values).split(",") for key, values in composed(chosen).hydra.sweeper.params.items()}
    cells = []
    for values in itertools.product(*choices.values()):
        cell = dict(base)
        for key, value in zip(choices, values, strict=True):
            if key == "method":
                cell["method"] = method_section(value.strip(), chosen)
            elif key == "explained":
                cell["explained"] = value.strip()
            else:  # seldom: composed anew
                cell = configuration([*chosen, *(f"{k}={v}" for k, v in zip(choices, values, strict=True))])
                break
        cells.append(cell)
    return cells


def method_section(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What ``method=<name>`` means in the configuration of a command line, without composing that again.

    Raises:
        BenchError: if there is no such file.
    """
    return method_of(name, Catalogue(config_dirs(arguments)), composed(arguments))


def method_of(name: str, facts: Catalogue, config: Mapping[str, Any]) -> dict[str, Any]:
    """What ``method=<name>`` means under the task, the protocol and the seed of a configuration.

    Raises:
        BenchError: if there is no such file.
    """
    own = facts.read("method", name)
    if not own:
        raise BenchError(f"method={name}: there is no conf/method/{name}.yaml")
    # Most methods refer to nothing, and copying what some refer to takes longest where there are many methods.
    referred = ("protocol", "task", "seed", "suite") if "${" in str(own) else ()
    known = {key: config[key] for key in referred}
    section = plain(OmegaConf.create({**known, "method": own}).method)
    return {"title": section["name"]} | section


def quoted(value: Any) -> str:
    """A value in an override, whatever characters it has."""
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def build(section: str, choice: Mapping[str, Any], description: Collection[str] = DESCRIPTION) -> Any:
    """Call the ``_target_`` of a section of the configuration with the section's other keys.

    An argument that is a section with a ``_target_`` of its own is built first.

    Args:
        description: keys that are not arguments.

    Raises:
        BenchError: if there is no such object or it does not take these arguments.
    """
    target = choice["_target_"]
    arguments = {key: value for key, value in choice.items() if key not in description}
    arguments |= {
        key: build(f"{section}.{key}", value)
        for key, value in arguments.items()
        if isinstance(value, Mapping) and "_target_" in value
    }
    make = _imported(section, target)
    try:
        return make(**arguments)
    except TypeError as e:
        raise BenchError(f"{section}: {target} does not take {sorted(arguments)}: {e}") from e
    except ValueError as e:
        raise BenchError(f"{section}: {e}") from e


def _imported(section: str, target: str) -> Any:
    """The object that a ``_target_`` names, or BenchError."""
    try:
        return pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as e:
        raise BenchError(
            f"{section}._target_={target} cannot be imported ({e}); "
            "expected package.module.Name, importable from here"
        ) from e


def target_of(section: str, choice: Mapping[str, Any]) -> Any:
    """The class or function that a section of the configuration names, not called.

    Raises:
        BenchError: if it cannot be imported.
    """
    return _imported(section, choice["_target_"])


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}.{key}" if prefix else key
        flat.update(flatten(value, name) if isinstance(value, Mapping) else {name: value})
    return flat


def fingerprint(data: Any) -> str:
    """Twelve hexadecimal digits that change with any value in ``data``."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
