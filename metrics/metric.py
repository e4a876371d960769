"""What a metric is: a formula on stored columns, with all that a reader of its numbers must know."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from metrics.bootstrap import Statistic

Columns = Mapping[
    str, np.ndarray
]  # by name: one entry per sample; a list in each where a column holds several


class Curve(NamedTuple):
    """What a metric sums up, for a figure.

    Attributes:
        x: (points,).
        values: (samples, points), in the metric's unit but for areas, whose curves are in per cent.
        x_label, y_label: in words, with units.
        range: the least and the greatest value there can be; None if it is not known.
        proportion: whether each value says whether a sample has some property: the least of the range for no, the
            greatest for yes.
    """

    x: np.ndarray
    values: np.ndarray
    x_label: str
    y_label: str
    range: tuple[float, float] | None = None
    proportion: bool = False


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """A number that says what maps are worth on a data set.

    It needs neither the model nor the maps: :meth:`statistics` takes columns with one entry per sample, stored
    ones or arrays of one's own. A subclass with another formula raises ``version``; that asks for no map again.

    Attributes:
        name: of the column in files and of the key in a configuration.
        title: of the column in printed tables.
        unit: ``%`` for numbers in 0..100, ``AUC × 100`` for an area, empty for a fraction in 0..1.
        higher_is_better: None for a description, which makes nobody the best.
        range: the least and the greatest value there can be.
        columns: the names of the columns that are read.
        measurements: the measurements (files of ``conf/measurement``) that give them, for a metric that has no
            file of its own.
        scale: what the numbers of the samples are multiplied with, of a mean.
        of_sums: of a metric that is no mean over samples, from sums (…, terms) of its statistics' terms to the
            metric (…), as a static method; None for a mean.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ()
    measurements: ClassVar[tuple[str, ...]] = ()
    scale: ClassVar[float] = 1.0
    of_sums: ClassVar[Callable[[np.ndarray], np.ndarray] | None] = None

    name: str
    title: str
    unit: str = ""
    higher_is_better: bool | None = True
    range: tuple[float, float] = (0.0, 1.0)

    @abstractmethod
    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The metric by k, the number that it is a function of, or at 0 where there is none.

        Samples on which it is undefined have the weight 0 in a statistic.

        Raises:
            ValueError: for columns that cannot be read.
        """

    def curve(self, columns: Columns) -> Curve | None:
        """The curve behind the number, for figures; None where there is none."""
        return None


def stacked(column: np.ndarray, entries: int) -> np.ndarray:
    """A column that holds a list in each entry, as (samples, entries).

    Raises:
        ValueError: if a list has another length.
    """
    lists = [np.asarray(each) for each in column]
    if wrong := {each.shape for each in lists} - {(entries,)}:
        raise ValueError(f"expected {entries} numbers for each sample, got {list(sorted(wrong)[0])}")
    return np.stack(lists) if lists else np.empty((0, entries))


def annotated(column: np.ndarray, name: str) -> np.ndarray:
    """A column of classes (samples,), none of them missing.

    Raises:
        ValueError: if one is.
    """
    classes = np.asarray(column)
    missing = sum(each is None or each != each for each in classes.tolist())
    if missing:
        raise ValueError(f"{name}: {missing} of {len(classes)} samples have no class")
    return classes
