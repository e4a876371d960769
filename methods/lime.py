"""# LIME

**Formula.** Coalitions of players z are drawn, and f(z), the probability of the explained class when only
they are there, is fitted by ridge regression with an intercept, in which a coalition weighs √exp(−D² / 25²),
D being 100 times the cosine distance of z to the full coalition. The values are the coefficients.
Class-specific and signed.

**Settings.** ``samples`` coalitions, the full one among them. ``sampling`` draws them: ``sizes`` removes a
number of players that is uniform in 1, …, M, and ``coins`` removes each with a chance of ½; None takes what
lime does, the first for words and the second for images. ``kernel_width`` is the 25, ``alpha`` the strength
of the ridge. ``coalitions`` gives them by hand.

**Cost and memory.** One forward pass for each sample and one more; no backward pass. ``chunk`` edited inputs
go through the model at once; several classes cost no more than one.

**Reference.** Ribeiro, Singh & Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any
Classifier", KDD 2016 (arXiv 1602.04938). Code: lime, BSD-2, which is not used.

**Paper and code.** The paper selects K features; lime shows 10 and may refit them alone. Here all players
have a value. Text is removed by ``fill`` instead of being deleted and tokenised again (``fill="delete"``
comes nearest), and images by ``baseline`` instead of each segment's mean colour. lime takes 5000 samples for
texts and 1000 for images. captum's LIME (25 samples, Lasso, a kernel of another width) is another method.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common import Passes
from methods.players import Words
from methods.removal import Games, RemovalBased, check_choice, check_counts, given


@dataclass(frozen=True)
class LIME(RemovalBased):
    """The coefficients of a ridge regression of the model's answer on which players are there, near the input.

    Ribeiro, Singh & Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any Classifier", KDD 2016
    (arXiv 1602.04938). The other settings are those of :class:`methods.removal.RemovalBased`.

    Args:
        samples: coalitions of players, the full one among them.
        sampling: ``sizes``, ``coins``, or None for what lime does: ``sizes`` for words, ``coins`` for images.
        kernel_width: at how many hundredths of cosine distance a coalition weighs 1/√e.
        alpha: of the ridge.
        seed: another seed draws other coalitions.
        coalitions: to be used instead of drawn ones, (samples, players), 1 for who is there.

    Raises:
        ValueError: for a setting out of range.
    """

    version: ClassVar[int] = 1

    samples: int = 5000
    sampling: Literal["sizes", "coins"] | None = None
    kernel_width: float = 25.0
    alpha: float = 1.0
    seed: int = 0
    coalitions: Tensor | None = None
    quantity: Literal["logit", "probability"] = "probability"

    def __post_init__(self):
        super().__post_init__()
        check_counts(self, "samples", least=2)
        check_choice("sampling", self.sampling, (None, "sizes", "coins"))
        for name in ("kernel_width", "alpha"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected a number above 0")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One forward pass for each sample, and one more."""
        return Passes(self.samples + 1, 0)

    def for_check(self) -> "LIME":
        """The same with few players and samples."""
        return replace(super().for_check(), samples=min(self.samples, 10))

    def _values(self, games: Games) -> Sequence[Tensor]:
        drawn = [self._drawn(games, sample) for sample in range(len(games))]
        return [
            self._ridge(own.double(), values) for own, values in zip(drawn, games.values(drawn), strict=True)
        ]

    def _drawn(self, games: Games, sample: int) -> Tensor:
        """The coalitions of a sample, (samples, players), boolean; the first is the full one."""
        players, generator = games.sizes[sample], games.generator(self.seed, sample)
        if self.coalitions is not None:
            return given(self.coalitions, players)
        sampling = self.sampling or ("sizes" if isinstance(games.players, Words) else "coins")
        kept = torch.ones(self.samples, players, dtype=torch.bool)
        if sampling == "coins":
            kept[1:] = torch.rand(kept[1:].shape, generator=generator) < 0.5
        elif players:
            counts = torch.randint(1, players + 1, (self.samples - 1,), generator=generator)
            for row, count in zip(kept[1:], counts.tolist(), strict=True):
                row[torch.randperm(players, generator=generator)[:count]] = False
        return kept

    def _ridge(self, kept: Tensor, values: Tensor) -> Tensor:
        """The coefficients (players, classes) of values (samples, classes)."""
        # The cosine of a coalition and the full one, of |z| and M players, is √(|z| / M).
        distance = 100 * (1 - (kept.sum(dim=1) / max(kept.shape[1], 1)).sqrt())
        weight = torch.exp(-((distance / self.kernel_width) ** 2)).sqrt()[:, None]
        centred, change = (t - (weight * t).sum(dim=0) / weight.sum() for t in (kept, values))
        gram = centred.T @ (weight * centred) + self.alpha * torch.eye(kept.shape[1], dtype=torch.float64)
        return torch.linalg.solve(gram, centred.T @ (weight * change))
