"""Who fills which cell, where several processes are at the same sweep."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.store.cells import Cell
from bench.store.files import BusyError, claimed
from bench.tasks import Measurement, Variant

# A cell that is to be filled: the measurement, or None for maps; the variant of these; the cell.
Wanted = tuple[Measurement | None, Variant | None, Cell]


@contextmanager
def claims(
    config: Mapping[str, Any], wanted: Sequence[Wanted], wait: bool, passing_over: bool = False
) -> Iterator[set[str]]:
    """Hold the shard of every cell that is to be filled; gives the stems of the cells.

    A measurement that another process is at is left to it; an explanation is waited for, as its maps are needed.
    All take their locks in one order, so that nobody waits in a circle. What a single forward pass says of the model
    is not claimed: whoever needs it makes it.

    Args:
        config: the resolved configuration, which names the shard.
        wanted: the cells.
        wait: wait for measurements, too.
        passing_over: hold those that nobody is at, if any.

    Raises:
        BusyError: if another process is at a cell that is neither waited for nor passed over.
        BenchError: if the results folder cannot be written to.
    """
    shard, held = f"{config['shard']}-of-{config['shards']}", []
    with ExitStack() as stack:
        for measurement, _, cell in sorted(wanted, key=_order):
            if is_of_maps(measurement) or is_shared_work(measurement):
                try:
                    stack.enter_context(claimed(cell.lock_file(shard), wait or measurement is None))
                except BusyError:
                    if passing_over:
                        continue
                    raise
                cell.announce(shard)
            held.append(cell)
        for cell in held:
            stack.enter_context(cell.failures(shard))
        yield {cell.id.stem for cell in held}


def _order(entry: Wanted) -> tuple[bool, str]:
    return entry[0] is None, entry[2].id.fingerprint


def is_of_maps(measurement: Measurement | None) -> bool:
    """Whether a cell holds maps or what is measured of them, so that one process at a time is at a shard of it."""
    return measurement is None or measurement.needs_maps


def is_shared_work(measurement: Measurement | None) -> bool:
    """Whether a cell holds what all methods share and takes many passes: of the model without parts of inputs."""
    return not is_of_maps(measurement) and measurement.class_specific
