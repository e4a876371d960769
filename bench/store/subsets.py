"""Nested subsets: the first samples of a data set in one fixed order, so that dear methods need only some of them.

The order is that of a digest of each sample's id. So it depends neither on the data set's own order, nor on how many
samples there are, nor on a seed: the first 50 are among the first 100, and what was measured of these has the rows of
those.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.errors import BenchError
from bench.store.cells import Cell, Result

ORDER = "nested order 1"  # another text is another order: it never changes


def nested(ids: Iterable[str]) -> list[str]:
    """Ids of samples in the nested order."""
    return sorted(ids, key=lambda name: (hashlib.sha256(f"{ORDER}|{name}".encode()).digest(), name))


def first(ids: Sequence[str], count: int) -> set[str]:
    """The first ``count`` of some ids in the nested order; all, if there are no more."""
    return set(nested(ids)[:count])


def size_of(identity: Mapping[str, Any]) -> int | None:
    """How many samples of the nested order a cell is of, by its identity; None for all of the data set."""
    return identity["dataset"].get("subset")


def of_all(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity, or a recipe, as it would be of all samples: what cells of several subsets have in common."""
    dataset = {key: value for key, value in identity["dataset"].items() if key != "subset"}
    return {**identity, "dataset": dataset}


def covers(identity: Mapping[str, Any], count: int | None) -> bool:
    """Whether a cell has the samples of the first ``count``; None asks for all."""
    own = size_of(identity)
    return own is None or (count is not None and own >= count)


def smallest(found: Iterable[Result]) -> Result | None:
    """Of cells that differ in the subset alone the one of the fewest samples; None if there is none."""
    return min(found, key=lambda result: result.record["samples"], default=None)


def restricted(result: Result, count: int | None) -> Result:
    """A cell on its first ``count`` samples in the nested order: itself, if it is of no others."""
    if count is None or size_of(result.identity) == count or result.record["samples"] <= count:
        return result
    return result.only(first(result.ids(), count))


def stored(cell: Cell) -> Result | None:
    """What is finished of a cell: itself, or the same samples out of a finished cell of a larger subset, or of all.

    A cell from which samples were left out, as they could not be read, stands for itself alone: its first samples are
    not those of the data set.
    """
    if cell.is_done():
        return cell.result()
    count = size_of(cell.id.identity)
    if count is None:
        return None
    own = of_all(cell.id.identity)
    larger = [
        result
        for result in cell.namesakes()
        if of_all(result.identity) == own
        and covers(result.identity, count)
        and not result.record.get("skipped")
        and _is_whole(result)
    ]
    found = smallest(larger)
    return None if found is None else restricted(found, count)


def _is_whole(result: Result) -> bool:
    try:
        result.check()
    except BenchError:
        return False
    return True
