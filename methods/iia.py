"""# Iterated integrated attributions (IIA)

**Formula.** The image is scaled by α = 0, 1/5, …, 1, and for each the last block's attention is replaced by β
A^(B)(αx), β = 0, 1/5, …, 1, in 36 runs. Ā^(b) is the mean over the runs and the heads of (A^(b) ⊙ ∇A^(b))⁺;
then rollout: rows of I + Ā^(b) are normalised and the blocks multiplied, and the map is the row that the
model reads. Class-specific, nowhere negative.

**Cost and memory.** ``points`` forward passes and points² backward passes; each of the points² runs goes
forward through what follows the last block's attention only. A tape is held for one scaled image at a time.

**Reference.** Barkan, Elisha, Asher, Eshel & Koenigstein, "Visual Explanations via Iterated Integrated
Attributions", ICCV 2023. Code: iia-iccv23/iia, which names no licence.

**Paper and code.** The paper iterates over the blocks; the code interpolates the attention of the last one
only, as here. Its factors are numbers in float32, as here.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from methods.common import Passes, blocks, each_class, roll_up
from methods.places import pixels_of
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class IIA:
    """Attention times its gradient, averaged over scaled images and scaled attention of the last block, rolled up.

    Args:
        points: by how many evenly spaced factors from 0 to 1 the image is scaled, and for each the attention.

    Raises:
        ValueError: for fewer than 2 points.
    """

    version: ClassVar[int] = 1

    points: int = 6

    def __post_init__(self):
        if self.points < 2:
            raise ValueError(f"points={self.points}: expected at least 2")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """A forward pass for each scaled image, one through the last block for each run, and its backward pass."""
        runs = self.points**2
        return Passes(self.points + runs / blocks, runs)

    def for_check(self) -> "IIA":
        """The same with fewer points."""
        return replace(self, points=2)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).

        Raises:
            RefusedError: for inputs that are no images.
        """
        images = pixels_of(inputs, self)
        tape = Tape.record(forward, images)  # at α = 1
        row, is_single = tape.readout(), target is None or target.ndim == 1
        target = each_class(tape.logits.detach().argmax(dim=1) if target is None else target).unbind(dim=1)
        sums = [[0.0] * len(tape.attentions) for _ in target]
        factors = torch.linspace(0, 1, self.points, dtype=torch.float32).tolist()  # as the reference
        for alpha in factors:
            at = tape if alpha == 1 else Tape.record(forward, alpha * images)
            for beta in factors:
                runs = self._run(at, beta, target)
                sums = [[a + b for a, b in zip(*each, strict=True)] for each in zip(sums, runs, strict=True)]
        maps = [roll_up([m / self.points**2 for m in each], row, normalise_rows=True) for each in sums]
        return maps[0] if is_single else torch.stack(maps, dim=1)

    @staticmethod
    def _run(tape: Tape, beta: float, target: tuple[Tensor, ...]) -> list[list[Tensor]]:
        """E_h[(A ⊙ ∇A)⁺] of every block, for each class, with the last attention multiplied by β."""
        *others, last = blocks(tape, 0)
        scaled = (beta * last.detach()).requires_grad_()
        logits = tape.rerun({last: scaled})
        used = [*others, scaled]
        return [
            [
                (a.detach() * gradient).clamp(min=0).mean(dim=1)
                for a, gradient in zip(used, tape.gradient(t, used, logits=logits), strict=True)
            ]
            for t in target
        ]
