"""Rules in gradient form: what an operation hands on of a modified gradient g, with relevance R = x ⊙ g.

A rule set whose ``form`` is ``gradient`` holds these in the place of rules of relevance. They are called alike,
``rule(g, z, *arguments, **options)``, but g is the modified gradient of the output and what they return that of
the inputs; None stands for nothing. Nothing is divided by the output z, so float32 suffices and zeros do no harm.
:func:`in_relevance_form` turns such a rule into one of relevance.

Sources: AttnLRP (Achtibat et al., ICML 2024, arXiv 2402.05602); CP-LRP (Ali et al., ICML 2022, arXiv 2202.07304);
LibraGrad (Mehri et al., CVPR 2025, arXiv 2411.16760); the generalised γ rule of zennit (Anders et al., arXiv
2106.13200; γ: Montavon et al. 2019).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.relevance.rules import conv2d_input


@dataclass(frozen=True)
class Gradient:
    """The true gradient of an operation, times a factor.

    For what is linear in its input that is the ε rule of LRP; its bias absorbs a share.

    Args:
        factor: that the gradient of every input is multiplied by.
        only: which of two inputs receives something, 0 or 1; None for all.
    """

    factor: float = 1.0
    only: int | None = None

    def __call__(self, g: Tensor, z: Tensor, *arguments, **_) -> tuple[Tensor | None, ...]:
        """The gradients of those arguments that require one, by the graph of ``z``."""
        inputs = [a for a in arguments if isinstance(a, Tensor) and a.requires_grad]
        return self.of(torch.autograd.grad(z, inputs, g, retain_graph=True))

    def of(self, gradients) -> tuple[Tensor | None, ...]:
        """What is made of the gradients of the inputs."""
        kept = [t if self.only in (None, i) else None for i, t in enumerate(gradients)]
        return tuple(kept if self.factor == 1 else [None if t is None else self.factor * t for t in kept])

    def swapped(self) -> "Gradient":
        """The rule for the same two inputs in the other order."""
        return self if self.only is None else Gradient(self.factor, 1 - self.only)


@dataclass(frozen=True)
class Stabilised:
    """A rule with a stabiliser in its division: it is given g ⊙ z / (z + ε) in the place of g.

    Args:
        rule: in gradient form.
        epsilon: added as it is, whatever the sign of z.
    """

    rule: Callable
    epsilon: float


@dataclass(frozen=True)
class Proportional:
    """A rule in gradient form as one of relevance: R_x = x ⊙ rule(R / (z + ε)), with 0 where z + ε = 0.

    Args:
        rule: in gradient form.
        epsilon: added as it is, whatever the sign of z.
    """

    rule: Callable
    epsilon: float = 0.0


@dataclass(frozen=True)
class OfRelevance:
    """A rule of relevance in the place of one in gradient form: g_x = rule(g ⊙ z) / x, with 0 where x = 0.

    Args:
        rule: of relevance.
    """

    rule: Callable


@dataclass(frozen=True)
class Gamma:
    """The generalised γ rule, for linear layers and convolutions: positive contributions count γ times more.

    With W_p = W + γW⁺, W_n = W + γW⁻ and the bias alike, and x⁺, x⁻ the parts of x: T_p = R / (x⁺W_pᵀ + x⁻W_nᵀ
    + b_p) where z > 0, T_n = R / (x⁺W_nᵀ + x⁻W_pᵀ + b_n) where z < 0, and R_x = x⁺ ⊙ (T_p W_p + T_n W_n) +
    x⁻ ⊙ (T_p W_n + T_n W_p). γ = 0 is the ε rule.

    Args:
        gamma: γ.
        epsilon: of the sign of what it is added to.
    """

    gamma: float
    epsilon: float = 1e-6

    def __call__(
        self,
        g: Tensor,
        z: Tensor,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *geometry,
        **options,
    ) -> tuple[Tensor]:
        weight_p, weight_n = self._raised(weight)
        bias_p, bias_n = (None, None) if bias is None else self._raised(bias)
        layer = _Layer(x, weight, geometry, options)
        x_p, x_n, R = x.clamp(min=0), x.clamp(max=0), g * z
        T_p = self._divided(R * (z > 0), layer(x_p, weight_p, bias_p) + layer(x_n, weight_n, None))
        T_n = self._divided(R * (z < 0), layer(x_p, weight_n, bias_n) + layer(x_n, weight_p, None))
        of_positive = layer.transposed(T_p, weight_p) + layer.transposed(T_n, weight_n)
        of_negative = layer.transposed(T_p, weight_n) + layer.transposed(T_n, weight_p)
        return (torch.where(x > 0, of_positive, of_negative).sum_to_size(x.shape),)

    def _raised(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return t + self.gamma * t.clamp(min=0), t + self.gamma * t.clamp(max=0)

    def _divided(self, R: Tensor, by: Tensor) -> Tensor:
        return R / (by + torch.where(by < 0, -self.epsilon, self.epsilon))


class _Layer:
    """A linear layer, or a convolution by its ``geometry``, and its transpose, with weights of choice."""

    def __init__(self, x: Tensor, weight: Tensor, geometry: tuple, options: dict):
        self._is_linear = weight.ndim != 4
        names = ("stride", "padding", "dilation", "groups")
        self._geometry = dict(zip(names, geometry, strict=False)) | options
        self._shape = x.shape

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self._is_linear:  # with one matrix, or one for each of the leading dimensions
            z = x @ weight.mT
            return z if bias is None else z + bias
        return F.conv2d(x, weight, bias, **self._geometry)

    def transposed(self, t: Tensor, weight: Tensor) -> Tensor:
        if self._is_linear:
            return t @ weight
        return conv2d_input(self._shape, weight, t, **self._geometry)


def stop(g: Tensor, z: Tensor, *arguments, **_) -> tuple[None, ...]:
    """Nothing is handed on: what was computed counts as a constant."""
    return tuple(None for a in arguments if isinstance(a, Tensor) and a.requires_grad)


def ratio(g: Tensor, z: Tensor, x: Tensor, *_, **__) -> tuple[Tensor]:
    """g ⊙ f(x) / x, 0 where x = 0: f acts as a factor that is constant, so that relevance passes unchanged."""
    return ((g * z / torch.where(x == 0, 1, x)).masked_fill(x == 0, 0).sum_to_size(x.shape),)


def norm_scale_constant(
    g: Tensor,
    z: Tensor,
    x: Tensor,
    shape,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float | None,
    centred: bool,
) -> tuple[Tensor]:
    """The gradient of a normalisation in which 1/σ (or 1/rms) is a constant.

    u = g ⊙ γ / σ, and g_x = u − mean(u) where the normalisation centres (LayerNorm), u where it does not
    (RMSNorm).
    """
    dims, eps = tuple(range(-len(shape), 0)), torch.finfo(x.dtype).eps if eps is None else eps
    if centred:
        scale = (x.var(dims, unbiased=False, keepdim=True) + eps).rsqrt()
    else:
        scale = (x.square().mean(dims, keepdim=True) + eps).rsqrt()
    u = (g if weight is None else g * weight) * scale
    return (u - u.mean(dims, keepdim=True) if centred else u,)


GRADIENT = Gradient()
"""The true gradient; of what is linear, the ε rule."""

HALF = Gradient(0.5)
"""Half of the true gradient: of a product of two factors, half of the relevance to each."""

GATE_CONSTANT = Gradient(only=1)
"""For ``gate``: the gate is a constant, all goes to what passes it."""

ATTENTION_ONLY = Gradient(only=0)
"""For ``attention``: the attention receives its gradient, the values receive nothing."""


def in_relevance_form(rule: Callable | None, epsilon: float = 0.0) -> Callable | None:
    """A rule in gradient form as one of relevance."""
    return None if rule is None else Proportional(rule, epsilon)
