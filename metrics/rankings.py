"""Rankings of methods: ranks, mean ranks, how far two rankings agree, and how far one agrees with itself.

A ranking is the order of M values, more being better. Two rankings are compared by Kendall's τ_b over the pairs of
methods that are in both (Kendall, "The Treatment of Ties in Ranking Problems", Biometrika 33 (1945)). Noise alone
keeps that below 1: the ceiling is τ_b between the rankings by random halves of the same samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from metrics.bootstrap import TIE, Draws, Statistic, interval
from metrics.comparisons import Comparisons, compare_cells, letters

HELD = 10_000_000  # signs of pairs that are held at a time, float32


def ranks(values: ArrayLike) -> np.ndarray:
    """Ranks from 1, of the largest of M values, to M: (…, M); tied values share the mean of their ranks.

    Two are tied that differ by less than 1e-9 of the largest. Where one of the values is NaN, so are all ranks.
    """
    values = np.asarray(values, dtype=np.float64)
    found = np.empty_like(values)
    for i in range(values.shape[-1]):  # of all pairs at once there may be a great many
        ahead = _signs(values[..., i, None] - values, values).sum(axis=-1, dtype=np.float64)
        found[..., i] = (values.shape[-1] + 1 - ahead) / 2
    found[np.isnan(values).any(axis=-1)] = np.nan
    return found


def pair_signs(values: ArrayLike) -> np.ndarray:
    """Which of each pair of M values is larger: (…, M (M − 1) / 2) int8, 1 for the earlier one, −1 for the later.

    0 for a tie, as :func:`ranks` has it, and where one of the two is NaN. The pairs stand in the order of
    ``np.triu_indices(M, k=1)``.
    """
    values = np.asarray(values, dtype=np.float64)
    first, second = np.triu_indices(values.shape[-1], k=1)
    return _signs(values[..., first] - values[..., second], values)


def _signs(differences: np.ndarray, values: np.ndarray) -> np.ndarray:
    size = np.fmax.reduce(np.abs(values), axis=-1, keepdims=True, initial=0)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(differences) > TIE * size, np.sign(differences), 0).astype(np.int8)


def tau_b(values: ArrayLike, others: ArrayLike) -> np.ndarray:
    """Kendall's τ_b of two rankings of the same M methods, (…, M) each: (…), NaN where either has all tied.

    A method that is NaN in one of the two counts in neither.
    """
    values, others = np.broadcast_arrays(np.asarray(values, np.float64), np.asarray(others, np.float64))
    missing = np.isnan(values) | np.isnan(others)
    a, b = (pair_signs(np.where(missing, np.nan, v)).astype(np.float64) for v in (values, others))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))


@dataclass(frozen=True)
class RankAgreement:
    """Kendall's τ_b of each of C rankings with each, (C, C), and what each reaches with itself, (C,).

    Attributes:
        tau: by all samples; NaN where two have fewer than two methods in common, or one has all of these tied.
        low, high: 95 % percentile interval over resamples of the samples. A resample carries noise twice, that of
            the samples and that of resampling, as half of the samples does: so the interval lies lower than ``tau``
            and may be held against the ceiling.
        retest: the mean of τ_b between the rankings by random halves of the samples.
        retest_low, retest_high: between which 95 % of the splits lie.
        methods: (C, C), how many methods two rankings have in common.
    """

    tau: np.ndarray
    low: np.ndarray
    high: np.ndarray
    retest: np.ndarray
    retest_low: np.ndarray
    retest_high: np.ndarray
    methods: np.ndarray

    @property
    def ceiling(self) -> np.ndarray:
        """(C, C), the lower of what the two rankings reach with themselves; NaN if one of these is not known."""
        return np.minimum(self.retest[:, None], self.retest[None, :])

    @property
    def differ(self) -> np.ndarray:
        """(C, C) boolean: whether the interval of τ_b ends below the ceiling, so that noise does not explain it."""
        with np.errstate(invalid="ignore"):
            return self.high < self.ceiling


def rank_agreement(
    rankings: Sequence[Sequence[Statistic | None]], draws: Draws, halves: tuple[Draws, Draws]
) -> RankAgreement:
    """How far C rankings of M methods agree: those of several metrics on one model, or of several models.

    Samples are resampled for all rankings at once. A ranking is by the samples on which all its methods are
    defined.

    Args:
        rankings: (C, M), of the same n samples, more being better; None for a method that is not in a ranking.
        draws: resamples of the n samples.
        halves: of the n samples, as :meth:`metrics.Draws.halves` gives them.

    Raises:
        ValueError: if a statistic is of another number of samples.
    """
    narrowed = [on_common_samples(ranking) for ranking in rankings]
    present = np.array([[s is not None for s in ranking] for ranking in narrowed], dtype=bool)
    present = present.reshape(len(narrowed), -1)
    (tau,) = _taus(pair_signs(_values(narrowed))[None], present)
    signs = [pair_signs(_resampled(ranking, draws)) for ranking in narrowed]
    on_resamples = _taus(np.stack(signs, axis=1), present) if signs else np.empty((1, 0, 0))
    low, high = _ends(np.moveaxis(on_resamples, 0, -1))
    retests = [tau_b(*(_resampled(ranking, half) for half in halves)) for ranking in narrowed]
    retest = np.array(retests).reshape(len(narrowed), -1)
    known = (~np.isnan(retest)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.nansum(retest, axis=1) / np.where(known > 0, known, np.nan)
    return RankAgreement(tau, low, high, mean, *_ends(retest), present.astype(int) @ present.T.astype(int))


def on_common_samples(ranking: Sequence[Statistic | None]) -> list[Statistic | None]:
    """The statistics of a ranking on the samples on which all of them are defined."""
    there = [s.known for s in ranking if s is not None]
    if not there or all((known == there[0]).all() for known in there):
        return list(ranking)
    common = np.logical_and.reduce(there)
    return [s if s is None else s.among(common) for s in ranking]


def _values(rankings: Sequence[Sequence[Statistic | None]]) -> np.ndarray:
    values = [[np.nan if s is None else s.value for s in ranking] for ranking in rankings]
    return np.array(values, dtype=np.float64).reshape(len(rankings), -1)


def _resampled(ranking: Sequence[Statistic | None], draws: Draws) -> np.ndarray:
    """(resamples, M), NaN for methods that are not in the ranking."""
    found = np.full((len(draws.counts), len(ranking)), np.nan)
    there = [i for i, s in enumerate(ranking) if s is not None]
    found[:, there] = draws.of([ranking[i] for i in there]).T
    return found


def _taus(signs: np.ndarray, present: np.ndarray) -> np.ndarray:
    """τ_b of all pairs of rankings, (times, C, C), from their signs (times, C, pairs).

    Args:
        present: (C, M), which methods are in which ranking; pairs of the others count in no τ_b with it.
    """
    first, second = np.triu_indices(present.shape[1], k=1)
    there = torch.from_numpy((present[:, first] & present[:, second]).astype(np.float32))
    found = np.empty((len(signs), len(present), len(present)))
    step = max(1, HELD // max(1, signs[0].size))
    for start in range(0, len(signs), step):
        some = torch.from_numpy(signs[start : start + step]).float()
        concordant, untied = some @ some.transpose(1, 2), some.abs() @ there.T
        both = (untied * untied.transpose(1, 2)).double().sqrt()
        found[start : start + step] = (concordant.double() / both).numpy()
    return found


def _ends(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval (…) of (…, times), NaN where nothing is known."""
    low, high = np.full(values.shape[:-1], np.nan), np.full(values.shape[:-1], np.nan)
    known = ~np.isnan(values).all(axis=-1)
    if known.any():
        low[known], high[known] = interval(values[known])
    return low, high


@dataclass(frozen=True)
class MeanRanks:
    """The mean of M methods' ranks over C cells, such as metrics and models.

    Attributes:
        ranks: (C, M), in each cell, 1 for the best.
        value: (M,), the mean rank.
        low, high: (M,), the ends of intervals that hold for all methods at once: the means over the cells of the
            ends of the intervals of ranks. The cells are fixed, not sampled.
        cells: what is told apart in each cell, all pairs of all cells at once.
    """

    ranks: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    cells: Sequence[Comparisons]

    @property
    def better(self) -> np.ndarray:
        """(M, M) boolean: whether the interval of a method, in a row, ends before that of another begins."""
        return self.high[:, None] < self.low[None, :]

    def rank_intervals(self) -> np.ndarray:
        """(M, 2): 1 + how many are better, and M − how many are worse."""
        return np.stack([1 + self.better.sum(axis=0), len(self.value) - self.better.sum(axis=1)], axis=1)

    def letters(self) -> list[str]:
        """Two methods share a letter if and only if their intervals overlap; the first belongs to the best."""
        return letters(self.better | self.better.T, -self.value)

    def without_cells(self, left_out: ArrayLike) -> np.ndarray:
        """(M,), the mean rank over the cells but some, (C,) boolean; NaN if none is left."""
        kept = ~np.asarray(left_out, dtype=bool)
        return self.ranks[kept].mean(axis=0) if kept.any() else np.full(self.ranks.shape[1], np.nan)


def mean_ranks_over_cells(values: ArrayLike, resampled: ArrayLike, level: float = 0.95) -> MeanRanks:
    """Mean ranks of M methods that are in all C cells.

    Ranks are not resampled: where methods are nearly alike, noise draws their resampled ranks to the middle, and
    percentiles of these miss the true mean rank far too often (half of the time, with eight methods whose
    differences are a tenth of the noise of their means). What can be told apart is resampled instead, once for all
    cells (:func:`metrics.compare_cells`).

    Args:
        values: (C, M), more being better.
        resampled: (C, M, resamples), paired over methods, and over the cells that are of the same samples.

    Raises:
        ValueError: if there is no cell, the shapes do not fit, or a value is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        raise ValueError("values: expected one cell or more")
    cells = compare_cells(values, resampled, level)
    ends = np.mean([cell.rank_intervals(level) for cell in cells], axis=0)
    own = ranks(values)
    return MeanRanks(own, own.mean(axis=0), ends[:, 0], ends[:, 1], cells)
