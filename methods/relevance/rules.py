"""Relevance rules: how the relevance R of an operation's output z is shared among its inputs.

A rule is a function ``rule(R, z, *arguments, **options)`` of the relevance of the output, the output
and the arguments the operation was called with. It returns one relevance for each of the operation's
leading tensor arguments. A :class:`RuleSet` names the rule for every kind of operation; a new way to
propagate relevance is a new set.

Operations and modules that no rule set knows get a rule by their name, in a line (:func:`register_rule`).
For a torch function that is a rule as above; for a module it is ``rule(R, z, x)`` of the module's output and
its one input that carries relevance, and what happens inside the module is then not looked at. Either returns
a tuple with one relevance for each argument that depends on the model's input, in order.

Sources: Chefer, Gur & Wolf, CVPR 2021 (arXiv 2012.09838), section 3; deep Taylor decomposition and the
z^B rule: Montavon et al., Pattern Recognition 65 (2017).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Rule = Callable[..., tuple[Tensor, ...]]

EPSILON = 1e-9

DTYPE = "float64"
"""The type relevance is computed in by default.

The rules divide by sums of terms of both signs, so an error of such a sum z grows by about 1e6: all in float32 the
maps of single images are off by anything up to their norm. But z comes from the forward pass, and backward everything
is proportional: ``mixed``, the forward pass in float64 and the rest in float32, is about as good at half the price, and
what the benchmark's configuration chooses. ``make precision`` measures both (results/speed/precision.md). Batching
changes rounding, so only with a float64 forward pass does a batch give the maps that its samples give one by one.
"""


def safe_divide(a: Tensor, b: Tensor) -> Tensor:
    """a / (b + ε), and 0 where b = 0.

    A stabiliser with the sign of b would be sounder, but the rules divide by values of both signs near
    zero, so the choice shows in the map (8e-5 of its norm on DeiT-Tiny): this is the reference's.
    """
    quotient = b + EPSILON
    quotient = torch.div(a, quotient, out=quotient if quotient.shape == a.shape else None)
    # Zeros are rare, and to look for them costs less than to mask where they might be.
    return quotient if torch.count_nonzero(b) == b.numel() else quotient.masked_fill_(b == 0, 0)


def _used_twice(R: Tensor, z: Tensor) -> Tensor:
    """z ⊙ R / z: the relevances that arrive at a tensor with several uses, added up.

    Autograd has added them already. Without a stabiliser this would do nothing; with it, it does what the
    reference implementation does wherever a tensor is used twice, and that, too, shows in the map (2e-4
    of its norm on DeiT-Tiny). The tensors in question are the sums on the residual stream.
    """
    return safe_divide(R, z).mul_(z)


def identity(R: Tensor, z: Tensor, x: Tensor, *_, **__) -> tuple[Tensor]:
    """R_x = R, for activations, normalisations and scaling by a constant."""
    return (R.sum_to_size(x.shape),)


def linear_positive(
    R: Tensor, z: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor]:
    """Share R in proportion to the positive contributions x_j w_ij (α = 1, β = 0; eq. 5 of the paper).

    Z = x⁺W⁺ᵀ + x⁻W⁻ᵀ, S = R / Z, R_x = x⁺ ⊙ (S W⁺) + x⁻ ⊙ (S W⁻). The bias takes no share.

    Computed as 2 Z = xWᵀ + |x||W|ᵀ, where xWᵀ is known from the forward pass, and
    2 R_x = x ⊙ (S W) + |x| ⊙ (S |W|): three products of matrices instead of four. Where no contribution is
    positive, Z should cancel to 0 and leaves a rounding error: that is taken as 0.
    """
    x_abs, w_abs = x.abs(), weight.abs()
    Z = _linear(x_abs, w_abs)
    least = Z.amax(dim=-1, keepdim=True) * (32 * torch.finfo(z.dtype).eps)
    Z += z
    Z -= -2 * EPSILON if bias is None else bias - 2 * EPSILON
    least += 2 * EPSILON
    nothing_positive = least >= Z if (least >= Z.amin(dim=-1, keepdim=True)).any() else None
    S = torch.div(R, Z, out=Z)
    if nothing_positive is not None:
        S.masked_fill_(nothing_positive, 0)
    shares = (S @ weight).mul_(x).addcmul_(S @ w_abs, x_abs)
    return (shares.sum_to_size(x.shape),)


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    """x Wᵀ, where W may be one matrix or one for each of the leading dimensions."""
    return F.linear(x, weight) if weight.ndim == 2 else x @ weight.mT


def linear_parts(R: Tensor, z: Tensor, x: Tensor, weight: Tensor, *_) -> tuple[Tensor]:
    """The older linear rule: the two positive parts are each divided by themselves.

    R_x = x⁺ ⊙ (S₁ W⁺) + x⁻ ⊙ (S₂ W⁻) with S₁ = R / x⁺W⁺ᵀ and S₂ = R / x⁻W⁻ᵀ: every output hands out
    its relevance twice where both parts are present, so the total is not kept.
    """
    shares = torch.zeros_like(x)
    for x_part, w_part in (
        (x.clamp(min=0), weight.clamp(min=0)),
        (x.clamp(max=0), weight.clamp(max=0)),
    ):
        shares += (x_part * (safe_divide(R, _linear(x_part, w_part)) @ w_part)).sum_to_size(x.shape)
    return (shares,)


def matmul(R: Tensor, z: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Half of R to each factor: R_u = ½ u ⊙ (S vᵀ), R_v = ½ v ⊙ (uᵀ S), S = R / z (eqs. 7–9)."""
    S = safe_divide(R, z).mul_(0.5)
    R_u, R_v = (S @ v.transpose(-2, -1)).mul_(u), (u.transpose(-2, -1) @ S).mul_(v)
    return R_u.sum_to_size(u.shape), R_v.sum_to_size(v.shape)


def bilinear(R: Tensor, z: Tensor, *arguments) -> tuple[Tensor, Tensor]:
    """As :func:`matmul` for whatever is linear in each of two factors, e.g. an ``einsum`` of two tensors.

    R_u = ½ u ⊙ ∂(S · z)/∂u and R_v alike, S = R / z; z still knows how it came from the factors.
    """
    factors = [a for a in arguments if isinstance(a, Tensor)]
    gradients = torch.autograd.grad(z, factors, safe_divide(R, z.detach()), retain_graph=True)
    u, v = (0.5 * factor * gradient for factor, gradient in zip(factors, gradients, strict=True))
    return u, v


def product(R: Tensor, z: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Half of R to each factor of z = u ⊙ v, as in :func:`matmul`: a gate and what passes it share alike."""
    return (0.5 * R).sum_to_size(u.shape), (0.5 * R).sum_to_size(v.shape)


def mean(R: Tensor, z: Tensor, x: Tensor, dim=None, keepdim: bool = False, **_) -> tuple[Tensor]:
    """Share R among what was averaged in proportion to the positive part, as α = 1, β = 0 does for a layer
    of equal weights; where nothing is positive, in proportion to the values, so that nothing is lost.
    """
    dims = tuple(range(x.ndim)) if dim is None else ((dim,) if isinstance(dim, int) else tuple(dim))
    if not keepdim:
        for d in sorted(d % x.ndim for d in dims):
            R = R.unsqueeze(d)
    positive = x.clamp(min=0)
    parts = torch.where(positive.sum(dims, keepdim=True) > 0, positive, x)
    return (parts * safe_divide(R, parts.sum(dims, keepdim=True)),)


def add_proportional(R: Tensor, z: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Each summand its share of the sum: R_u = u ⊙ R / z, R_v = v ⊙ R / z."""
    S = safe_divide(_used_twice(R, z), z)
    R_u = (u * S).sum_to_size(u.shape)
    return R_u, S.mul_(v).sum_to_size(v.shape)


def add_normalised(R: Tensor, z: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Proportional shares, rescaled so that |ΣR_u| : |ΣR_v| stays and together they sum to ΣR (eq. 10).

    Shares of opposite sign can be huge while their sum is not; the rescaling keeps the total of each
    sample. Sums run over everything but the leading batch dimension.
    """
    R_u, R_v = add_proportional(R, z, u, v)
    total, a, b = (_per_sample_sum(t) for t in (R, R_u, R_v))
    scale = safe_divide(total, a.abs() + b.abs())
    return R_u.mul_(scale * a.sign()), R_v.mul_(scale * b.sign())


def _per_sample_sum(t: Tensor) -> Tensor:
    return t.sum(dim=tuple(range(1, t.ndim)), keepdim=True)


def shift(R: Tensor, z: Tensor, x: Tensor, constant: Tensor | float) -> tuple[Tensor]:
    """x + constant (a position embedding, a mask): x keeps its share x ⊙ R / z, the rest is dropped."""
    arriving = torch.where(z.isinf(), R, _used_twice(R, z))  # a masked score is −∞
    return (safe_divide(arriving, z).mul_(x).sum_to_size(x.shape),)


def pixels(
    R: Tensor,
    z: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
) -> tuple[Tensor]:
    """The z^B rule for a convolution on pixels, whose values lie in a box [l, u].

    Z = conv(x, W) − conv(l, W⁺) − conv(u, W⁻), S = R / (Z + ε),
    R_x = x convᵀ(S, W) − l convᵀ(S, W⁺) − u convᵀ(S, W⁻), with l and u the least and the greatest value
    of each image.
    """
    low = x.amin(dim=(1, 2, 3), keepdim=True).expand_as(x)
    high = x.amax(dim=(1, 2, 3), keepdim=True).expand_as(x)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    terms = ((x, weight, 1), (low, weight.clamp(min=0), -1), (high, weight.clamp(max=0), -1))
    S = R / (sum(sign * F.conv2d(t, w, **geometry) for t, w, sign in terms) + EPSILON)
    return (sum(sign * t * conv2d_input(x.shape, w, S, **geometry) for t, w, sign in terms),)


def conv2d_input(shape: torch.Size, weight: Tensor, S: Tensor, **geometry) -> Tensor:
    """∂(S · conv(x, weight)) / ∂x for x of a shape and any padding, a word or numbers."""
    if not isinstance(geometry.get("padding", 0), str):
        return torch.nn.grad.conv2d_input(shape, weight, S, **geometry)
    with torch.enable_grad():
        leaf = S.new_zeros(shape).requires_grad_()
        return torch.autograd.grad(F.conv2d(leaf, weight, **geometry), leaf, S)[0]


# Kinds of operations whose rule may be that of a more general kind. An attention that is the second factor of the
# product with its values is swapped by whoever asks.
_INSTEAD = {
    "attention": ("attention", "matmul"),
    "attention einsum": ("attention", "bilinear"),
    "gate": ("gate", "product"),
    "attention_linear": ("attention_linear", "linear"),
    "conv": ("conv", "other"),
}


@dataclass(frozen=True)
class RuleSet:
    """One rule for each kind of operation that can carry relevance.

    Attributes:
        linear: linear layers, and products with a constant matrix.
        matmul: products of two matrices; ``bilinear``: what an ``einsum`` computes of two tensors.
        product: element-wise products of two tensors.
        mean: means and sums over dimensions.
        add: sums of two tensors; ``shift``: what a constant is added to.
        identity: what is done to pixels themselves, such as a normalisation.
        pixels: a convolution on pixels.
        softmax: softmaxes.
        norm: normalisations, called ``norm(R, z, x, shape, weight, bias, eps, centred)``; ``identity`` takes
            those that a model spells out as a whole, any other rule looks into them and takes their 1/σ as a
            constant.
        activation: functions of one tensor, element by element.
        scale: products and quotients with a constant, and signs.
        attention: the product of an attention with its values, in this order; None: as ``matmul`` or ``bilinear``.
        gate: an element-wise product of what an activation returned with another tensor, in this order; None: as
            ``product``.
        attention_linear: linear layers inside of an attention: of queries, keys and values, and the output
            projection; None: as ``linear``.
        conv: convolutions that are not on pixels; None: they have no rule.
        other: all else; None: it has no rule, and relevance stops there with an error.
        start: what is put on the explained logit: 1, or the ``logit`` itself, so that its sign matters.
        form: ``relevance``, or ``gradient`` for rules of modified gradients (:mod:`methods.relevance.gradients`):
            they start with ∂y_t/∂y_t = 1, and the relevance of x is x ⊙ g.
        conserves: whether the rules keep the total, but for what they drop at constants that are added;
            :func:`methods.verify` holds them to it.

    Raises:
        ValueError: for another value of ``start`` or ``form``.
    """

    name: str
    linear: Rule
    matmul: Rule
    bilinear: Rule
    product: Rule
    mean: Rule
    add: Rule
    shift: Rule
    identity: Rule
    pixels: Rule
    softmax: Rule = identity
    norm: Rule = identity
    activation: Rule = identity
    scale: Rule = identity
    attention: Rule | None = None
    gate: Rule | None = None
    attention_linear: Rule | None = None
    conv: Rule | None = None
    other: Rule | None = None
    start: str = "one"
    form: str = "relevance"
    conserves: bool = False

    def __post_init__(self):
        for name, allowed in (("start", ("one", "logit")), ("form", ("relevance", "gradient"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {', '.join(allowed)}")

    @classmethod
    def kinds(cls) -> list[str]:
        """The kinds of operations that have a rule."""
        settings = ("name", "start", "form", "conserves")
        return [field.name for field in fields(cls) if field.name not in settings]

    def rule(self, kind: str | Rule) -> Rule | None:
        """The rule for a kind of operation, None if there is none; a rule itself stands for itself."""
        if callable(kind):
            return kind
        for name in _INSTEAD.get(kind, (kind,)):
            if (rule := getattr(self, name)) is not None:
                return rule
        return None

    def __str__(self) -> str:
        return self.name


PROPOSED = RuleSet(
    name="proposed",
    linear=linear_positive,
    matmul=matmul,
    bilinear=bilinear,
    product=product,
    mean=mean,
    add=add_normalised,
    shift=shift,
    identity=identity,
    pixels=pixels,
    conserves=True,
)
"""The rules of transformer attribution; they keep the total relevance."""

OLDER = replace(PROPOSED, name="older", linear=linear_parts, add=add_proportional, conserves=False)
"""The rules under which the paper's LRP and partial LRP baselines were computed; they do not."""

_added: dict[str, Callable | str] = {}

# Activations and normalisations that models spell out in several operations: one identity each, as those that
# torch has a single operation for.
_WHOLE = re.compile(
    r".*((GELU|Gelu|SiLU|Swish|Mish|ReLU|Sigmoid|Tanh)(Tanh|Squared)?(Activation)?|RMSNorm|LayerNorm\w*)"
)


def register_rule(name: str, rule: Callable | str) -> None:
    """Add a rule, under every rule set, or replace the one there was.

    Args:
        name: of a torch function, as an error without the rule names it (``einsum``), or of a module's class
            (``MyNorm``).
        rule: a function, or the name of a kind of operation in :class:`RuleSet`, such as ``identity``.

    Raises:
        ValueError: if there is no such kind.
    """
    if isinstance(rule, str) and rule not in RuleSet.kinds():
        raise ValueError(f"rule={rule!r}: expected a function or one of {', '.join(RuleSet.kinds())}")
    _added[name] = rule


def rule_of_function(name: str) -> Callable | str | None:
    """What was registered for a torch function."""
    return _added.get(name)


def rule_of_module(module: nn.Module) -> tuple[Callable | str, bool] | None:
    """The rule of a module that is taken as a whole; None if what happens inside it counts.

    Returns:
        The rule; and whether what happens inside counts after all if all of it has rules.
    """
    name = type(module).__name__
    if name in _added:
        return _added[name], _added[name] == "norm"
    own = not type(module).__module__.startswith("torch.nn")
    if not own or module._modules or not _WHOLE.fullmatch(name):
        return None
    return ("norm", True) if "Norm" in name else ("activation", False)
