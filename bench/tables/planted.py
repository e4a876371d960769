"""Which metrics of a table fail on planted maps."""

from bench.tables.select import Scored, Selection
from metrics import orders_planted_maps

PLANTED = ("oracle", "random", "reversed_oracle")  # methods, from the best to the worst
MARK = "‡"  # behind the title of a metric that fails


def failing(selection: Selection) -> dict[tuple[str, int], str]:
    """The titles of the metrics that do not order oracle, random and reversed oracle, by their name and k.

    None where one of the three was not measured; then nothing can be said.
    """
    found: dict[str, dict[str, Scored]] = {}
    for one in selection.scored:
        if one.name in PLANTED:
            found.setdefault(one.explained, {})[one.name] = one
    titles: dict[tuple[str, int], str] = {}
    for methods in found.values():
        if len(methods) == len(PLANTED):
            titles |= _failing(selection, [methods[name] for name in PLANTED])
    return titles


def _failing(selection: Selection, methods: list[Scored]) -> dict[tuple[str, int], str]:
    metrics = selection.task.built_metrics()
    statistics = [selection.task.statistics(one.tables()) for one in methods]
    keys = [key for key in statistics[0] if all(key in each for each in statistics)]
    return {
        (name, k): metrics[name].title + (f" at k = {k}" if k else "")
        for name, k in keys
        if metrics[name].higher_is_better is not None
        and not orders_planted_maps(*(each[name, k] for each in statistics), metrics[name].higher_is_better)
    }
