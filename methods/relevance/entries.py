"""Where the input enters a network: pixels, or what token ids are turned into."""

from collections.abc import Mapping

from torch import Tensor

from methods.relevance import calls as ops
from methods.relevance.layouts import Marks
from methods.relevance.modules import RefusedError

ENTRIES = ("word", "sum", "embeddings")

# What stands beside token ids in a mapping, by parts of the usual names.
_NOT_TOKENS = ("mask", "type", "position", "segment", "length", "label")
# From these on, numbers that were made from token ids do not name tokens any more.
_NOT_IDS = {
    "cumsum",
    "argmax",
    "argmin",
    "argsort",
    "sort",
    "nonzero",
    "sum",
    "max",
    "min",
    "size",
    "count_nonzero",
}


def token_ids(inputs: Tensor | Mapping[str, Tensor]) -> list[Tensor]:
    """Which of a model's inputs hold token ids."""
    if isinstance(inputs, Tensor):
        return [] if inputs.is_floating_point() else [inputs]
    whole = {
        n: t
        for n, t in inputs.items()
        if isinstance(t, Tensor) and not (t.is_floating_point() or t.dtype.itemsize == 1)
    }
    if "input_ids" in whole:
        return [whole["input_ids"]]
    return [t for name, t in whole.items() if not any(part in name.lower() for part in _NOT_TOKENS)]


class Entries:
    """Follows the input to where it becomes a sequence of vectors.

    Attributes:
        points: tensors on the tape, samples first. ``pixels``: the input itself, where it is a tensor of
            floating point numbers. For token ids: ``word``, what they are looked up as; ``sum``, what
            constants have been added to (positions, types); ``embeddings``, what a normalisation made of
            that before the first layer, which is the same as ``sum`` where the first layer reads that itself.
        leaves: what requires a gradient in the place of the input, a tensor for every look-up.
        beside: constants that were put beside what depends on the input, such as a class token.
        lookups: how often token ids were looked up.
    """

    def __init__(self, inputs: Tensor | Mapping[str, Tensor]):
        self.points: dict[str, Tensor] = {}
        self.leaves: list[Tensor] = []
        self.beside: list[Tensor] = []
        self.lookups = 0
        self.pixels = Marks()
        self._tokens, self._stream = Marks(), Marks()
        self._is_open, self._uses = True, 0
        for t in token_ids(inputs):
            self._tokens.add(t)

    def looked_up(self, name: str, args: tuple, result) -> Tensor | None:
        """The token ids that a call on constants looks up in a table; None if it does not."""
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return None
        ids = args[:1] if name == "embedding" else args[1:] if name in ("__getitem__", "index_select") else ()
        return next((t for t in ids if isinstance(t, Tensor) and t in self._tokens), None)

    def found(self, point: Tensor, ours: Tensor) -> None:
        """Take in a look-up: the ``point`` on the tape, and what the model goes on with."""
        self.lookups += 1
        if self.lookups == 1:
            self.points |= dict.fromkeys(ENTRIES, point)
            self._stream.add(ours)

    def follow_constants(self, name: str, args: tuple, result) -> None:
        """Note whether numbers that depend on no embedding still are token ids."""
        if name in _NOT_IDS or name.startswith("new_") or name.endswith("_like") or not args:
            return
        sources = args[1:] if name == "where" else args[0] if isinstance(args[0], (list, tuple)) else args[:1]
        if any(isinstance(t, Tensor) and t in self._tokens for t in sources):
            for t in result if isinstance(result, (tuple, list)) else (result,):
                if isinstance(t, Tensor) and not t.is_floating_point() and t.dtype.itemsize > 1:
                    self._tokens.add(t)

    def written(self, target: Tensor, *values) -> None:
        """Note what a tensor became that was written into."""
        for marks in (self._tokens, self._stream, self.pixels):
            if any(isinstance(t, Tensor) and t in marks for t in values):
                marks.add(target)

    def follow(self, name: str, carriers: list[Tensor], result) -> str | None:
        """Note a call on what depends on the input; returns which entry its result is, if one."""
        results = [
            t for t in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(t, Tensor)
        ]
        if not carriers or not results:  # a look at a shape or a type
            return None
        only = len(carriers) == 1
        moved = name in ops.MOVEMENTS
        if (
            carriers[0] in self.pixels
            and only
            and (moved or name in ops.ADDITIONS | ops.PRODUCTS | ops.QUOTIENTS | {"neg", "__neg__"})
        ):
            for t in results:
                self.pixels.add(t)
        if not any(t in self._stream for t in carriers):
            return None
        if moved or (self._is_open and only and name in ops.PRODUCTS | ops.QUOTIENTS):
            for t in results:
                self._stream.add(t)
            return None
        if self._is_open and name in ops.ADDITIONS and only:
            return "sum"
        self._is_open, self._uses = False, self._uses + 1
        if self._uses == 1 and name in ops.NORMS:
            return "embeddings"
        # The residual stream goes on from here: what a first layer's norm returned was for that alone.
        self.points["embeddings"] = self.points["sum"]
        return None

    def reached(self, entry: str, point: Tensor, ours: Tensor) -> None:
        """Take in the point of the tape that :meth:`follow` named, and what the model goes on with."""
        self.points[entry] = self.points["embeddings"] = point
        if entry == "sum":
            self._stream.add(ours)

    def at(self, name: str | None) -> Tensor | None:
        """The entry of a name of :data:`ENTRIES`, or ``sum`` if None; the pixels where these were given.

        Raises:
            ValueError: for another name.
            RefusedError: if tokens were looked up more than once, so that there is no one place.
        """
        if name is not None and name not in ENTRIES:
            raise ValueError(f"entry={name!r}: expected one of {', '.join(ENTRIES)}")
        if self.lookups > 1:
            raise RefusedError(
                f"tokens enter the model in {self.lookups} places (as in encoder–decoder models): there is "
                "no one entry whose relevance is that of the tokens; choose a method that reads attention"
            )
        return self.points.get("pixels", self.points.get(name or "sum"))
