"""Rule sets as values: AttnLRP, CP-LRP, LibraGrad and AG-CAM in gradient form, PA-LRP in that of relevance.

Those in gradient form start at the logit, so that R = x ⊙ g sums to what the rules keep of y_t, and need float32
only. Variants are made by ``dataclasses.replace``: ``replace(CP_LRP, linear=Gamma(0.05), attention_linear=GRADIENT,
pixels=Gamma(0.25))`` has the γ rule outside of attention.
"""

from dataclasses import replace

from methods.relevance.gradients import (
    ATTENTION_ONLY,
    GATE_CONSTANT,
    GRADIENT,
    HALF,
    Gamma,
    Proportional,
    in_relevance_form,
    norm_scale_constant,
    ratio,
    stop,
)
from methods.relevance.rules import RuleSet

GRADIENTS = RuleSet(
    name="gradients",
    linear=GRADIENT,
    matmul=GRADIENT,
    bilinear=GRADIENT,
    product=GRADIENT,
    mean=GRADIENT,
    add=GRADIENT,
    shift=GRADIENT,
    identity=GRADIENT,
    pixels=GRADIENT,
    softmax=GRADIENT,
    norm=GRADIENT,
    activation=GRADIENT,
    scale=GRADIENT,
    conv=GRADIENT,
    other=GRADIENT,
    start="logit",
    form="gradient",
)
"""The true gradient everywhere: the relevance is input × gradient."""

ATTN_LRP = replace(
    GRADIENTS,
    name="attn_lrp",
    matmul=HALF,
    bilinear=HALF,
    product=HALF,
    identity=ratio,
    norm=norm_scale_constant,
    activation=ratio,
    other=None,
)
"""AttnLRP (Achtibat et al., ICML 2024, arXiv 2402.05602), without γ.

Products of two factors give half to each, softmax and linear layers have the true gradient (their constant parts
absorb a share), 1/σ of a normalisation is a constant, and activations pass relevance unchanged.
"""

CP_LRP = replace(
    ATTN_LRP,
    name="cp_lrp",
    softmax=stop,
    attention=GRADIENT,
    gate=GATE_CONSTANT,
)
"""CP-LRP (Ali et al., ICML 2022, arXiv 2202.07304) with the identity rule at activations, as AttnLRP compares with it.

Attention is a constant: all goes to the values. So is a gate, x ⊙ act(u). Without biases nothing is lost: the
relevance of the look-up of a decoder's tokens sums to y_t. ``activation=GRADIENT`` is the rule set of the paper.
"""

LIBRA = replace(CP_LRP, name="libra", other=GRADIENT)
"""The modified gradient of LibraGrad (Mehri et al., CVPR 2025, arXiv 2411.16760).

Variances, attention (towards queries and keys) and the gate Φ(x) of x · Φ(x) are constants. The attention itself has
its modified gradient, for methods that read it.
"""

AG_CAM = replace(GRADIENTS, name="ag_cam", softmax=stop, attention=ATTENTION_ONLY)
"""The gradient of AG-CAM (Leem & Seo, AAAI 2024, arXiv 2402.04563): the input of every attention is detached.

So what reaches an attention has passed the blocks above through their skip connections and MLPs only.
"""


PA_LRP = RuleSet(
    name="pa_lrp",
    linear=Proportional(Gamma(0.05)),
    matmul=Proportional(HALF, 1e-6),
    bilinear=Proportional(HALF, 1e-6),
    product=Proportional(HALF),
    mean=Proportional(GRADIENT),
    add=Proportional(GRADIENT, 1e-6),
    shift=Proportional(GRADIENT, 1e-6),
    identity=Proportional(ratio),
    pixels=Proportional(Gamma(100.0)),
    softmax=stop,
    norm=Proportional(norm_scale_constant, 1e-6),
    attention=Proportional(HALF, 0.5e-6),
    attention_linear=Proportional(GRADIENT, 1e-8),
)
"""PA-LRP (Bakish et al., NeurIPS 2025, arXiv 2506.02138), as its code has it; it starts with 1.

Attention is a constant, but the values still receive half of what the product with it received: the other half is
dropped. γ = 0.05 in layers outside of attention and 100 in the convolution on pixels; all stabilisers are added as they
are, without the sign of what they are added to.
"""


def relevance_form(rules: RuleSet, epsilon: float = 0.0) -> RuleSet:
    """A rule set in gradient form as one of relevance, which is the same but for the stabiliser.

    Args:
        rules: in gradient form.
        epsilon: added to every output that relevance is divided by, whatever its sign.
    """
    changed = {kind: in_relevance_form(getattr(rules, kind), epsilon) for kind in rules.kinds()}
    kept = {kind: getattr(rules, kind) for kind in ("conv", "other")}  # what only lets gradients pass
    return replace(rules, form="relevance", **(changed | kept))
