"""Finding attention among a model's torch calls: a softmax that multiplies values."""

from collections.abc import Callable

from torch import Tensor

from methods.relevance import calls as ops
from methods.relevance.modules import RefusedError, calling_module


class AttentionFinder:
    """Follows every softmax, through views and casts, to the product of matrices that makes it an attention.

    Args:
        batch: the number of samples.

    Attributes:
        attentions: for each block the (batch, heads, queries, keys) probabilities after the softmax.
    """

    def __init__(self, batch: int):
        self.attentions: list[Tensor] = []
        self._batch = batch
        self._softmax: Tensor | None = None
        self._moved: list[Tensor] = []  # the last softmax, and what it was moved or cast to
        self._unread: list[str] = []  # the modules of softmaxes that have not multiplied values

    def softmax(self, result: Tensor, remember: Callable[[Tensor], None]) -> Tensor:
        """Start to follow the result of a softmax; returns what the model goes on with.

        Of (batch · heads, queries, keys) all four dimensions are kept.
        """
        self._softmax = result if result.ndim == 4 else None
        if result.ndim == 4:
            self._unread.append(calling_module())
        elif result.ndim == 3 and result.shape[0] % self._batch == 0:
            self._softmax = result.unflatten(0, (self._batch, -1))
            remember(self._softmax)
            result = self._softmax.flatten(0, 1)
        self._moved = [result]
        return result

    def follow(self, name: str, arguments: tuple, result: Tensor) -> None:
        """Look at a call on what was a softmax."""
        first = arguments[1] if name == "einsum" else arguments[0]  # after the equation
        if self._softmax is None or not any(first is moved for moved in self._moved):
            return
        if name in ops.MATRIX_PRODUCTS or name == "einsum":
            self.attentions.append(self._softmax)
            if self._softmax is self._moved[0]:
                self._unread.pop()
            self._softmax = None
        elif name in ops.MOVEMENTS:
            self._moved.append(result)

    def check(self) -> None:
        """Raises RefusedError for attention that cannot be read as between the tokens of a sample."""
        if self._unread:
            raise RefusedError(
                f"the attention of {self._unread[0]} is changed between its softmax and the values (as in "
                "talking heads): what the tokens attend to cannot be read from it"
            )
        strange = [tuple(a.shape) for a in self.attentions if a.shape[0] != self._batch]
        if strange:
            raise RefusedError(
                f"attention of shape {strange[0]} for a batch of {self._batch}: it is not between all tokens "
                "of a sample (as in windowed attention), and cannot be rolled up over the blocks"
            )
