"""How many units of a method's maps are as relevant as another, and what their order is worth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.catalogue import catalogue_of
from bench.tables.format import readable
from bench.tables.select import Scored, Selection
from bench.tables.words import joined
from metrics import bootstrap, interval

MANY = 0.1  # share of tied units beyond which their order is looked at
RESAMPLES = 2000


def tie_notes(selection: Selection) -> list[str]:
    """Sentences that name the methods with many tied units, and their numbers that depend on the order of these.

    The share is that of the units which were removed. A number depends on the order where the other order was scored
    too, as a metric of its own that reads a measurement with ``ties: last``, and the 95 % bootstrap interval of the
    difference, paired by samples, does not hold 0.
    """
    facts, shares = catalogue_of(selection.config), {}
    for one in selection.scored:
        share = _tied(one)
        if share is not None and share > MANY:
            shares.setdefault(one.label, (readable(one.label, facts), share, []))[2].append(one)
    if not shares:
        return []
    named = joined([f"{title} {100 * share:.0f} %" for title, share, _ in shares.values()])
    notes = [f"**Tied units**, whose order is that of their places and not the map's: {named}."]
    for title, _, methods in shares.values():
        for one in methods:
            notes += [
                f"**Depends on the order of tied units**: {text}"
                for text in _depending(selection, one, title)
            ]
    return notes


def _tied(one: Scored) -> float | None:
    """The mean share of tied units; None where no units were removed."""
    for name, result in one.results.items():
        if name.partition(" ")[0] == "removal_curves":
            return float(np.mean(result.rows["tied"]))
    return None


def _depending(selection: Selection, one: Scored, title: str) -> list[str]:
    """What a method's numbers are with either order of tied units, where this makes a difference."""
    metrics, found = selection.task.built_metrics(), []
    statistics = selection.task.statistics(one.tables())
    for name, reversed_name in _pairs(selection.task.metrics):
        both = [statistics.get((each, 0)) for each in (name, reversed_name)]
        if None in both or not all(statistic.count for statistic in both):
            continue
        with np.errstate(
            invalid="ignore", divide="ignore"
        ):  # resamples without a sample on which it is defined
            values = bootstrap(both, RESAMPLES, selection.config["seed"])
        low, high = interval(values[0] - values[1])
        if low > 0 or high < 0:
            numbers = "{:.3f}, with the other order {:.3f}".format(*(s.value for s in both))
            found.append(f"{metrics[name].title} of {title} is {numbers}.")
    return found


def _pairs(sections: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The metrics that are scored with both orders of tied units: the name of each, and of it with the last first."""

    def described(section: Mapping[str, Any]) -> Any:
        reads = {
            name: {key: value for key, value in read.items() if key != "ties"}
            for name, read in section["reads"].items()
        }
        return {key: value for key, value in section.items() if key not in ("name", "title")} | {
            "reads": reads
        }

    def is_last(section: Mapping[str, Any]) -> bool:
        return any(read.get("ties") == "last" for read in section["reads"].values())

    return [
        (name, other)
        for name, section in sections.items()
        for other, another in sections.items()
        if not is_last(section) and is_last(another) and described(section) == described(another)
    ]
