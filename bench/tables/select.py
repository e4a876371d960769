"""The finished cells that a table is of, from the store alone: neither data nor weights are looked at."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.catalogue import INSTALLED, catalogue_of
from bench.config import build, method_of
from bench.errors import BenchError
from bench.store.blocks import Work, merge, unfinished
from bench.store.cells import Result, cells_folder, results
from bench.store.code import code_of
from bench.store.identity import ANY, chosen_samples, component, differences, recipe
from bench.store.subsets import covers, of_all, size_of, smallest
from bench.tables.selection import Scored, Selection, on_common_samples, on_subset, with_the_same_samples
from bench.tasks import Measurement

EXPLAINED = ("predicted", "target")
OF_THE_METHOD = ("method", "explained", "engine", "variant")  # keys in which the cells of one table differ
SHOWN = 6  # differences in a message
ABSENT = "absent"  # in the place of a setting that a method does not have


class NoCellError(BenchError):
    """Nothing that a table needs was computed."""


def wanted(config: Mapping[str, Any], section: Mapping[str, Any]) -> dict[str, Any]:
    """What the cells of a measurement have in common in one table: their recipe but for the method.

    Args:
        section: of the measurement, in the configuration.
    """
    return recipe(
        {
            "dataset": component(config["dataset"]) | chosen_samples(config),
            "model": component(config["model"]),
            "inputs": config["task"]["inputs"],
            "measurement": component(section),
        }
    )


def select(
    config: Mapping[str, Any],
    belongs: Callable[[str], bool] = lambda name: True,
    partial: bool = False,
    common: bool = False,
) -> Selection:
    """All finished cells under the conditions (data set, model, settings) of a resolved configuration.

    Args:
        belongs: whether the cells of a method, by its name, are wanted.
        partial: take unfinished cells too, and of all of them only the samples that each has.
        common: of finished cells, too, only the samples that each has; otherwise they must have the same.

    Raises:
        BenchError: if there is none, one is unfinished and ``partial`` is false, or they do not belong together.
    """
    task = build("task", config["task"], description={"_target_"})
    of_model: dict[tuple[str, str | None], Result] = {}
    of_method: dict[tuple[str, str], dict[str, Result]] = {}
    is_partial = False
    for name, (section, measurement) in zip(task.measured_names(), task.measurements(), strict=True):
        found = _cells_of(config, section, measurement, belongs, partial)
        is_partial |= any(result.is_partial for result in found)
        if not measurement.needs_maps:
            of_model |= {(name, result.explained): result for result in reversed(found)}
            continue
        for result in found:
            of_method.setdefault((_key(result), result.explained), {})[name] = result
    scored = _scored(config, of_method, of_model)
    selection = Selection(config, task, scored, of_model.get(("predictions", None)), is_partial)
    _check_one_source(selection)
    selection = on_subset(selection)
    return on_common_samples(selection) if is_partial or common else with_the_same_samples(selection)


def _cells_of(
    config: Mapping[str, Any],
    section: Mapping[str, Any],
    measurement: Measurement,
    belongs: Callable[[str], bool],
    partial: bool,
) -> list[Result]:
    """The cells of a measurement.

    Raises:
        BenchError: if there is none, or one is unfinished and ``partial`` is false.
    """
    folder, conditions = cells_folder(config), wanted(config, section)
    every = list(results(folder, measurement.name))
    begun = list(unfinished(folder, measurement.name))
    found = [r for r in every if _fits(config, conditions, r.record)]
    # One of more samples than are wanted may go on.
    begun = [w for w in begun if _fits(config, conditions, w.plan) and _is_as_wanted(config, w.plan)]
    if not found and not begun:
        raise NoCellError(_nobody(config, measurement, conditions, every))
    found = _of_current_code(found, code_of(measurement, "measurement"), measurement)
    if measurement.needs_maps:
        found = [r for r in found if belongs(_method_name(r.record))]
        begun = [w for w in begun if belongs(_method_name(w.plan))]
    _check_no_namesakes(found)
    found = _of_fewest_samples(found)
    if begun and not partial:
        first = begun[0]
        names = ", ".join(first.plan["names"])
        raise BenchError(
            f"{measurement.name} of {names} is not finished: {first.in_words(first.missing(first.parts()))}; "
            "run it again, or make a table of what is there with --partial"
        )
    found += [result for w in begun if (result := so_far(w)) is not None]
    if not found:
        raise BenchError(
            f"no finished cell of {config['task']['name']} is of a method in this table; run its cells first, e.g. "
            f"{_command(config)}"
        )
    return found


def _fits(config: Mapping[str, Any], conditions: Any, record: Mapping[str, Any]) -> bool:
    """Whether a record is of the names and the settings of a configuration, and has all samples that it asks for."""
    own = {key: value for key, value in record["identity"].items() if key not in OF_THE_METHOD}
    names = [config["dataset"]["name"], config["model"]["name"]]
    if record["names"][:2] != names or not covers(own, config.get("subset")):
        return False
    if record.get("skipped") and not _is_as_wanted(config, record):
        return False  # its first samples are not those of the data set
    return recipe(of_all(own)) == of_all(conditions)


def _is_as_wanted(config: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a record is of as many samples as a configuration asks for, and not of more."""
    return size_of(record["identity"]) == config.get("subset")


def _of_fewest_samples(found: Sequence[Result]) -> list[Result]:
    """Of cells that differ in the subset alone the one of the fewest samples."""
    alike: dict[str, list[Result]] = {}
    for result in found:
        alike.setdefault(str(recipe(of_all(result.identity))), []).append(result)
    return [smallest(results) for results in alike.values()]


def _nobody(
    config: Mapping[str, Any], measurement: Measurement, conditions: Any, every: Sequence[Result]
) -> str:
    """The message where there is no cell: what to run, and how the nearest finished one differs."""
    suite, protocol = config["suite"]["name"], config["protocol"]["name"]
    message = (
        f"there is no finished cell of {config['task']['name']} for suite={suite} protocol={protocol} under these "
        f"conditions; run its cells first, e.g. {_command(config)}"
    )
    named = {"data set": config["dataset"]["name"], "model": config["model"]["name"]}
    nearest: list[str] | None = None
    for result in every:
        own = {key: value for key, value in result.identity.items() if key not in OF_THE_METHOD}
        there = dict(zip(named, result.record["names"], strict=False))
        lines = differences(named, there) + differences(conditions, recipe(own))
        if nearest is None or len(lines) < len(nearest):
            nearest = lines
    if not nearest:
        return message
    return (
        f"{message}. The nearest finished cell of {measurement.name} differs in {'; '.join(nearest[:SHOWN])}"
    )


def _command(config: Mapping[str, Any]) -> str:
    """What computes the cells of a task: a target of make, which only a checkout has, or the command."""
    table, suite, protocol = config["task"]["table"], config["suite"]["name"], config["protocol"]["name"]
    if not INSTALLED:
        return f"make {table.get('make', 'sweep')} SUITE={suite} PROTOCOL={protocol}"
    experiments = table.get("experiments") or []
    chosen = (
        f"experiment={experiments[0]}"
        if experiments
        else f"task={config['task']['name']} method=rollout,random"
    )
    return f"tebench run -m {chosen} suite={suite} protocol={protocol}"


def _of_current_code(found: Sequence[Result], code: Any, measurement: Measurement) -> list[Result]:
    """The cells that were measured by the code that is there now.

    Raises:
        BenchError: if there are cells, but all of other code.
    """
    current = [r for r in found if r.identity["measurement"]["code"] == code]
    if found and not current:
        lines = differences(found[0].identity["measurement"]["code"], code)
        raise BenchError(
            f"the cells of {measurement.name} were measured by other code ({'; '.join(lines)}); run them again: "
            "kept maps are scored without explaining anything again"
        )
    return current


def _check_no_namesakes(found: Sequence[Result]) -> None:
    """Raises BenchError if two cells differ in nothing but data, weights or code."""
    seen: dict[str, Result] = {}
    for result in found:
        key = str(recipe(result.identity))
        if (other := seen.get(key)) is not None:
            lines = differences(other.identity, result.identity)
            raise BenchError(
                f"two cells have one name ({', '.join(result.record['names'])}) and differ in {'; '.join(lines)}: "
                f"{other.path} and {result.path}. Remove one, give one of them another name "
                "(dataset.name, model.name, method.name), or run it once more with rerun=true, which replaces the other"
            )
        seen[key] = result


def _check_one_source(selection: Selection) -> None:
    """Raises BenchError if the cells are not of the same data and weights."""
    cells = selection.results
    for result in cells[1:]:
        for part in ("dataset", "model"):
            one, other = (of_all(r.identity)[part] for r in (cells[0], result))
            if lines := differences(one, other, part):
                raise BenchError(
                    f"the cells of {selection.task.name} are of different "
                    f"{'data' if part == 'dataset' else 'weights'} under one name ({'; '.join(lines)}): "
                    f"{cells[0].path} and {result.path}; run them again with rerun=true, or name them differently"
                )


def _scored(
    config: Mapping[str, Any],
    of_method: Mapping[tuple[str, str], Mapping[str, Result]],
    of_model: Mapping[tuple[str, str | None], Result],
) -> list[Scored]:
    """The methods for each explained class; what does not depend on the class stands under every one there is."""
    classes = [e for e in EXPLAINED if any(explained == e for _, explained in (*of_method, *of_model))] or [
        config["explained"]
    ]
    by_method: dict[str, dict[str, dict[str, Result]]] = {}
    for (key, explained), cells in of_method.items():
        for one in classes if explained == ANY else [explained]:
            by_method.setdefault(key, {}).setdefault(one, {}).update(cells)
    sections = {key: _first(cells).identity["method"] for key, cells in by_method.items()}
    method_names = {key: _method_name(_first(cells).record) for key, cells in by_method.items()}
    labels = _labels(config, sections, method_names)
    return [
        Scored(
            labels[key],
            sections[key],
            method_names[key],
            explained,
            {**_shared(of_model, explained), **cells},
        )
        for key, classes_of in by_method.items()
        for explained, cells in classes_of.items()
    ]


def _shared(of_model: Mapping[tuple[str, str | None], Result], explained: str) -> dict[str, Result]:
    """What is measured of the model alone, whatever class is explained or this one."""
    return {name: result for (name, of), result in of_model.items() if of in (None, explained)}


def _first(cells: Mapping[str, Mapping[str, Result]]) -> Result:
    return next(iter(next(iter(cells.values())).values()))


def _key(result: Result) -> str:
    return f"{_method_name(result.record)} {recipe(result.identity['method'])}"


def _method_name(record: Mapping[str, Any]) -> str:
    return record["names"][2]


def _labels(
    config: Mapping[str, Any], sections: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, str]:
    """Each method's label: its name, and in brackets the settings in which it is not what that name stands for.

    A method with a file ``conf/method/<name>.yaml`` is compared with what that means under the protocol, whichever
    others are there; one without is compared with its namesakes.

    Raises:
        BenchError: if two methods would have one label.
    """
    labels: dict[str, str] = {}
    for name in dict.fromkeys(names.values()):
        settings = {key: _settings(sections[key]) for key in names if names[key] == name}
        standard = _standard_method(config, name)
        compared = [*settings.values()] if standard is None else [*settings.values(), standard]
        every = dict.fromkeys(setting for own in compared for setting in own)
        varying = [s for s in every if len({json.dumps(own.get(s, ABSENT)) for own in compared}) > 1]
        for key, own in settings.items():
            differing = [
                s for s in varying if standard is None or own.get(s, ABSENT) != standard.get(s, ABSENT)
            ]
            given = ", ".join(f"{s}={own.get(s, 'absent')}" for s in differing)
            labels[key] = f"{name} ({given})" if given else name
    if len(set(labels.values())) < len(labels):
        twice = next(label for label in labels.values() if list(labels.values()).count(label) > 1)
        raise BenchError(
            f"two methods are called {twice}; give one of them another name with method.name=..."
        )
    return labels


def _settings(section: Mapping[str, Any]) -> dict[str, Any]:
    """What a method's part of an identity says of it: its settings, and the class that is called with them."""
    return {"_target_": section["target"], **section["settings"]}


def _standard_method(config: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The settings of ``method=<name>`` under the task and the protocol; None if there is no such file."""
    facts = catalogue_of(config)
    if facts.file("method", name) is None:
        return None
    protocol = facts.read("protocol", config["protocol"]["name"]) or config["protocol"]
    return _settings(component(method_of(name, facts, {**config, "protocol": protocol})))


def so_far(work: Work) -> Result | None:
    """What is done of an unfinished cell, as if that were all; None if nothing is."""
    parts = work.parts()
    if not any(len(part.rows) for part in parts):
        return None
    rows = merge(parts)
    record = {key: value for key, value in work.plan.items() if key != "cut"} | {"samples": len(rows)}
    return Result(work.folder / "plan.json", record | {"versions": parts[-1].origin["versions"]}, chosen=rows)


__all__ = ["Scored", "Selection", "select", "so_far"]
