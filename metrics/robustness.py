"""How far maps move when the input hardly does, or when the model is another one; whether they sum to what
they should.

Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019: max-sensitivity; Adebayo et
al., "Sanity Checks for Saliency Maps", NeurIPS 2018, and Hedström et al., "Sanity Checks Revisited", 2024
(arXiv 2401.06465): model parameter randomisation; Sundararajan, Taly, Yan, ICML 2017: completeness; Bach et
al., PLOS ONE 2015: conservation.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from metrics.checks import require_finite, require_shape


def relative_distance(maps: Tensor, others: Tensor) -> Tensor:
    """‖other − map‖₂ / ‖map‖₂ of each sample, (batch,) float64 from two (batch, …); NaN where the map is 0
    everywhere."""
    require_shape("others", others, *maps.shape)
    require_finite("maps", maps)
    require_finite("others", others)
    maps, others = maps.double().flatten(1), others.double().flatten(1)
    size = maps.norm(dim=1)
    return ((others - maps).norm(dim=1) / size.where(size > 0, 1)).where(size > 0, float("nan"))


def uniform_noise(shape: tuple[int, ...], radius: float, seed: int) -> Tensor:
    """Uniform numbers in −radius..radius, float64, that depend on the arguments alone.

    Raises ValueError for a radius that is not above 0.
    """
    if not radius > 0:
        raise ValueError(f"radius={radius}: expected a number above 0, in normalised pixels")
    return torch.from_numpy(np.random.default_rng(seed).uniform(-radius, radius, shape))


def max_sensitivity(distances: ArrayLike) -> np.ndarray:
    """The greatest :func:`relative_distance` over perturbations (…, perturbations): (…) from 0, lower is
    better.

    A map that never changes has 0, whatever it shows. NaN where a distance is.
    """
    return np.asarray(distances, dtype=np.float64).max(-1)


def histogram_entropy(maps: Tensor, bins: int = 100) -> Tensor:
    """Entropy in nats of the histogram of each map's values, (batch,) from (batch, units).

    ``bins`` bins of equal width from the least to the greatest value; 0 for a constant map.
    """
    require_shape("maps", maps, None, None)
    require_finite("maps", maps)
    result = []
    for values in maps.double().cpu().numpy():
        counts = np.histogram(values, bins=bins)[0]
        share = counts[counts > 0] / counts.sum()
        result.append(-(share * np.log(share)).sum())
    return torch.tensor(result, dtype=torch.float64)


def efficient_mprt(original: ArrayLike, randomised: ArrayLike) -> np.ndarray:
    """(ξ_random − ξ) / ξ of the :func:`histogram_entropy` of maps for the model and for a random one: (…),
    higher is better.

    NaN where the original map is constant.
    """
    original, randomised = (np.asarray(each, dtype=np.float64) for each in (original, randomised))
    return np.where(original > 0, (randomised - original) / np.where(original > 0, original, 1), np.nan)


def completeness(total: ArrayLike, change: ArrayLike) -> np.ndarray:
    """|Σ R − Δ| / |Δ|: (…) from 0, lower is better; NaN where Δ is 0.

    Args:
        total: (…), the sum of a map.
        change: (…), what it should be: z(x) − z(x₀) of the method's own baseline x₀, or z(x) for methods that
            conserve relevance.
    """
    total, change = (np.asarray(each, dtype=np.float64) for each in (total, change))
    return np.where(change != 0, np.abs(total - change) / np.where(change != 0, np.abs(change), 1), np.nan)
