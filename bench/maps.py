"""``save_maps=true``: the maps themselves, kept beside a cell's rows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from metrics import minmax


@dataclass
class Kept:
    """A method whose maps are kept while it is used.

    Attributes:
        method: the method itself.
        grid: (rows, columns) of patches; None for text, whose maps have one number per token.
        prefix_tokens: how many tokens of an image stand before those of the patches.
    """

    method: Callable
    grid: tuple[int, int] | None = None
    prefix_tokens: int = 0
    _last: Tensor | None = None

    def __call__(self, forward: Callable, inputs, target: Tensor) -> Tensor:
        """The method's maps."""
        self._last = self.method(forward, inputs, target)
        return self._last

    def last(self) -> list[bytes]:
        """The maps of the last batch, scaled to 0..1, each as the content of an ``npy`` file in float16."""
        maps = self._last.detach().double()
        if self.grid is not None and maps.ndim == 2:
            maps = maps[:, self.prefix_tokens :].unflatten(1, self.grid)
        elif self.grid is not None:
            maps = F.adaptive_avg_pool2d(maps, self.grid)  # pixels, averaged over patches
        scaled = minmax(maps if maps.ndim == 3 else maps[:, None])
        return [_to_bytes(m) for m in (scaled if maps.ndim == 3 else scaled[:, 0]).half().cpu().numpy()]


def write(path: Path, ids: list[str], contents: Iterable[bytes]) -> None:
    """As an ``npz`` file: ``ids`` and ``maps``, of which those of short texts end in NaN.

    Args:
        contents: as :meth:`Kept.last` gives them.
    """
    maps = [np.load(BytesIO(content), allow_pickle=False) for content in contents]
    longest = max(len(m) for m in maps)
    maps = [np.pad(m, (0, longest - len(m)), constant_values=np.nan) if m.ndim == 1 else m for m in maps]
    with path.open("wb") as file:
        np.savez_compressed(file, ids=np.array(ids), maps=np.stack(maps))


def _to_bytes(array: np.ndarray) -> bytes:
    content = BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()
