"""Does a metric work at all? On planted maps it must order the truth, a random map and the reversed truth.

After the control experiments of Hedström et al., "The Meta-Evaluation Problem in Explainable AI", TMLR 2023.
"""

import numpy as np

from metrics.bootstrap import Statistic, bootstrap, interval


def orders_planted_maps(
    oracle: Statistic,
    random: Statistic,
    reversed_oracle: Statistic,
    higher_is_better: bool,
    resamples: int = 2000,
    seed: int = 0,
) -> bool:
    """Whether a metric puts the oracle above the random and this above the reversed map, beyond what chance
    would do.

    Both differences, paired by samples, must have 95 % bootstrap intervals on the right side of 0.

    Args:
        oracle, random, reversed_oracle: the metric of the three kinds of maps, on the same samples.
        higher_is_better: the metric's direction.
    """
    statistics = (oracle, random, reversed_oracle)
    if not all(statistic.count for statistic in statistics):
        return False
    with np.errstate(invalid="ignore", divide="ignore"):  # resamples without a sample on which it is defined
        values = bootstrap(statistics, resamples, seed)
    better, worse = values[:2], values[1:]
    lower, upper = interval(better - worse)
    return bool((lower > 0).all() if higher_is_better else (upper < 0).all())
