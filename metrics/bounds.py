"""The least and the greatest AOPC that any order of an input's units has.

Edin et al., "Normalized AOPC: Fixing Misleading Faithfulness Metrics for Feature Attribution Explainability",
2024 (arXiv 2408.08137). How far the probability falls depends on the model and the input more than on the
order; between these bounds numbers of several models can be compared.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

MOST_UNITS = 30  # about width · units² passes
MOST_EXACT = 12  # 2¹² subsets


def aopc_bounds(
    values: Callable[[np.ndarray], ArrayLike], units: int, width: int | None = None
) -> tuple[float, float]:
    """The bounds of :func:`metrics.aopc` with one unit removed at each step, for one input.

    Args:
        values: v of the input without the removed units, (rows,) from bool (rows, units): a probability, or a
            logit.
        units: how many there are.
        width: of a beam search for each bound, which finds a bound that some order does reach, if not always
            the outermost; None tries all subsets, which is exact.

    Returns:
        The lower and the upper bound.

    Raises:
        ValueError: for more than 30 units, more than 12 without a ``width``, or a width below 1.
    """
    if not 1 <= units <= MOST_UNITS:
        raise ValueError(f"units={units}: expected from 1 to {MOST_UNITS}; join neighbouring units to groups")
    if width is None:
        if units > MOST_EXACT:
            raise ValueError(f"units={units}: more than {MOST_EXACT} need a beam search, e.g. width=5")
        return _exact(values, units)
    if width < 1:
        raise ValueError(f"width={width}: expected 1 or more")
    return _searched(values, units, width, False), _searched(values, units, width, True)


def _exact(values: Callable, units: int) -> tuple[float, float]:
    """The sum of the values over steps is least, or greatest, along a path through the subsets: by their size."""
    subsets = (np.arange(2**units)[:, None] >> np.arange(units)) & 1 == 1
    value = np.asarray(values(subsets), dtype=np.float64)
    least, greatest = value.copy(), value.copy()
    for size in range(1, units + 1):
        for code in np.flatnonzero(subsets.sum(axis=1) == size):
            before = [code & ~(1 << unit) for unit in range(units) if code >> unit & 1]
            least[code] = value[code] + min(least[b] for b in before)
            greatest[code] = value[code] + max(greatest[b] for b in before)
    steps = units + 1
    return float(value[0] - greatest[-1] / steps), float(value[0] - least[-1] / steps)


def _searched(values: Callable, units: int, width: int, upper: bool) -> float:
    """A bound by beam search: of the orders so far, those whose sum of values is best are gone on with."""
    beam = np.zeros((1, units), dtype=bool)
    sums = np.asarray(values(beam), dtype=np.float64)
    clean = float(sums[0])
    for _ in range(units):
        parents, unit = np.nonzero(~beam)
        following = beam[parents]
        following[np.arange(len(unit)), unit] = True
        following = np.unique(following, axis=0)
        value = np.asarray(values(following), dtype=np.float64)
        # A subset may be reached from several; the best of them counts.
        inside = ~(beam[:, None] & ~following[None]).any(axis=2)
        total = np.where(inside, sums[:, None], np.inf if upper else -np.inf)
        total = value + (total.min(axis=0) if upper else total.max(axis=0))
        best = np.argsort(total if upper else -total, kind="stable")[:width]
        beam, sums = following[best], total[best]
    return clean - float(sums[0]) / (units + 1)
