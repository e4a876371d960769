"""# Gradient, input × gradient

**Formula.** g = ∂y_t/∂x, the gradient of the explained logit at the pixels, or for texts at the place where
tokens enter; input × gradient is x ⊙ g. Both are reduced over the channels, or the hidden dimension: to their
*signed sum* by default, the gradient of texts to its l2 norm. Class-specific. The sum of input × gradient
equals the logit only where the model is linear without biases.

**Cost and memory.** One forward and one backward pass; what a tape holds of one pass.

**Reference.** Simonyan, Vedaldi & Zisserman, "Deep Inside Convolutional Networks", 2013 (arXiv 1312.6034);
Shrikumar et al., "Not Just a Black Box", 2016 (arXiv 1605.01713). Compared with captum, BSD-3 licence.

**Papers and code.** Simonyan et al. take max |g| over the channels, text papers an l1 or l2 norm; captum
leaves the reduction to its user. Where tokens enter (``entry``) decides the result for texts: at the input of
a normalisation neither scale nor mean is seen, so the sum over the hidden dimension of x ⊙ g is 0 there
(BERT's ``sum``). That of g is 0 wherever only LayerNorms read a token (BERT, GPT-2), and refused.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.common import Passes, for_each_class
from methods.places import Entry, Readout, Reduction, check_choices, gradient_map, point, read, reduced
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class Gradient:
    """The gradient of the explained logit at the pixels, or where the tokens of a text enter.

    Args:
        reduce: over the channels or the hidden dimension: ``sum``, signed; ``l1``; ``l2``; ``mean_abs``, the
            mean of magnitudes; None for ``sum`` of images and ``l2`` of texts.
        entry: for texts: ``word``, ``sum`` or ``embeddings`` (see :meth:`methods.relevance.Tape.entry_at`).
        dtype: in which everything is computed (see :meth:`methods.relevance.Tape.record`); None leaves it to the
            model.

    Raises:
        ValueError: for another choice.
    """

    version: ClassVar[int] = 1

    reduce: Reduction | None = None
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

        Raises:
            RefusedError: for ``sum`` of texts where every such sum is 0, as in BERT.
        """
        tape = Tape.record(forward, inputs, dtype=self.dtype)
        x = tape.entry_at(self.entry)
        dim = -3 if x.ndim == 4 else -1
        return for_each_class(target, lambda t: gradient_map(tape.gradient(t, [x])[0], self.reduce, dim))


@dataclass(frozen=True)
class InputXGradient:
    """What enters the model, times the gradient of the explained logit there.

    Args:
        reduce: over the channels or the hidden dimension: ``sum``, signed; ``l1``; ``l2``; ``mean_abs``.
        readout: where an image is read: ``pixels``; ``patch_sums``, these summed over each patch; ``tokens``,
            the patches' embeddings; ``tokens_with_position``, what enters the first block.
        entry: where a text is read: ``word``, ``sum`` or ``embeddings``.
        prefix_tokens: how many leading tokens are no patches; used by ``patch_sums`` only.
        dtype: in which everything is computed (see :meth:`methods.relevance.Tape.record`); None leaves it to the
            model.

    Raises:
        ValueError: for another choice.
    """

    version: ClassVar[int] = 1

    reduce: Reduction = "sum"
    readout: Readout = "pixels"
    entry: Entry = "word"
    prefix_tokens: int = 1
    dtype: str | None = None

    def __post_init__(self):
        check_choices(self)

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One of each."""
        return Passes(1, 1)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,) or (batch, classes), or the predicted class if None.

        Returns:
            (batch, height, width) for pixels, else (batch, tokens); (batch, classes, ...) for several classes.
        """
        tape = Tape.record(forward, inputs, dtype=self.dtype)
        x = point(tape, self.readout, self.entry)

        def explain(target: Tensor | None) -> Tensor:
            (gradient,) = tape.gradient(target, [x])
            return read(tape, reduced(x.detach() * gradient, self.reduce), self.readout, self.prefix_tokens)

        return for_each_class(target, explain)
