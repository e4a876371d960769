"""How far rankings of the methods in finished cells agree: what the tables of metrics and of fills have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.catalogue import catalogue_of
from bench.cli import show
from bench.errors import BenchError
from bench.store.files import or_say, write_text
from bench.tables.conditions import tables_folder
from bench.tables.select import Scored, Selection
from metrics import Draws, RankAgreement, Statistic, rank_agreement

RESAMPLES, SPLITS = 2_000, 200
LEAST = 3  # methods
LEGEND = (
    "Brackets: 95 % interval over resampled samples. On the diagonal, in italics: the order with itself, between "
    "random halves of the samples. **Bold**: the interval ends below the lower of both diagonals, so noise does not "
    "explain that the orders differ."
)


def competing(selection: Selection, what: str) -> list[Scored]:
    """The methods of a selection that compete, without floors and ceilings, for its explained class.

    Args:
        what: is made of them, for messages.

    Raises:
        BenchError: if fewer than three compete.
    """
    facts, explained = catalogue_of(selection.config), selection.config["explained"]
    found = [
        one
        for one in selection.scored
        if facts.method(one.name).kind == "method" and one.explained == explained
    ]
    if len(found) < LEAST:
        raise BenchError(
            f"{what}: {len(found)} methods have finished cells, besides floors and ceilings; orders "
            f"need {LEAST} or more"
        )
    return found


def oriented(statistic: Statistic | None, higher_is_better: bool | None) -> Statistic | None:
    """A statistic with its sign turned where less is better."""
    if statistic is None or higher_is_better:
        return statistic
    reduce = statistic.reduce
    return replace(statistic, reduce=lambda sums: -reduce(sums))


def agreement_of(
    rankings: Sequence[Sequence[Statistic | None]], seed: int, what: str
) -> tuple[RankAgreement, int]:
    """How far rankings agree, and of how many samples they are.

    Args:
        rankings: (rankings, methods), statistics of which more is better; None where a method has none.
        seed: of the resamples and of the random halves.
        what: they are of, for messages.

    Raises:
        BenchError: if the cells are of different samples, or of a single one.
    """
    sizes = {len(s.terms) for ranking in rankings for s in ranking if s is not None}
    if len(sizes) != 1 or sizes == {1}:
        raise BenchError(f"{what}: cells are of {sorted(sizes)} samples; run them on the same two or more")
    (samples,) = sizes
    draws, halves = Draws.bootstrap(samples, RESAMPLES, seed), Draws.halves(samples, SPLITS, seed)
    return rank_agreement(rankings, draws, halves), samples


def entry(found: RankAgreement, i: int, j: int) -> str:
    """What a square says of two rankings, as :data:`LEGEND` explains."""
    if i == j:
        return "–" if np.isnan(found.retest[i]) else f"*{found.retest[i]:.2f}*"
    if np.isnan(found.tau[i, j]):
        return "–"
    number = f"{found.tau[i, j]:.2f}"
    number = f"**{number}**" if found.differ[i, j] else number
    return f"{number} [{found.low[i, j]:.2f}, {found.high[i, j]:.2f}]"


def show_and_write(made: Any, name: str, config: Mapping[str, Any], output: str | None) -> None:
    """Print ``made.markdown()``, and write it and ``made.pairs()`` as ``<name>.md`` and ``.csv``.

    Args:
        output: a folder; None for that of the suite's tables, which may be one that the user can only read.

    Raises:
        BenchError: if they cannot be written.
    """
    show(made.markdown())
    folder, key = (Path(output), "--output") if output else (tables_folder(config), "paths.results")
    contents = {"csv": made.pairs().to_csv(index=False, float_format="%.6g"), "md": made.markdown()}

    def write() -> None:
        for suffix, text in contents.items():
            write_text(folder / f"{name}.{suffix}", text, key)

    write() if output else or_say(write)
