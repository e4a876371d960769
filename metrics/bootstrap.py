"""How sure a number is: intervals by resampling the samples of a data set.

Efron & Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval, chapter 13).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike

# Numbers in the arrays that are held at a time, float64.
CHUNK = 4_000_000  # how often samples were drawn, and the sums of terms: 32 MB each
BLOCK = 8_000_000  # terms side by side: 64 MB
DRAWS = 100_000  # drawn at a time; they are counted while they are still in the processor's cache
TIE = 1e-9  # relative; sums of the same numbers in another order differ by far less


@dataclass(frozen=True)
class Statistic:
    """A metric of a data set, as a function of sums over its samples.

    So a resample costs one product with the numbers of times that each sample was drawn, and ratios of sums,
    such as mIoU, are recomputed from the sums, not averaged.

    Attributes:
        terms: what is summed, (n, terms), one row per sample.
        reduce: from sums (…, terms) to the metric (…).
        defined: (n,), boolean: which samples count; None for all.
        ends: (2, terms), the terms of a sample at either end of the range; None if that is not known.
        scale: of a mean; None of anything else.
        proportion: whether it is the share of samples with some property.
    """

    terms: np.ndarray
    reduce: Callable[[np.ndarray], np.ndarray]
    defined: np.ndarray | None = None
    ends: np.ndarray | None = None
    scale: float | None = None
    proportion: bool = False

    @classmethod
    def mean(
        cls,
        values: ArrayLike,
        scale: float = 1.0,
        defined: ArrayLike | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> "Statistic":
        """``scale`` times the mean of one number per sample (n,).

        Args:
            defined: (n,), False where a sample has no such number and does not count; None for all.
            bounds: the least and the greatest value that a sample can have; None if it is not known.
        """
        values = np.asarray(values, dtype=np.float64)
        weights = np.ones_like(values) if defined is None else np.asarray(defined, dtype=np.float64)
        terms = np.stack([np.where(weights > 0, values, 0), weights], axis=1)
        ends = None if bounds is None else np.array([[bound, 1.0] for bound in bounds])
        return cls(terms, lambda s: scale * s[..., 0] / s[..., 1], weights > 0, ends, scale)

    @classmethod
    def share(cls, hits: ArrayLike, scale: float = 1.0, defined: ArrayLike | None = None) -> "Statistic":
        """``scale`` times the share of the samples that are hits (n,), which are true or false, or 1 or 0.

        Args:
            defined: (n,), False where a sample does not count; None for all.

        Raises:
            ValueError: for other hits.
        """
        hits = np.asarray(hits, dtype=np.float64)
        counted = hits if defined is None else hits[np.asarray(defined, dtype=bool)]
        if not np.isin(counted, (0, 1)).all():
            raise ValueError("hits: expected true or false for each sample")
        return replace(cls.mean(hits, scale, defined, bounds=(0.0, 1.0)), proportion=True)

    def bounded(self, low: float, high: float) -> "Statistic":
        """This, with the ends of its range: of a mean that does not know them, in the unit of its value.

        Unchanged where the range is infinite, or a sample lies outside it.
        """
        if self.ends is not None or not self.scale or not np.isfinite([low, high]).all():
            return self
        low, high = sorted((low / self.scale, high / self.scale))
        values = self.terms[self.terms[:, 1] > 0, 0]
        if len(values) and not (low - TIE <= values.min() and values.max() <= high + TIE):
            return self
        return replace(self, ends=np.array([[low, 1.0], [high, 1.0]]))

    def with_ends(self) -> "Statistic":
        """This, with one pseudo-sample more at each end of its range; both count."""
        defined = None if self.defined is None else np.append(self.defined, [True, True])
        return replace(self, terms=np.concatenate([self.terms, self.ends]), defined=defined)

    def among(self, chosen: np.ndarray) -> "Statistic":
        """This, of some of the samples alone.

        Args:
            chosen: (n,), boolean; the others do not count any more.
        """
        chosen = np.asarray(chosen, dtype=bool)
        defined = chosen if self.defined is None else self.defined & chosen
        return replace(self, terms=np.where(chosen[:, None], self.terms, 0), defined=defined)

    def placed(self, places: ArrayLike, n: int) -> "Statistic":
        """This, its samples being some of n: of the others nothing is known, so they do not count.

        Args:
            places: (samples,), where each of its own samples stands among the n.
        """
        terms, defined = np.zeros((n, self.terms.shape[1])), np.zeros(n, dtype=bool)
        terms[places], defined[places] = self.terms, self.known
        return replace(self, terms=terms, defined=defined)

    @property
    def known(self) -> np.ndarray:
        """Which samples count, (n,)."""
        return np.ones(len(self.terms), dtype=bool) if self.defined is None else self.defined

    @property
    def count(self) -> int:
        """How many samples count."""
        return len(self.terms) if self.defined is None else int(self.defined.sum())

    @property
    def value(self) -> float:
        """The metric of the data set itself; NaN where it is defined on no sample."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(self.reduce(self.terms.sum(axis=0)))


def bootstrap(statistics: Sequence[Statistic], resamples: int = 10_000, seed: int = 0) -> np.ndarray:
    """Each statistic on the same resamples of n samples with replacement: (statistics, resamples).

    Resample r is of the samples ``default_rng(seed).integers(n, size=(resamples, n))[r]``, so numbers from
    different calls are paired too. One call for many statistics is far cheaper than many calls: they share
    the draws, and equal terms are summed once. Beyond the statistics and the result, memory stays below
    200 MB for up to 4 million samples.

    Raises:
        ValueError: if the statistics are not of the same number of samples.
    """
    sizes = {len(statistic.terms) for statistic in statistics}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"statistics: expected one number of samples, 1 or more, got {sorted(sizes)}")
    (n,) = sizes
    columns, places = _distinct_columns(statistics)
    width = max(1, BLOCK // n)
    blocks = [columns[i : i + width] for i in range(0, len(columns), width)]
    only = _stacked(blocks[0]) if len(blocks) == 1 else None  # many have to be put together in each round
    results = np.empty((len(statistics), resamples))
    stop = 0
    for times_drawn in _times_drawn(n, resamples, max(1, CHUNK // max(n, len(columns))), seed):
        start, stop = stop, stop + len(times_drawn)
        sums = np.empty((len(times_drawn), len(columns)))
        for i, block in enumerate(blocks):
            terms = _stacked(block) if only is None else only
            sums[:, i * width : (i + 1) * width] = _product(times_drawn, terms)
            del terms  # before the next is made
        for row, statistic, place in zip(results, statistics, places, strict=True):
            row[start:stop] = statistic.reduce(sums[:, place])
    return results


@dataclass(frozen=True)
class Draws:
    """How much each of n samples counts in each of some resamples, drawn once and used for any statistics.

    Attributes:
        counts: (resamples, n), whole numbers.
    """

    counts: np.ndarray

    @classmethod
    def bootstrap(cls, n: int, resamples: int = 10_000, seed: int = 0) -> "Draws":
        """The resamples with replacement of :func:`bootstrap`, so numbers of both are paired."""
        counts = np.empty((resamples, n), dtype=np.uint16)
        stop = 0
        for drawn in _times_drawn(n, resamples, max(1, CHUNK // n), seed):
            start, stop = stop, stop + len(drawn)
            counts[start:stop] = drawn
        return cls(counts)

    @classmethod
    def halves(cls, n: int, splits: int = 200, seed: int = 0) -> tuple["Draws", "Draws"]:
        """Random halves of n samples, ⌊n / 2⌋ of them and the others, in each of ``splits`` splits.

        Raises:
            ValueError: for fewer than two samples.
        """
        if n < 2:
            raise ValueError(f"{n} samples cannot be halved")
        order = np.random.default_rng(seed).random((splits, n)).argsort(axis=1, kind="stable")
        first = order.argsort(axis=1, kind="stable") < n // 2
        return cls(first.astype(np.uint16)), cls((~first).astype(np.uint16))

    def of(self, statistics: Sequence[Statistic]) -> np.ndarray:
        """Each statistic on each resample: (statistics, resamples); NaN where it is defined on none of its samples.

        Raises:
            ValueError: if a statistic is of another number of samples.
        """
        resamples, n = self.counts.shape
        if wrong := [len(s.terms) for s in statistics if len(s.terms) != n]:
            raise ValueError(f"statistics: expected {n} samples, got {wrong[0]}")
        results = np.empty((len(statistics), resamples))
        if not statistics:
            return results
        columns, places = _distinct_columns(statistics)
        step, width = max(1, CHUNK // max(n, len(columns))), max(1, BLOCK // n)
        for start in range(0, resamples, step):
            counts = self.counts[start : start + step].astype(np.float64)
            blocks = (columns[i : i + width] for i in range(0, len(columns), width))
            sums = np.concatenate([_product(counts, _stacked(block)) for block in blocks], axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                for row, statistic, place in zip(results, statistics, places, strict=True):
                    row[start : start + step] = statistic.reduce(sums[:, place])
        return results


def _stacked(columns: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(columns, dtype=np.float64, casting="unsafe")


def _product(times_drawn: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """Sums of terms, (resamples, terms), from (resamples, n) and (terms, n).

    By torch: NumPy's OpenBLAS takes a hundred times as long where another process is at the same cores.
    """
    return (torch.from_numpy(times_drawn) @ torch.from_numpy(terms).T).numpy()


def _distinct_columns(statistics: Sequence[Statistic]) -> tuple[list[np.ndarray], list[list[int]]]:
    """The terms of all statistics, equal ones once, and where each statistic finds its own among them."""
    columns, known, places = [], {}, []
    for statistic in statistics:
        places.append([])
        for column in np.asarray(statistic.terms).T:
            digest = hashlib.sha256(np.ascontiguousarray(column, dtype=np.float64)).digest()
            if digest not in known:
                known[digest] = len(columns)
                columns.append(column)
            places[-1].append(known[digest])
    return columns, places


def _times_drawn(n: int, resamples: int, step: int, seed: int) -> Iterator[np.ndarray]:
    """How often each sample is drawn, (``step`` resamples at a time, n): one array, filled again and again.

    The order of the draws does not depend on ``step``. They are counted, not drawn as multinomial numbers,
    which cost n binomial ones a resample.
    """
    rng = np.random.default_rng(seed)
    buffer = np.empty((min(step, resamples), n))
    some = max(1, DRAWS // n)  # resamples
    for start in range(0, resamples, step):
        chunk = buffer[: min(step, resamples - start)]
        for i in range(0, len(chunk), some):
            rows = chunk[i : i + some]
            drawn = rng.integers(n, size=rows.shape)
            drawn += n * np.arange(len(rows))[:, None]
            rows[:] = np.bincount(drawn.ravel(), minlength=rows.size).reshape(rows.shape)
        yield chunk


def interval(resampled: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval of resampled values (…, resamples): its lower and upper ends (…).

    Resamples without a sample on which the statistic is defined, NaN, are left out; if all are, so are the ends.
    """
    tail = 50 * (1 - level)
    rows = resampled.reshape(-1, resampled.shape[-1])
    # Row by row, as numpy.percentile copies what it is given.
    ends = np.array([np.percentile(_defined(row), [tail, 100 - tail]) for row in rows])
    low, high = np.moveaxis(ends.reshape(*resampled.shape[:-1], 2), -1, 0)
    return low, high


def _defined(values: np.ndarray) -> np.ndarray:
    known = values[~np.isnan(values)]
    return known if len(known) else values
