"""A method of one's own: gradient × input at the place where tokens enter the model."""

from dataclasses import dataclass

from torch import Tensor

from methods.relevance import Tape


@dataclass(frozen=True)
class GradientTimesInput:
    """The explained logit's gradient with respect to what enters the model, times that, summed over features.

    Where a model normalises what enters it (BERT does), its logits do not depend on the scale of that, so every sum
    is 0 but for rounding: such a map is refused when a run begins, as it is another one in every batch.

    Args:
        absolute: take the magnitude of each sum.
    """

    absolute: bool = False

    def __call__(self, forward, inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, height, width) for images, (batch, tokens) for texts."""
        tape = Tape.record(forward, inputs)
        (gradient,) = tape.gradient(target, [tape.entry])
        product = (gradient * tape.entry).detach()
        relevance = product.sum(dim=1 if product.ndim == 4 else -1)
        return relevance.abs() if self.absolute else relevance
