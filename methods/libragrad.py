"""# LibraGrad

**Formula.** Not a method but a gradient ∇̃ in the place of the true one, for any method that reads gradients.
The forward pass is unchanged; backwards

- a norm's variance is a constant, and so is the norm of a normalisation to length 1;
- of GELU's x·Φ(x), SiLU's and a gated unit's product the gate is a constant; a product of two activations
  hands on half;
- attention is a constant towards queries and keys, while ∇̃A itself is there for a method to read;
- linear layers and skip connections hand on the true gradient.

Then Σ x ⊙ ∇̃x + Σ bias ⊙ ∇̃(output) = y_t exactly, wherever the network is cut. ``LibraGrad(InputXGradient(
readout="tokens_with_position"))`` reads the tokens that enter the first block; the paper's best is
``LibraGrad(FullGradPlus())``; ``LibraGrad(GAE())`` is another.

**Cost and memory.** Those of the method that is wrapped.

**Reference.** Mehri, Baghshah & Pilehvar, "LibraGrad: Balancing Gradient Flow for Universally Better Vision
Transformer Attributions", CVPR 2025 (arXiv 2411.16760). Code:
NightMachinery/pytorch-image-models-libragrad-v1, a fork of timm (Apache-2.0), and decompv-libragrad-v1, which
names no licence.

**Paper and code.** What the paper reports as AttnLRP is that of :class:`methods.AttnLRP`; on ViTs LibraGrad's
input × gradient is AttnLRP's variant with constant attention and no γ, read at the tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from methods.common import Passes
from methods.gradients import InputXGradient
from methods.relevance import LIBRA, Forward, Inputs, modified_gradients


@dataclass(frozen=True)
class LibraGrad:
    """A method that reads gradients, given LibraGrad's balanced ones.

    Args:
        method: any that reads gradients of a tape.
        prefix_tokens: how many leading tokens are no patches, for the method if it asks; None leaves its own.

    Raises:
        ValueError: for what is no method.
    """

    version: ClassVar[int] = 1

    method: Callable = field(default_factory=lambda: InputXGradient(readout="tokens_with_position"))
    prefix_tokens: int | None = None

    def __post_init__(self):
        if not callable(self.method):
            raise ValueError(f"method={self.method!r}: expected a method, such as methods.GAE()")
        if self.prefix_tokens is not None and hasattr(self.method, "prefix_tokens"):
            object.__setattr__(self, "method", replace(self.method, prefix_tokens=self.prefix_tokens))

    @property
    def class_specific(self) -> bool:
        """Whether the wrapped method's map depends on the class."""
        return getattr(self.method, "class_specific", True)

    def passes(self, tokens: int, blocks: int) -> Passes:
        """Those of the wrapped method."""
        return self.method.passes(tokens, blocks)

    def for_check(self) -> "LibraGrad":
        """The wrapped method with fewer draws, if it draws."""
        check = getattr(self.method, "for_check", None)
        return self if check is None else replace(self, method=check())

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain as the wrapped method does, and return what it returns."""
        with modified_gradients(LIBRA):
            return self.method(forward, inputs, target)
