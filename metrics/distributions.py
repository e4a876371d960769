"""Two distributions over the classes compared: of the whole input, and of one that was edited.

ERASER's scorer (DeYoung et al., ACL 2020, arXiv 1911.03429) reports both beside comprehensiveness, where the rationale
was taken out of the input, and beside sufficiency, where nothing but the rationale is left.
"""

import numpy as np
from numpy.typing import ArrayLike


def entropy_drop(clean: ArrayLike, edited: ArrayLike) -> np.ndarray:
    """H(p(x)) − H(p(edited x)) in nats, (…): above 0 where the model is surer of the edited input.

    ERASER's scorer (DeYoung et al., ACL 2020). No direction is better.

    Args:
        clean: probabilities of all classes for the whole input, (…, classes); they are scaled to sum to 1.
        edited: for the edited input, likewise.

    Raises:
        ValueError: for negative or not finite numbers, probabilities that sum to 0, or shapes that differ.
    """
    clean, edited = _distributions(clean, edited)
    return _entropy(clean) - _entropy(edited)


def kl_divergence(clean: ArrayLike, edited: ArrayLike) -> np.ndarray:
    """KL(p(edited x) ‖ p(x)) = Σ p(edited x) ln(p(edited x) / p(x)) in nats, (…).

    In this direction in ERASER's scorer (DeYoung et al., ACL 2020): higher is more comprehensive, lower more
    sufficient; ∞ where the whole input rules out a class that the edited one does not.

    Args:
        clean: probabilities of all classes for the whole input, (…, classes); they are scaled to sum to 1.
        edited: for the edited input, likewise.

    Raises:
        ValueError: for negative or not finite numbers, probabilities that sum to 0, or shapes that differ.
    """
    clean, edited = _distributions(clean, edited)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = edited * np.log(edited / clean)
    return np.where(edited > 0, terms, 0.0).sum(-1)  # 0 ln 0 is 0


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    return -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0))).sum(-1)


def _distributions(*given: ArrayLike) -> list[np.ndarray]:
    arrays = [np.asarray(each, dtype=np.float64) for each in given]
    if any(array.shape != arrays[0].shape or not array.ndim for array in arrays):
        raise ValueError(f"probabilities of shapes {[a.shape for a in arrays]}; expected one, (…, classes)")
    if any(not np.isfinite(a).all() or (a < 0).any() or (a.sum(-1) <= 0).any() for a in arrays):
        raise ValueError("probabilities: expected finite numbers of 0 or more, with a sum above 0")
    return [array / array.sum(-1, keepdims=True) for array in arrays]
