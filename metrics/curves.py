"""Numbers that sum up what a model says while more and more of its input is removed.

A *unit* is what is removed at once: a pixel, a patch, a word piece or a word. Curves are arrays (…, steps) of
one value per removed fraction: the probability or the logit of the explained class. All functions are linear
in the curves but for :func:`log_odds` and :func:`decision_flip`, and take any leading dimensions.

Samek et al., "Evaluating the Visualization of What a Deep Neural Network Has Learned", IEEE TNNLS 28 (2017):
AOPC, most relevant first (MoRF) and least relevant first (LeRF); Petsiuk, Das, Saenko, "RISE", BMVC 2018:
deletion and insertion; Blücher, Vielhaben, Strodthoff, "Decoupling Pixel Flipping and Occlusion Strategy for
Consistent XAI Benchmarks", TMLR 2024: SRG; DeYoung et al., "ERASER", ACL 2020: comprehensiveness and
sufficiency; Shrikumar et al., ICML 2017, and Chen et al., ICLR 2019: log-odds; Edin et al., "Normalized
AOPC", 2024 (arXiv 2408.08137).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Rounding = Literal["floor", "ceil"]


def unit_counts(units: int, fractions: Sequence[float]) -> list[int]:
    """How many of ``units`` are removed at each fraction: ⌊units · fraction⌋.

    The product is rounded to six places first: 90 · 0.7 is 62.99999999999999 in floating point and means 63.

    Raises ValueError for a fraction outside [0, 1].
    """
    return [int(_product(units, fraction)) for fraction in fractions]


def bin_counts(units: int, bins: Sequence[float], rounding: Rounding = "floor") -> list[int]:
    """How many of ``units`` each bin of ERASER's metrics takes: as :func:`unit_counts`, but at least one.

    Args:
        rounding: ``ceil`` takes the next larger number instead.

    Raises:
        ValueError: for no unit, a fraction outside [0, 1] or another rounding.
    """
    if units < 1:
        raise ValueError(f"units={units}: a bin takes at least one unit, so expected 1 or more")
    if rounding not in ("floor", "ceil"):
        raise ValueError(f"rounding={rounding!r}: expected floor or ceil")
    take = np.ceil if rounding == "ceil" else np.floor
    return [max(1, int(take(_product(units, fraction)))) for fraction in bins]


def _product(units: int, fraction: float) -> float:
    if not 0 <= fraction <= 1:
        raise ValueError(f"fractions: expected numbers in [0, 1], got {fraction}")
    return round(units * fraction, 6)


def area(curve: ArrayLike, fractions: ArrayLike) -> np.ndarray:
    """Area under curves (…, steps) over the removed ``fractions`` (steps,) by the trapezoid rule: (…).

    From 0 to 1 it is the mean of the curve. With the most relevant units removed first it is RISE's deletion
    score and Samek's MoRF, lower is better; with the least relevant first LeRF, higher is better, which
    equals RISE's insertion score where the units are put back in place of the same fill.

    Raises ValueError if the fractions do not increase or differ in number from the steps of the curve.
    """
    curve, fractions = np.asarray(curve, dtype=np.float64), np.asarray(fractions, dtype=np.float64)
    if fractions.shape != curve.shape[-1:]:
        raise ValueError(f"fractions: expected shape {curve.shape[-1:]}, as the curve, got {fractions.shape}")
    widths = np.diff(fractions)
    if not (widths > 0).all():
        raise ValueError(f"fractions: expected increasing numbers, got {fractions.tolist()}")
    return ((curve[..., 1:] + curve[..., :-1]) / 2 * widths).sum(-1)


def srg(most_first: ArrayLike, least_first: ArrayLike, fractions: ArrayLike) -> np.ndarray:
    """Symmetric relevance gain (…): the area between the curve with the least and that with the most relevant
    first.

    Blücher et al. 2024; also called ABPC, the area between perturbation curves. Higher is better, in −1..1
    for probabilities; a random map is worth 0 on average, whatever the fill. Errors as for :func:`area`.
    """
    return area(np.asarray(least_first, dtype=np.float64) - np.asarray(most_first), fractions)


def aopc(curve: ArrayLike) -> np.ndarray:
    """Area over the perturbation curve (…): the mean over all steps of v(x) − v(x with k units removed).

    ``curve`` (…, steps) begins with the value of the whole input, which is one of the steps, as in Samek et
    al.'s 1/(K + 1) Σ_{k=0..K}. Higher is better with the most relevant removed first. Of least minus most
    relevant first it is the area between both, as means of steps.
    """
    curve = np.asarray(curve, dtype=np.float64)
    return curve[..., 0] - curve.mean(-1)


def comprehensiveness(clean: ArrayLike, without_top: ArrayLike) -> np.ndarray:
    """Mean over bins of p(x) − p(x without its most relevant units), (…) from (…) and (…, bins); higher is
    better.

    ERASER's scorer divides by the number of bins, and so does this.
    """
    return (np.asarray(clean, dtype=np.float64)[..., None] - np.asarray(without_top)).mean(-1)


def sufficiency(clean: ArrayLike, only_top: ArrayLike) -> np.ndarray:
    """Mean over bins of p(x) − p(x with only its most relevant units), (…) from (…) and (…, bins); lower is better."""
    return comprehensiveness(clean, only_top)


def log_odds(clean: ArrayLike, without_top: ArrayLike) -> np.ndarray:
    """Mean over bins of ln p(x without its most relevant units) − ln p(x), (…); lower is better.

    Args:
        clean: (…), ln p, from a log-softmax: the logarithm of a rounded probability may be −∞.
        without_top: (…, bins), likewise.
    """
    return -comprehensiveness(clean, without_top)


def decision_flip(predictions: ArrayLike, fractions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The first removed fraction at which another class is predicted than for the whole input.

    Lower is better with the most relevant removed first.

    Args:
        predictions: (…, steps), of which the first is for the whole input.
        fractions: (steps,).

    Returns:
        That fraction (…), and whether it is censored (…): where the prediction never changes it is 1.

    Raises:
        ValueError: if fractions and steps differ in number.
    """
    predictions, fractions = np.asarray(predictions), np.asarray(fractions, dtype=np.float64)
    if fractions.shape != predictions.shape[-1:]:
        raise ValueError(
            f"fractions: expected shape {predictions.shape[-1:]}, as the predictions, got {fractions.shape}"
        )
    changed = predictions != predictions[..., :1]
    censored = ~changed.any(-1)
    return np.where(censored, 1.0, fractions[changed.argmax(-1)]), censored


def normalised_aopc(value: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> np.ndarray:
    """AOPC between the least and the greatest that any order of this input has, (…) in 0..1.

    Edin et al. 2024. NaN where both bounds are equal, as then no order is better than another.
    """
    value, lower, upper = (np.asarray(each, dtype=np.float64) for each in (value, lower, upper))
    span = upper - lower
    return np.where(span > 0, (value - lower) / np.where(span > 0, span, 1), np.nan)
