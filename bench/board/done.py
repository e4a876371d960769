"""Cells that count as done because an entry of the board has them: computed on another machine, say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.board.entry import Entry, entries
from bench.board.facts import Part, list_of
from bench.board.known import without_list
from bench.board.tables import slug
from bench.store.identity import component, recipe


def entries_for(config: Mapping[str, Any]) -> list[Entry]:
    """The entries of a configuration's data set and model on the board among its results.

    Raises:
        BenchError: if a file is damaged.
    """
    root = Path(config["paths"]["results"]) / "board"
    names = [slug(config[section]["name"]) for section in ("dataset", "model")]
    if not root.joinpath(*names).is_dir():
        return []
    return list(entries(root, *names))


def entry_with(
    found: Sequence[Entry], config: Mapping[str, Any], measurement: Mapping[str, Any]
) -> tuple[Entry, Part] | None:
    """The entry, and its part, that have what a measurement of a cell gives; None if there is none.

    Data, model, method and measurement are compared by their settings: neither data nor weights are looked at.

    Args:
        found: :func:`entries_for` of the configuration.
        config: of the cell.
        measurement: its section of the configuration.
    """
    sought = [recipe(component(config[section])) for section in ("dataset", "model", "method")]
    for entry in found:
        there = [
            recipe(without_list(entry.dataset.made_of)),
            *map(recipe, (entry.model.made_of, entry.method.made_of)),
        ]
        same = entry.method.name == config["method"]["name"] and entry.explained == config["explained"]
        if same and there == sought:
            for part in entry.parts:
                if _has(part, config, measurement):
                    return entry, part
    return None


def _has(part: Part, config: Mapping[str, Any], measurement: Mapping[str, Any]) -> bool:
    """Whether a part is of a configuration's samples, prepared as there, and has a measurement."""
    return (
        part.on == list_of(config)
        and part.inputs == config["task"]["inputs"]
        and any(recipe(made_of) == recipe(component(measurement)) for made_of in part.measurements.values())
    )
