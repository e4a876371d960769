"""Faithfulness of token scores as the library ferret computes it.

Attanasio et al., "ferret: a Framework for Benchmarking Explainers on Transformers", EACL 2023 (arXiv
2208.01575): bins of 10 %, 20 %, … 100 % of the tokens, of which only those with a positive score count, and
bins that add no token are left out. So the number of bins varies with the map. [CLS] and [SEP] are no units
here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metrics.agreement import kendall
from metrics.curves import comprehensiveness, sufficiency, unit_counts
from metrics.masked import Masked, evaluated
from metrics.ranking import rank

SHARES = tuple(i / 10 for i in range(1, 11))


class FerretScores(NamedTuple):
    """Of one text."""

    comprehensiveness: float  # higher is better
    sufficiency: float  # lower is better
    bins: int


def positive_bins(scores: Tensor, shares: tuple[float, ...] = SHARES) -> Tensor:
    """The units of each bin that counts: bool (bins, units) from the scores (units,) of one text.

    Of the ⌊share · units⌋ highest scores those above 0; without the bins that are empty or equal the one
    before.
    """
    ranks = rank(scores[None])[0]
    bins: list[Tensor] = []
    for count in unit_counts(len(scores), shares):
        chosen = (ranks < count) & (scores > 0)
        if chosen.any() and not (bins and bins[-1].equal(chosen)):
            bins.append(chosen)
    return torch.stack(bins) if bins else torch.zeros(0, len(scores), dtype=torch.bool, device=scores.device)


def ferret_aopc(scores: Tensor, clean: float, probability: Callable[[Tensor], Tensor]) -> FerretScores:
    """Mean comprehensiveness and sufficiency over the bins of one text; 0 and 1 where there is no bin.

    Args:
        scores: (units,).
        clean: p of the explained class for the whole text.
        probability: from the removed units, bool (rows, units), to p (rows,).
    """
    bins = positive_bins(scores)
    if not len(bins):
        return FerretScores(0.0, 1.0, 0)
    without, only = probability(torch.cat([bins, ~bins])).double().cpu().numpy().reshape(2, -1)
    return FerretScores(float(comprehensiveness(clean, without)), float(sufficiency(clean, only)), len(bins))


def leave_one_out(masked: Masked, sizes: Tensor, units: int, target: Tensor, rows: int) -> Tensor:
    """p(x) − p(x without one unit) for each unit: (batch, units) float64, NaN beyond the units of a sample.

    Args:
        masked: see :mod:`metrics.masked`.
        sizes: (batch,), how many units each sample has.
        units: how many the largest has.
        target: (batch,), the explained class.
        rows: how many inputs are passed at once.
    """
    alone = torch.cat([torch.zeros(1, units, dtype=torch.bool), torch.eye(units, dtype=torch.bool)])
    samples = torch.arange(len(sizes)).repeat_interleave(sizes.cpu() + 1).to(target.device)
    which = torch.cat([torch.arange(int(size) + 1) for size in sizes]).to(target.device)
    alone = alone.to(target.device)
    p = evaluated(masked, samples, lambda some: alone[which[some]], target, rows).probability
    result = p.new_full((len(sizes), units + 1), float("nan"))
    result[samples, which] = p
    return result[:, :1] - result[:, 1:]


def tau_to_leave_one_out(scores: Tensor, drops: Tensor) -> np.ndarray:
    """Kendall's τ_b of each text's scores with the drops by leaving one unit out: (batch,) in −1..1, higher
    is better.

    Args:
        scores, drops: (batch, units); units whose drop is NaN do not count. NaN where either is constant.
    """
    known = ~drops.isnan()
    return np.array(
        [
            float(kendall(s[k][None].double(), d[k][None]))
            for s, d, k in zip(scores, drops, known, strict=True)
        ]
    )
