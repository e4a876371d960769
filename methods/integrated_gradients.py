"""# Gradients along the way from a baseline

**Formulas.** With x the pixels, or what the tokens of a text are turned into (``entry``), and x' a baseline:

- integrated gradients: (x − x') ⊙ Σ_k w_k ∂y_t/∂x(x' + α_k (x − x')), the integral over α = 0 … 1 by a
  quadrature;
- expected gradients (GradientSHAP): the mean of (x − x') ⊙ ∂y_t/∂x(x' + α (x − x')) over α ~ U(0, 1) and
  baselines x' that are drawn;
- difference × gradient: (x − x') ⊙ ∂y_t/∂x(x), the first term of a Taylor series.

Each is summed over the channels or the hidden dimension. All are class-specific and signed. The sum of
integrated gradients is y_t(x) − y_t(x') (completeness) as far as the quadrature is exact.

**Cost and memory.** A forward and a backward pass for each point, or draw, and a tape for one of them at a
time; a text takes a forward pass more to find its embeddings, and one for a baseline of tokens.

**Reference.** Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", ICML 2017 (arXiv
1703.01365); Erion et al., "Improving performance of deep learning models with axiomatic attribution priors
and expected gradients", Nature Machine Intelligence 2021 (arXiv 1906.10670). Compared with captum, BSD-3
licence.

**Papers and code.** Zero is a baseline *of the normalised input*: for pixels the mean colour of the data set
(mid-grey where mean = std = 0.5), for tokens a vector of no word. On decoders with RMSNorm, which jumps at 0,
integrated gradients from zero vectors do not converge: take a token as the baseline (``token_id``, of padding
or of a mask). captum's trapezoid with n points has weights that sum to 1 − 1/n: ``captum_trapezoid`` is there
to compare with it. What text papers call DeepLift is nearly difference × gradient: captum's rescales at few
of a Transformer's operations.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from methods.common import Passes
from methods.places import Draws, Entry, Place, Reduction, check_choices
from methods.relevance import Forward, Inputs

Quadrature = Literal["gauss", "trapezoid", "captum_trapezoid"]


@dataclass(frozen=True)
class IntegratedGradients:
    """(x − x') ⊙ the integral of the gradient on the straight line from a baseline x' to the input x.

    Args:
        points: of the quadrature.
        rule: ``gauss``, Gauss–Legendre, exact for smooth integrands; ``trapezoid``, whose points include both
            ends; ``captum_trapezoid``, the same with captum's weights, whose sum is 1 − 1/points.
        token_id: texts: the baseline is the text with this token everywhere; None: zero vectors. Images have
            the baseline 0, in the normalised input.
        keep: texts: ids of tokens that stay in the baseline, such as [CLS] and [SEP].
        reduce: over the channels or the hidden dimension: ``sum``, signed; ``l1``; ``l2``; ``mean_abs``.
        entry: texts: ``word``, ``sum`` or ``embeddings`` (see :meth:`methods.relevance.Tape.entry_at`).
        dtype: in which everything is computed (see :meth:`methods.relevance.Tape.record`); None leaves it to the
            model.

    Raises:
        ValueError: for another choice, and for fewer points than the rule needs.
    """

    version: ClassVar[int] = 1

    points: int = 50
    rule: Quadrature = "gauss"
    token_id: int | None = None
    keep: tuple[int, ...] = ()
    reduce: Reduction = "sum"
    entry: Entry = "word"
    dtype: str | None = None

    def __post_init__(self):
        check_choices(self)
        if self.rule not in get_args(Quadrature):
            raise ValueError(f"rule={self.rule!r}: expected one of {', '.join(get_args(Quadrature))}")
        least = 1 if self.rule == "gauss" else 2
        if self.points < least:
            raise ValueError(f"points={self.points}: the rule {self.rule!r} needs at least {least}")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One of each for each point."""
        return Passes(self.points, self.points)

    def for_check(self) -> "IntegratedGradients":
        """The same with few points."""
        return replace(self, points=3)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,) or (batch, classes), or the predicted class if None.

        Returns:
            (batch, height, width) for images, (batch, tokens) for texts; (batch, classes, ...) for several
            classes.
        """
        place = Place(forward, inputs, self.entry, target, self.dtype)
        difference = place.x - place.baseline(self.token_id, self.keep)
        integral = sum(
            weight * place.gradient(place.x - (1 - alpha) * difference)
            for alpha, weight in zip(*quadrature(self.rule, self.points), strict=True)
        )
        return place.maps(difference[:, None] * integral, self.reduce)


def quadrature(rule: Quadrature, points: int) -> tuple[list[float], list[float]]:
    """Where on 0..1 a quadrature looks at an integrand, and the weights."""
    if rule == "gauss":
        at, weights = np.polynomial.legendre.leggauss(points)
        return (0.5 * (1 + at)).tolist(), (0.5 * weights).tolist()
    captum = rule == "captum_trapezoid"  # whose numbers are in float32
    precision = torch.float32 if captum else torch.float64
    step = torch.tensor(1 / (points if captum else points - 1), dtype=precision)
    weights = torch.cat([step[None] / 2, step.expand(points - 2), step[None] / 2])
    return torch.linspace(0, 1, points, dtype=precision).tolist(), weights.tolist()


@dataclass(frozen=True)
class ExpectedGradients:
    """(x − x') ⊙ the gradient at a random point between x' and x, averaged over drawn baselines x' (GradientSHAP).

    Args:
        samples: draws of a baseline and of a point.
        baselines: (count, ...), of the shape of what enters, one of which is drawn each time: images of a
            training set, say. None: the baseline of :class:`IntegratedGradients` with normal noise on it.
        std: of that noise.
        absolute: take ``std`` as it is, and not as a share of the range of what enters.
        seed: another seed draws other numbers; they depend on the sample's content, not on its batch.
        token_id: texts: as of :class:`IntegratedGradients`, and ``keep``.
        keep: texts: ids of tokens that stay in the baseline.
        reduce: over the channels or the hidden dimension: ``sum``, signed; ``l1``; ``l2``; ``mean_abs``.
        entry: texts: ``word``, ``sum`` or ``embeddings``.
        dtype: in which everything is computed (see :meth:`methods.relevance.Tape.record`); None leaves it to the
            model.

    Raises:
        ValueError: for another choice, or fewer than one sample; for baselines of another shape.
    """

    version: ClassVar[int] = 1

    samples: int = 50
    baselines: Tensor | None = field(default=None, compare=False)
    std: float = 0.25
    absolute: bool = False
    seed: int = 0
    token_id: int | None = None
    keep: tuple[int, ...] = ()
    reduce: Reduction = "sum"
    entry: Entry = "word"
    dtype: str | None = None

    def __post_init__(self):
        check_choices(self)

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One of each for each draw."""
        return Passes(self.samples, self.samples)

    def for_check(self) -> "ExpectedGradients":
        """The same with few draws."""
        return replace(self, samples=3)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,) or (batch, classes), or the predicted class if None.

        Returns:
            (batch, height, width) for images, (batch, tokens) for texts; (batch, classes, ...) for several
            classes.
        """
        place = Place(forward, inputs, self.entry, target, self.dtype)
        draw, centre = place.draws(self.seed), place.baseline(self.token_id, self.keep)
        std = self.std if self.absolute else self.std * place.spread()
        total = 0.0
        for _ in range(self.samples):
            baseline = centre + std * draw.normal() if self.baselines is None else self._drawn(place, draw)
            difference = place.x - baseline
            total = total + difference[:, None] * place.gradient(baseline + draw.uniform() * difference)
        return place.maps(total / self.samples, self.reduce)

    def _drawn(self, place: Place, draw: Draws) -> Tensor:
        if self.baselines.shape[1:] != place.x.shape[1:] or not len(self.baselines):
            raise ValueError(
                f"baselines of shape {tuple(self.baselines.shape)}: expected (count, "
                f"{', '.join(map(str, place.x.shape[1:]))}), as what enters the model"
            )
        return self.baselines[draw.choice(len(self.baselines))].to(place.x)


@dataclass(frozen=True)
class DifferenceXGradient:
    """(x − x') ⊙ the gradient at x itself.

    Args:
        token_id: texts: as of :class:`IntegratedGradients`, and ``keep``.
        keep: texts: ids of tokens that stay in the baseline.
        reduce: over the channels or the hidden dimension: ``sum``, signed; ``l1``; ``l2``; ``mean_abs``.
        entry: texts: ``word``, ``sum`` or ``embeddings``.
        dtype: in which everything is computed (see :meth:`methods.relevance.Tape.record`); None leaves it to the
            model.

    Raises:
        ValueError: for another choice.
    """

    version: ClassVar[int] = 1

    token_id: int | None = None
    keep: tuple[int, ...] = ()
    reduce: Reduction = "sum"
    entry: Entry = "word"
    dtype: str | None = None

    def __post_init__(self):
        check_choices(self)

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One of each."""
        return Passes(1, 1)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,) or (batch, classes), or the predicted class if None.

        Returns:
            (batch, height, width) for images, (batch, tokens) for texts; (batch, classes, ...) for several
            classes.
        """
        place = Place(forward, inputs, self.entry, target, self.dtype)
        difference = place.x - place.baseline(self.token_id, self.keep)
        return place.maps(difference[:, None] * place.gradient(place.x), self.reduce)
