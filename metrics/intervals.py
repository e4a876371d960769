"""How far off a number may be: a 95 % interval that also holds for few samples, and for samples that agree.

The percentile interval of a bootstrap has no width where all samples have one value, and is too narrow for few of
them. So proportions have Wilson's interval (Wilson, Probable Inference, the Law of Succession, and Statistical
Inference, JASA 22, 1927; Brown, Cai & DasGupta, Interval Estimation for a Binomial Proportion, Statistical Science
16, 2001, recommend it), and of other bounded numbers the resampled set gains, where it is needed, one pseudo-sample
at each end of the range: what Agresti & Coull (Approximate Is Better than "Exact", The American Statistician 52, 1998)
do for proportions.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metrics.bootstrap import TIE, Statistic, bootstrap, interval

FEW = 30  # samples below which the percentile interval is too narrow
BOOTSTRAP, WIDENED, WILSON = "bootstrap", "bootstrap with pseudo-samples", "wilson"


class Intervals(NamedTuple):
    """Ends of intervals, (statistics,), and how each was made: one of BOOTSTRAP, WIDENED and WILSON."""

    low: np.ndarray
    high: np.ndarray
    kinds: list[str]


def wilson(shares: ArrayLike, count: ArrayLike, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of proportions (…) in 0..1, each seen in ``count`` samples (…): its ends (…)."""
    shares, count = np.asarray(shares, dtype=np.float64), np.asarray(count, dtype=np.float64)
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (shares + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(shares * (1 - shares) / count + z**2 / (4 * count**2))
    # At 0 and 1 one end is the proportion itself, but for rounding.
    return np.where(shares <= 0, 0.0, middle - half), np.where(shares >= 1, 1.0, middle + half)


def intervals(
    statistics: Sequence[Statistic],
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
    resampled: np.ndarray | None = None,
) -> Intervals:
    """The interval of each statistic, all of the same samples.

    A proportion has Wilson's; any other the percentile interval of a bootstrap. Where that has no width, or of fewer
    than 30 samples, it is made once more with a pseudo-sample at each end of the statistic's range (``ends``) among
    the samples, if the range is known. NaN where a statistic is defined on no sample.

    Args:
        resampled: what :func:`metrics.bootstrap` gave for these, (statistics, resamples); None computes it.

    Raises:
        ValueError: if the statistics are not of the same number of samples.
    """
    low, high = np.full(len(statistics), np.nan), np.full(len(statistics), np.nan)
    kinds = [WILSON if s.proportion else BOOTSTRAP for s in statistics]
    defined = [i for i, s in enumerate(statistics) if s.count]
    drawn = [i for i in defined if not statistics[i].proportion]
    if drawn:
        with np.errstate(invalid="ignore", divide="ignore"):  # resamples without a sample that counts
            chosen = [statistics[i] for i in drawn]
            values = bootstrap(chosen, resamples, seed) if resampled is None else np.asarray(resampled)[drawn]
            low[drawn], high[drawn] = interval(values, level)
    narrow = [
        i for i in drawn if statistics[i].ends is not None and _is_narrow(statistics[i], low[i], high[i])
    ]
    if narrow:
        widened = bootstrap([statistics[i].with_ends() for i in narrow], resamples, seed)
        low[narrow], high[narrow] = interval(widened, level)
    for i in narrow:
        kinds[i], value = WIDENED, statistics[i].value
        low[i], high[i] = min(low[i], value), max(high[i], value)
    for i in defined:
        if statistics[i].proportion:
            low[i], high[i] = _of_proportion(statistics[i], level)
    return Intervals(low, high, kinds)


def _is_narrow(statistic: Statistic, low: float, high: float) -> bool:
    return statistic.count < FEW or not high - low > TIE * max(abs(low), abs(high), 1e-300)


def _of_proportion(statistic: Statistic, level: float) -> tuple[float, float]:
    hits, count = statistic.terms.sum(axis=0)
    ends = np.array([wilson(hits / count, count, level)]).reshape(2, 1)
    low, high = statistic.reduce(np.concatenate([ends, np.ones((2, 1))], axis=1))
    return float(low), float(high)
