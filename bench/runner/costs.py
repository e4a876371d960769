"""What cells cost before anything of them is computed: maps, passes of the model, bytes on disk.

It follows from what methods (``passes(tokens, blocks)``) and measurements (``passes(units)``) say of themselves.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from bench.runner.foreign import ForeignMaps
from bench.tasks import Measurement, Oracle
from methods.common import Passes

UNSAID = Passes(1, 1)  # of a method that does not say what it costs
PER_PASS, PER_ROW = (
    24,
    300,
)  # bytes: probability, logit and class of a pass; ids, classes and what else a row has
PER_NUMBER = 4  # bytes, of a map


@dataclass(frozen=True)
class Shape:
    """What of a model its cost depends on.

    Attributes:
        tokens: of a sample, prefix tokens included; of texts at most.
        blocks: with attention.
        width: numbers per token; None if it is not known.
        pixels: of an image; 0 of texts.
        prefix: tokens that are no patches, or no pieces of words.
    """

    tokens: int
    blocks: int
    width: int | None = None
    pixels: int = 0
    prefix: int = 1

    def units(self, measurement: Measurement) -> int:
        """How many units of a sample a measurement may remove."""
        if getattr(measurement, "unit", None) == "pixel":
            return self.pixels
        return max(self.tokens - self.prefix, 1)


@dataclass(frozen=True)
class Cost:
    """What something costs, in all.

    Attributes:
        maps: explanations of a sample.
        forward, backward: passes of the whole model for these maps.
        measuring: forward passes that measure maps, and the model.
        bytes: of the files that are kept.
    """

    maps: float = 0
    forward: float = 0
    backward: float = 0
    measuring: float = 0
    bytes: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def times(self, samples: int) -> "Cost":
        """The cost of so many samples, from that of one."""
        return Cost(*(samples * getattr(self, f.name) for f in fields(self)))

    def plain(self, backward: float) -> float:
        """In plain forward passes.

        Args:
            backward: how many of these a backward pass counts for.
        """
        return self.forward + backward * self.backward + self.measuring


def of_map(method: Callable, shape: Shape) -> Cost:
    """What one map of one sample costs; nothing where no method makes it.

    A method that says nothing counts for a pass of each.
    """
    if isinstance(method, (Oracle, ForeignMaps)):
        return Cost()
    passes = UNSAID
    if hasattr(method, "passes"):
        known: Mapping[str, Any] = {} if shape.width is None else {"width": shape.width}
        takes = inspect.signature(method.passes).parameters
        passes = method.passes(shape.tokens, shape.blocks, **{k: v for k, v in known.items() if k in takes})
    return Cost(1, passes.forward, passes.backward, 0, PER_ROW + PER_NUMBER * shape.tokens)


def of_measurement(measurement: Measurement, shape: Shape) -> Cost:
    """What measuring one sample costs beside its explanations: one that says nothing runs no model.

    An explanation that is compared with the plain one takes one more pass, for the class that it explains.
    """
    own = measurement.passes(shape.units(measurement)) if hasattr(measurement, "passes") else 0
    return Cost(measuring=own + len(measurement.variants), bytes=PER_ROW + PER_PASS * own)
