"""# Occlusion

**Formula.** A window of neighbouring players slides over the input: so many words in a row, or a square of so
many patches a side. Each window takes f(x) − f(x without the window), and a player gets the mean of the
windows that cover it; f is the logit of the explained class, or its probability. Class-specific and signed.

**Settings.** ``window`` and ``stride``, in players; those of leave-one-out (``fill``, ``baseline``,
``quantity``, ``most_players``). A window of one is leave-one-out.

**Cost and memory.** One forward pass for each window and one more; no backward pass. ``chunk`` edited inputs
go through the model at once; several classes cost no more than one.

**Reference.** Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (arXiv
1311.2901). Code: captum's Occlusion, BSD-3, which is not used.

**Paper and code.** The paper shows what is left of f and not what is lost. Means over the windows that cover
a place are captum's; its last window may reach beyond the end, as ours does. Windows of captum slide over
pixels, ours over patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from torch import Tensor

from methods.common import Passes
from methods.removal import Games, RemovalBased, check_counts


@dataclass(frozen=True)
class Occlusion(RemovalBased):
    """How much the model's answer loses when a window of neighbours is removed: the mean of those that cover a player.

    Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (arXiv 1311.2901). The other
    settings are those of :class:`methods.removal.RemovalBased`.

    Args:
        window: how many words in a row, or patches a side, are removed together.
        stride: by how many the window moves on; not more than its own length, so that none is left out.

    Raises:
        ValueError: for a setting out of range.
    """

    version: ClassVar[int] = 1

    window: int = 3
    stride: int = 1

    def __post_init__(self):
        super().__post_init__()
        check_counts(self, "window", "stride")
        if self.stride > self.window:
            raise ValueError(
                f"stride={self.stride}: longer than window={self.window}, so parts would be left out"
            )

    def passes(self, tokens: int, blocks: int) -> Passes:
        """Of a text whose every token is a player; fewer, where words have several, and on a grid."""
        players = min(tokens, self.most_players or tokens)
        return Passes(2 + max(0, ceil((players - self.window) / self.stride)), 0)

    def _values(self, games: Games) -> Sequence[Tensor]:
        windows = [games.players.windows(count, self.window, self.stride) for count in games.sizes]
        lost = [w - v for w, v in zip(games.whole, games.values([~own for own in windows]), strict=True)]
        return [
            own.double().T @ loss / own.sum(dim=0)[:, None] for own, loss in zip(windows, lost, strict=True)
        ]
