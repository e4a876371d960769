"""Under which conditions a table or a figure is made, and what its files are called by that."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.config import configuration, fingerprint, quoted
from bench.errors import BenchError
from bench.store.identity import chosen_samples
from bench.tables.select import Selection, wanted

# How overrides begin that choose no model, data or setting beyond what suite, task and protocol choose.
NO_CONDITION = ("suite=", "task=", "protocol=", "method", "+method", "explained=", "paths.results=")
OTHER_CONDITIONS = (
    "Not the suite's own choice of model, data or settings: the caption says what was measured."
)
CHECKPOINT = frozenset({"checkpoint"})
# Of a data set or a model, for plans and messages alone.
NOT_READ = ("nested_subsets", "expected_samples", "expected_shape", "made_by")


def file_name(name: str, selections: Sequence[Selection]) -> str:
    """The name of the files of a table or a figure.

    It says which other model of the suite was chosen, how many samples of the nested order, and whether it is of an
    experiment in which all methods compete, not those of the paper alone. Under other conditions than the suite's
    and the protocol's own it ends with their fingerprint, and with ``--partial`` where not all cells are finished,
    so that such files never replace those of the suite.
    """
    if all(is_standard(selection) for selection in selections):
        name += _own_choices_in_short(selections[0].config)
    else:
        name += f"--{fingerprint([_conditions(selection) for selection in selections])}"
    return f"{name}--partial" if any(selection.is_partial for selection in selections) else name


def tables_folder(config: Mapping[str, Any]) -> Path:
    """Where the tables of a suite under a protocol are."""
    return Path(config["paths"]["results"]) / config["suite"]["name"] / "tables" / config["protocol"]["name"]


def title_read(selection: Selection, section: str) -> str:
    """The title of the data set or the model that the cells were computed of.

    Args:
        section: ``dataset`` or ``model``.
    """
    read = [result.record["config"][section] for result in selection.results]
    # All are of one content, so a single cell of what the file in conf names is enough to call it that.
    named = next((choice for choice in read if not choice.get("retitled")), None)
    if named is None:
        return read[0]["title"]
    own = selection.config[section]
    return named["title"] if own.get("retitled") else own["title"]


def samples_of(selection: Selection) -> str:
    """How many samples the cells are of, in words, and how they were chosen from the data set."""
    count = len(selection.results[0].ids())
    config = selection.config
    samples = f"{count:,} sample{'s' if count != 1 else ''}"
    drawn = f"drawn with seed {config['seed']}" if config["limit"] is not None else ""
    if config.get("subset") is None:
        return f"{samples} {drawn}".rstrip()
    of = f"the {config['limit']:,} samples {drawn}" if drawn else "the data set"
    return f"{samples}, the first {config['subset']:,} of {of} in the nested order"


def _is_as_named(selection: Selection, section: str, free: frozenset[str]) -> bool:
    """Whether what was read is what its file in conf names, with some settings free."""
    read = (result.record["config"][section] for result in selection.results)
    return any(free.issuperset(choice.get("retitled", ())) for choice in read)


def standard_configuration(config: Mapping[str, Any], chosen: Sequence[str] | None = None) -> dict[str, Any]:
    """What suite, task and protocol choose by themselves, with the same folders.

    Args:
        chosen: what is chosen among the suite's own choices; None for :func:`own_choices`.
    """
    where = [f"paths.{key}={quoted(config['paths'][key])}" for key in ("data", "embedded")]
    dirs = [f"--config-dir={folder}" for folder in config["config_dirs"]]
    choice = [f"{key}={config[key]['name']}" for key in ("suite", "task", "protocol")]
    return configuration([*dirs, *choice, *where, *(own_choices(config) if chosen is None else chosen)])


def own_choices(config: Mapping[str, Any]) -> list[str]:
    """The overrides that choose among what a suite itself offers: its models, and the first of its samples."""
    own = (f"model={config['suite']['name']}/", "subset=", "experiment=")
    return [override for override in config["overrides"] if override.startswith(own)]


def _own_choices_in_short(config: Mapping[str, Any]) -> str:
    """What names of files say of :func:`own_choices`; nothing where they are the suite's first."""
    if not own_choices(config):
        return ""
    plain, said = standard_configuration(config, []), ""
    if config["model"]["name"] != plain["model"]["name"]:
        said += f"--{config['model']['name']}"
    models = [choice for choice in own_choices(config) if choice.startswith("model=")]
    if config["subset"] != standard_configuration(config, models)["subset"]:
        said += f"--first-{config['subset'] or 'all'}"
    elif (experiment := competition(config)) is not None:
        said += f"--{experiment}"
    return said


def competition(config: Mapping[str, Any]) -> str | None:
    """The experiment in which all methods of a kind of data compete, if one was chosen."""
    chosen = (o.removeprefix("experiment=") for o in config["overrides"] if o.startswith("experiment="))
    return next((name for name in chosen if name.startswith("compete_")), None)


def is_standard(selection: Selection) -> bool:
    """Whether data set, model, metrics and settings are those that the suite and the protocol themselves choose."""
    config = selection.config
    # A checkpoint may be the hub's own weights in a file.
    if not (_is_as_named(selection, "dataset", frozenset()) and _is_as_named(selection, "model", CHECKPOINT)):
        return False
    if all(override.startswith(NO_CONDITION) for override in config["overrides"]):
        return True  # without composing the configuration once more
    try:
        own = standard_configuration(config)
    except BenchError:  # a task of the user's own may not have a data set in the suite
        return False
    same = [own["task"][key] == config["task"][key] for key in ("metrics", "inputs")]
    conditions = [
        wanted(c, {"_target_": ""}) | {"names": [c["dataset"]["name"], c["model"]["name"]]}
        for c in (own, config)
    ]
    return all(same) and conditions[0] == conditions[1]


def _conditions(selection: Selection) -> dict[str, Any]:
    """What the name tells apart: everything that is chosen but the method, by settings and names, and what is read."""
    config = selection.config
    kept = chosen_samples(config)
    kept["task"] = {key: config["task"][key] for key in ("name", "inputs", "metrics")}
    left_out = ("path", "checkpoint", "title", "retitled", *NOT_READ)
    for key in ("dataset", "model"):
        kept[key] = {k: v for k, v in config[key].items() if k not in left_out}
        if not _is_as_named(selection, key, CHECKPOINT):
            kept[key]["read"] = title_read(selection, key)
    return kept
