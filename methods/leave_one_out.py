"""# Leave-one-out

**Formula.** a_i = f(x) − f(x without i), for each player i: a word of a text, a patch or a segment of an
image; f is the logit of the explained class, or its probability. Class-specific and signed. The values do not
add up to anything: of two words that say the same, each alone is worth nothing.

**Settings.** ``fill`` says what "without" is, and each answer gives another map: the mask token (the
default), the padding token, deletion (positions move; the leave-one-out that agreement with it, τ-LOO, is
measured against), or the attention mask (the word stays in its own residual stream, but no other token sees
it). ``baseline`` is what removed pixels become, in the normalised input. ``quantity`` is f.

**Cost and memory.** One forward pass for each player and one more; no backward pass. ``chunk`` edited inputs
go through the model at once; several classes cost no more than one. ``most_players`` bounds the cost of long
texts: it puts neighbouring words together.

**Reference.** Li, Monroe & Jurafsky, "Understanding Neural Networks through Representation Erasure", 2016
(arXiv 1612.08220); for patches, Zeiler & Fergus, ECCV 2014 (arXiv 1311.2901). The maps are those of captum's
FeatureAblation (BSD-3), which is not used.

**Paper and code.** Integrated gradients from one word's mask embedding to the word, summed over its
dimensions ("sequential integrated gradients", Enguehard, Findings of ACL 2023, arXiv 2305.15853), is
leave-one-out with the mask token by completeness, so it is not a method of its own here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.common import Passes
from methods.removal import Games, RemovalBased


@dataclass(frozen=True)
class LeaveOneOut(RemovalBased):
    """How much the model's answer loses when one player is removed: a_i = f(x) − f(x without i).

    Li, Monroe & Jurafsky, "Understanding Neural Networks through Representation Erasure", 2016 (arXiv
    1612.08220). The settings are those of :class:`methods.removal.RemovalBased`.
    """

    version: ClassVar[int] = 1

    def passes(self, tokens: int, blocks: int) -> Passes:
        """Of a sample whose every token is a player; fewer, where words have several."""
        return Passes(1 + min(tokens, self.most_players or tokens), 0)

    def _values(self, games: Games) -> Sequence[Tensor]:
        without_one = [~torch.eye(players, dtype=torch.bool) for players in games.sizes]
        removed = games.values(without_one)
        return [whole - values for whole, values in zip(games.whole, removed, strict=True)]
