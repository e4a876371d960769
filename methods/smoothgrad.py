"""# SmoothGrad, SmoothGrad², VarGrad

**Formula.** Noisy inputs x + ε_n, ε_n ~ N(0, σ²), of the pixels or of what the tokens of a text are turned
into; g_n the gradient of the explained logit there, or the noisy input times it. SmoothGrad is the mean of
g_n, SmoothGrad² the mean of g_n², VarGrad the biased variance, mean g_n² − (mean g_n)²: each for every
channel or hidden dimension, over which the result is then reduced. Class-specific; the squares are nowhere
negative.

**Cost and memory.** A forward and a backward pass for each draw, and a tape for one of them at a time; a text
takes a forward pass more to find its embeddings.

**Reference.** Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017 (arXiv 1706.03825); Hooker
et al., "A Benchmark for Interpretability Methods in Deep Neural Networks", NeurIPS 2019 (arXiv 1806.10758),
for the square; Adebayo et al., 2018 (arXiv 1810.03307), for the variance. Compared with captum, BSD-3
licence.

**Papers and code.** The paper's σ is 10 to 20 % of the range of the input; captum's is absolute
(``absolute``), 1 by default, which is far more than word embeddings are large.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from torch import Tensor

from methods.common import Passes
from methods.places import Entry, Place, Reduction, check_choices
from methods.relevance import Forward, Inputs


@dataclass(frozen=True)
class SmoothGrad:
    """A statistic of the gradient, or of input × gradient, over noisy inputs.

    Args:
        samples: noisy inputs.
        std: of the noise, σ, as a share of the range of what enters (of each sample).
        absolute: take ``std`` as it is.
        of: ``gradient``, or ``input_x_gradient``, the noisy input times the gradient there.
        statistic: ``mean``; ``mean_square``, SmoothGrad²; ``variance``, VarGrad.
        reduce: over the channels or the hidden dimension: ``sum``, signed; ``l1``; ``l2``; ``mean_abs``;
            None for ``l2`` of the mean gradient of texts, else ``sum``.
        entry: texts: ``word``, ``sum`` or ``embeddings`` (see :meth:`methods.relevance.Tape.entry_at`).
        seed: another seed draws other noise; it depends on the sample's content, not on its batch.
        noise: (batch, samples, ...) to add in place of what is drawn.
        dtype: in which everything is computed (see :meth:`methods.relevance.Tape.record`); None leaves it to the
            model.

    Raises:
        ValueError: for another choice, or for noise of another shape than what enters.
    """

    version: ClassVar[int] = 1

    samples: int = 50
    std: float = 0.15
    absolute: bool = False
    of: Literal["gradient", "input_x_gradient"] = "gradient"
    statistic: Literal["mean", "mean_square", "variance"] = "mean"
    reduce: Reduction | None = None
    entry: Entry = "word"
    seed: int = 0
    noise: Tensor | None = field(default=None, compare=False)
    dtype: str | None = None

    def __post_init__(self):
        check_choices(self)
        if self.of not in ("gradient", "input_x_gradient"):
            raise ValueError(f"of={self.of!r}: expected 'gradient' or 'input_x_gradient'")
        if self.statistic not in ("mean", "mean_square", "variance"):
            raise ValueError(f"statistic={self.statistic!r}: expected 'mean', 'mean_square' or 'variance'")
        if self.samples < 1:
            raise ValueError(f"samples={self.samples}: expected at least 1")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One of each for each draw."""
        return Passes(self.samples, self.samples)

    def for_check(self) -> "SmoothGrad":
        """The same with few draws."""
        return replace(self, samples=3)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,) or (batch, classes), or the predicted class if None.

        Returns:
            (batch, height, width) for images, (batch, tokens) for texts; (batch, classes, ...) for several
            classes.

        Raises:
            RefusedError: for ``sum`` of gradients of texts where every such sum is 0, as in BERT.
        """
        place = Place(forward, inputs, self.entry, target, self.dtype)
        mean = mean_square = 0.0
        for noise in self._noise(place):
            value = place.gradient(place.x + noise)
            value = value if self.of == "gradient" else value * (place.x + noise)[:, None]
            mean = mean + value / self.samples
            mean_square = mean_square + value**2 / self.samples
        statistics = {"mean": mean, "mean_square": mean_square, "variance": mean_square - mean**2}
        is_gradient = self.of == "gradient" and self.statistic == "mean"
        return place.maps(statistics[self.statistic], self.reduce, is_gradient)

    def _noise(self, place: Place):
        if self.noise is None:
            draw, std = place.draws(self.seed), self.std if self.absolute else self.std * place.spread()
            return (std * draw.normal() for _ in range(self.samples))
        expected = (len(place.x), self.samples, *place.x.shape[1:])
        if tuple(self.noise.shape) != expected:
            raise ValueError(f"noise of shape {tuple(self.noise.shape)}: expected {expected}")
        return self.noise.to(place.x).unbind(dim=1)
