"""Which metrics of a table fail on planted maps."""

from bench.tables.select import Scored, Selection
from metrics import orders_planted_maps

PLANTED = ("oracle", "random", "reversed_oracle")  # methods, from the best to the worst


def failing(selection: Selection) -> list[str]:
    """The titles of the metrics that do not order oracle, random and reversed oracle.

    None where one of the three was not measured; then nothing can be said.
    """
    found: dict[str, dict[str, Scored]] = {}
    for one in selection.scored:
        if one.name in PLANTED:
            found.setdefault(one.explained, {})[one.name] = one
    titles: dict[str, None] = {}
    for methods in found.values():
        if len(methods) == len(PLANTED):
            titles |= dict.fromkeys(_failing(selection, [methods[name] for name in PLANTED]))
    return list(titles)


def _failing(selection: Selection, methods: list[Scored]) -> list[str]:
    metrics = selection.task.built_metrics()
    statistics = [selection.task.statistics(one.tables()) for one in methods]
    keys = [key for key in statistics[0] if all(key in each for each in statistics)]
    return [
        metrics[name].title + (f" at k = {k}" if k else "")
        for name, k in keys
        if metrics[name].higher_is_better is not None
        and not orders_planted_maps(*(each[name, k] for each in statistics), metrics[name].higher_is_better)
    ]
