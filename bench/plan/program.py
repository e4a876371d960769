"""The program ``python -m bench.plan``: what is counted, laid out as tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from bench.cli import progress, say, show, tell
from bench.errors import BenchError
from bench.plan.needs import Need, Sizes, cells_of, needs
from bench.plan.speed import Machine, factor_of, machine_of
from bench.runner.costs import Cost

OPTIONS = {"rate": float, "samples": int, "backward": float}
FLAGS = ("--measure", "--methods", "--json")
BACKWARD = 2.0


def main(arguments: Sequence[str]) -> None:
    """Print what the cells of a sweep need.

    Raises:
        BenchError: for everything the user can mend.
    """
    given, arguments = _options(arguments)
    flags = {flag for flag in FLAGS if flag in arguments}
    cells = list(cells_of([a for a in arguments if a not in flags]))
    backward = given.get("backward", BACKWARD)
    machines = _machines(cells, given.get("rate"))
    factors, unmeasured = _factors(cells, machines, backward) if "--measure" in flags else ({}, [])
    sizes = Sizes(given.get("samples"))
    found = needs(
        cells,
        sizes,
        {name: machine.shape for name, machine in machines.items()},
        lambda config, method: factors.get((config["model"]["name"], config["method"]["name"]), 1.0),
    )
    rates = {cell["model"]["title"]: machines[cell["model"]["name"]].rate for cell in cells}
    if "--json" in flags:
        tell(json.dumps(_as_data(found, rates, backward), indent=1, ensure_ascii=False))
        return
    show(_table(found, rates, backward))
    if "--methods" in flags:
        show("\n" + _by_method(found, rates, backward))
    notes = _notes(machines, backward, bool(factors), unmeasured)
    show("\n" + "\n".join(f"- {note}" for note in [*notes, *sizes.notes]))


def _options(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The program's own settings, and the other arguments.

    Raises:
        BenchError: for one that is no positive number.
    """
    given, others = {}, []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in OPTIONS:
            others.append(argument)
            continue
        try:
            given[key] = OPTIONS[key](value)
        except ValueError:
            given[key] = 0
        if not given[key] > 0:
            raise BenchError(f"{argument}: expected a number above 0")
    return given, others


def _machines(cells: Sequence[Mapping[str, Any]], rate: float | None) -> dict[str, Machine]:
    """The models of the cells by name, each looked at once."""
    found: dict[str, Machine] = {}
    for cell in cells:
        name = cell["model"]["name"]
        if name not in found:
            say(f"{cell['model']['title']}: {'as given' if rate else 'timing plain passes'}")
            found[name] = machine_of(cell, rate)
    return found


def _factors(
    cells: Sequence[Mapping[str, Any]], machines: Mapping[str, Machine], backward: float
) -> tuple[dict[tuple[str, str], float], list[str]]:
    """How much longer the maps of each method take than the passes they state, and the methods that were not timed."""
    distinct = {(cell["model"]["name"], cell["method"]["name"]): cell for cell in cells}
    found, lacking = {}, []
    with progress("timing a map by each method", len(distinct), "method") as advance:
        for key, cell in distinct.items():
            factor = factor_of(machines[key[0]], cell, backward)
            if factor is None:
                lacking.append(f"{cell['method']['title']} on {cell['model']['title']}")
            else:
                found[key] = factor
            advance()
    return found, lacking


def hours(cost: Cost, rate: float, backward: float) -> float:
    """How long something takes, at so many plain passes a second."""
    return cost.plain(backward) / rate / 3600


def _table(found: Sequence[Need], rates: Mapping[str, float], backward: float) -> str:
    """A line for each model and task, and the sums of each model and of all."""
    rows = []
    for model in dict.fromkeys(need.model for need in found):
        own = [need for need in found if need.model == model]
        rows += [
            _line(n.model, n.task, n.jobs, n.samples, n.cost, hours(n.cost, rates[model], backward), backward)
            for n in own
        ]
        total = sum((n.cost for n in own), Cost())
        jobs = sum(n.jobs for n in own)
        rows.append(
            _line(model, "**sum**", jobs, None, total, hours(total, rates[model], backward), backward)
        )
    if len(rates) > 1:
        total = sum((n.cost for n in found), Cost())
        time = sum(hours(n.cost, rates[n.model], backward) for n in found)
        rows.append(_line("**all**", "", sum(n.jobs for n in found), None, total, time, backward))
    return _markdown(rows, ["model", "task", "jobs", "samples"])


def _by_method(found: Sequence[Need], rates: Mapping[str, float], backward: float) -> str:
    total: dict[tuple[str, str], Cost] = {}
    for need in found:
        for name, cost in need.by_method.items():
            total[need.model, name] = total.get((need.model, name), Cost()) + cost
    rows = [
        (model, name, *_numbers(cost, hours(cost, rates[model], backward), backward))
        for (model, name), cost in total.items()
    ]
    return _markdown(rows, ["model", "method"])


def _line(
    model: str, task: str, jobs: int, samples: int | None, cost: Cost, time: float, backward: float
) -> tuple[str, ...]:
    return (
        model,
        task,
        f"{jobs:,}",
        "" if samples is None else f"{samples:,}",
        *_numbers(cost, time, backward),
    )


def _numbers(cost: Cost, time: float, backward: float) -> tuple[str, ...]:
    of_maps = Cost(forward=cost.forward, backward=cost.backward).plain(backward)
    return f"{cost.maps:,.0f}", f"{of_maps:,.0f}", f"{cost.measuring:,.0f}", f"{time:,.2f}", _size(cost.bytes)


def _markdown(rows: Sequence[tuple[str, ...]], names: Sequence[str]) -> str:
    columns = [*names, "maps", "plain passes for maps", "to measure them", "hours", "disk"]
    alignment = ["left" if name in ("model", "task", "method") else "right" for name in columns]
    return pd.DataFrame(rows, columns=columns).to_markdown(
        index=False, disable_numparse=True, colalign=alignment
    )


def _size(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _notes(
    machines: Mapping[str, Machine], backward: float, measured: bool, unmeasured: Sequence[str]
) -> list[str]:
    notes = []
    for name, machine in machines.items():
        how = (
            "as given"
            if machine.device == "given"
            else f"batches of {machine.batch_size} on {machine.device}"
        )
        notes.append(f"{name}: {machine.rate:.4g} plain forward passes per second ({how})")
        if machine.memory is not None:
            notes[-1] += (
                f"; the process takes {_size(machine.memory)} with all that a batch keeps for its backward pass, and "
                "methods in float64 about twice what that adds"
            )
        if machine.note:
            notes.append(machine.note)
    if measured:
        notes.append("a map costs what it took here, in plain passes, one batch with few draws")
    else:
        notes.append(
            f"a backward pass counts for {backward:g} plain passes, and float64 for nothing: --measure times maps"
        )
    if unmeasured:
        notes.append(f"not timed, so as stated: {', '.join(unmeasured)}")
    notes.append(
        "maps of patches and tokens are kept, and made once for all tasks on the same samples; maps of pixels are, "
        "too, with keep=pixels alone"
    )
    notes.append("one process; hours fall with the jobs that run at once. What is stored already is counted")
    return notes


def _as_data(found: Sequence[Need], rates: Mapping[str, float], backward: float) -> list[dict[str, Any]]:
    return [
        {
            "model": need.model,
            "task": need.task,
            "jobs": need.jobs,
            "samples": need.samples,
            **asdict(need.cost),
            "plain_passes": need.cost.plain(backward),
            "hours": hours(need.cost, rates[need.model], backward),
            "methods": {name: cost.plain(backward) for name, cost in need.by_method.items()},
        }
        for need in found
    ]
