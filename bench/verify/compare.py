"""How far numbers are from stored ones, and how far they may be."""

from fnmatch import fnmatchcase

import torch
from torch import Tensor

TOLERANCES = (
    # What is 0 to rounding has an absolute tolerance: see Entry.vanishes and Entry.absolute.
    ("input_x_gradient.sum.sum*", 1e-9),
    ("smoothgrad.gradient.*.sum*", 1e-9),
    ("delta.integrated_gradients*", 1e-8),
    # The 2021 methods: stabilisers of 1e-9 in the reference leave 3e-5.
    ("transformer_attribution*", 1e-4),
    ("ablation.*", 1e-4),
    ("partial_lrp*", 1e-4),
    ("lrp.*", 1e-4),
    ("gradcam*", 1e-4),
    ("raw_attention*", 1e-4),
    ("rollout*", 1e-4),
    ("logits", 1e-6),
    # Relevance form, float32 steps, float32 masks.
    ("attnlrp.efficient*", 1e-7),
    ("attnlrp.explicit*", 3e-3),
    ("occlusion*", 1e-6),  # stored in float64, but rounded to float32: 6e-8 of an entry
    ("derived.cp_lrp.identity*", 1e-7),
    ("attnlrp*", 1e-6),
    ("cp_lrp_gelu_gradient*", 1e-6),
    ("cp_lrp.lxt*", 1e-6),
    ("pe_lrp*", 1e-5),
    ("integrated_gradients.riemann*", 1e-6),
    ("integrated_gradients.gausslegendre*", 1e-6),
    ("integrated_gradients*", 1e-8),
    ("rise*", 1e-6),
    ("pgc.eigen*", 1e-6),
    ("kernel_shap_captum*", 1e-5),
    ("alti*", 1e-5),
    ("sequential_ig*", 1e-7),
    ("dig*", 1e-6),
)
"""The first pattern that fits a key gives the largest relative error of a sample; all others have DEFAULT."""

DEFAULT = 1e-9

STORED_AS_FLOAT32, FLOAT32 = ("*.pixels*", "*.image*"), 1e-6
"""Keys stored in float32, and the least tolerance that they can have."""

FLOAT32_TABLES = 1e-6
"""The least tolerance for models whose positions come from float32 tables in every version (rotary)."""


def tolerance(key: str, float32_tables: bool = False) -> float:
    """The largest error that a key may have."""
    own = next((limit for pattern, limit in TOLERANCES if fnmatchcase(key, pattern)), DEFAULT)
    if any(fnmatchcase(key, pattern) for pattern in STORED_AS_FLOAT32):
        own = max(own, FLOAT32)
    return max(own, FLOAT32_TABLES) if float32_tables else own


def errors(ours: Tensor, golden: Tensor, absolute: bool = False) -> Tensor:
    """The error of each sample: ‖ours − golden‖ / ‖golden‖, or max |ours − golden|; infinite where NaN differ.

    A golden that is 0 throughout is compared absolutely.

    Args:
        ours, golden: (samples, ...), of one shape. Where both are NaN nothing is compared.
        absolute: the largest difference, not divided by anything.

    Returns:
        (samples,), float64; 0 for samples that are NaN throughout.
    """
    ours, golden = (each.double().reshape(len(each), -1) for each in (ours, golden))
    strays = (ours.isnan() != golden.isnan()).any(dim=1)
    ours, golden = ours.nan_to_num(), golden.nan_to_num()
    difference = (ours - golden).abs()
    if absolute:
        found = difference.amax(dim=1)
    else:
        norm = golden.norm(dim=1)
        found = difference.norm(dim=1) / norm.where(norm > 0, 1)
    return found.masked_fill(strays, torch.inf)
