"""The board as tables: csv files with everything, and markdown for readers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from bench.board.columns import Board, Column, Row
from bench.board.statistics import (
    Agreed,
    Compared,
    Overall,
    Retest,
    Standing,
    between_metrics,
    between_models,
    compared,
    overall,
)
from bench.store.files import write_text

NOT_EQUAL = (
    "Methods that share a letter are not told apart by these samples; that does not make them equal, and it does not "
    "go on from one to the next."
)
FIXED = (
    "Its interval is the mean of the intervals of ranks, which hold for all methods and columns at once: samples are "
    "resampled, those of one data set together for all models and metrics; models and metrics are fixed, not sampled."
)
NEVER = "Models are not ranked against one another: how far a probability falls is a matter of the model's confidence."
SHOWN_K = 20  # of a metric with a k the tables for readers show every so many


@dataclass(frozen=True)
class Statistics:
    """All that is computed for a board, each part once.

    Attributes:
        board: what it is of.
    """

    board: Board = field(repr=False)

    @cached_property
    def compared(self) -> list[Compared]:
        """Every column."""
        return [compared(self.board, column) for column in self.board.columns]

    @cached_property
    def overall(self) -> list[Overall]:
        """The mean ranks."""
        return overall(self.board)

    @cached_property
    def of_metrics(self) -> tuple[list[Agreed], list[Retest]]:
        """How far metrics agree, and each with itself."""
        return between_metrics(self.board)

    @cached_property
    def of_models(self) -> list[Agreed]:
        """How far models agree."""
        return between_models(self.board)


def of_column(column: Column) -> dict[str, object]:
    """What a row of a csv file says of its column."""
    names = "dataset", "model", "modality", "protocol", "task", "family", "metric", "k", "explained", "on"
    return {name: getattr(column, name) for name in names}


def standings(made: Statistics) -> pd.DataFrame:
    """One row per number of the board, with its interval, its interval of ranks and its letters."""
    rows = []
    for one in made.compared:
        for row in one.column.rows:
            own = one.standings[row.method.label]
            low, high = own.ranks or (None, None)
            rows.append(
                {
                    **of_column(one.column),
                    "method": row.method.label,
                    "kind": row.method.kind,
                    "value": row.value,
                    "low": row.low,
                    "high": row.high,
                    "samples": row.statistic.count,
                    "undefined": row.undefined,
                    "rank_low": low,
                    "rank_high": high,
                    "letters": own.letters,
                    "first_in_share_of_resamples": own.first,
                    "not_told_apart_from": "; ".join(own.floors),
                    "unranked": own.unranked,
                    "detectable_difference": one.detectable,
                    "seconds_per_map": row.seconds,
                    "device": row.device,
                    "note": row.note,
                }
            )
    return pd.DataFrame(rows)


def differences(made: Statistics) -> pd.DataFrame:
    """One row per pair of methods in a column: more is better, whichever way the metric itself points."""
    frames = []
    for one in made.compared:
        if (found := one.comparisons) is None:
            continue
        i, j = np.triu_indices(len(one.labels), k=1)
        labels = np.array(one.labels, dtype=object)
        values = {
            name: getattr(found, square)[i, j]
            for name, square in (
                ("difference", "differences"),
                ("low", "low"),
                ("high", "high"),
                ("p_value", "p_values"),
            )
        }
        frames.append(
            pd.DataFrame({"method": labels[i], "other": labels[j], **values}).assign(**of_column(one.column))
        )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def mean_ranks(made: Statistics) -> pd.DataFrame:
    """One row per method, modality and protocol."""
    frames = []
    for one in made.overall:
        if one.found is None:
            continue
        intervals = one.found.rank_intervals()
        data = {
            "modality": one.modality,
            "protocol": one.protocol,
            "method": [method.label for method in one.methods],
            "mean_rank": one.found.value,
            "low": one.found.low,
            "high": one.found.high,
            "rank_low": intervals[:, 0],
            "rank_high": intervals[:, 1],
            "letters": one.found.letters(),
            "position": one.positions,
        }
        for what in one.without:
            low, high = moved(one, what)
            data |= {f"position_without_a_{what}_low": low, f"position_without_a_{what}_high": high}
        frames.append(pd.DataFrame(data))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def without_one(made: Statistics) -> pd.DataFrame:
    """One row per method and what is left out of the mean rank: its position then."""
    rows = [
        {
            "modality": one.modality,
            "protocol": one.protocol,
            "method": method.label,
            "left_out": what,
            "which": which,
            "position": position,
        }
        for one in made.overall
        for what, found in one.without.items()
        for which, positions in found.items()
        for method, position in zip(one.methods, positions, strict=True)
    ]
    return pd.DataFrame(rows)


def moved(one: Overall, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The best and the worst position of each method while each metric, model or method is left out; NaN if none."""
    positions = np.array(list(one.without[what].values()))
    if not len(positions):
        return np.full(len(one.methods), np.nan), np.full(len(one.methods), np.nan)
    return np.nanmin(positions, axis=0), np.nanmax(positions, axis=0)


def agreement(pairs: Sequence[Agreed]) -> pd.DataFrame:
    """One row per pair of rankings."""
    names = "tau", "low", "high", "ceiling", "methods", "samples", "differ"
    rows = [
        {
            **of_column(pair.one),
            **{
                f"other_{name}": of_column(pair.other)[name]
                for name in ("model", "task", "metric", "k", "explained")
            },
            **{name: getattr(pair, name) for name in names},
        }
        for pair in pairs
    ]
    return pd.DataFrame(rows)


def retest(found: Sequence[Retest]) -> pd.DataFrame:
    """One row per column: how far its ranking agrees with itself."""
    names = "tau", "low", "high", "methods"
    return pd.DataFrame(
        [{**of_column(r.column), **{name: getattr(r, name) for name in names}} for r in found]
    )


def interval_text(value: float, low: float, high: float, decimals: int) -> str:
    """A number with its interval."""
    if value != value:
        return "undefined"
    return f"{value:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def ranks_text(standing: Standing) -> str:
    """The interval of ranks and the letters; of a method without a rank its letters alone."""
    if standing.ranks is None:
        return f"– {standing.letters}".strip() if standing.letters else "–"
    low, high = standing.ranks
    return f"{low}–{high} {standing.letters}" if low < high else f"{low} {standing.letters}"


def is_shown(column: Column, board: Board) -> bool:
    """Whether readers are shown a column: of a metric with a k every twentieth, or all if there is none of these."""
    if not column.k or column.k % SHOWN_K == 0:
        return True
    same = (column.dataset, column.model, *column.name[:3], column.explained)
    alike = [c.k for c in board.columns if (c.dataset, c.model, *c.name[:3], c.explained) == same]
    return not any(k % SHOWN_K == 0 for k in alike)


def views(made: Statistics) -> dict[tuple, list[Compared]]:
    """What stands in one table: the columns of one task on a data set and model, for one class and list of samples."""
    found: dict[tuple, list[Compared]] = {}
    for one in made.compared:
        c = one.column
        if is_shown(c, made.board):
            key = (c.modality, c.dataset, c.model, c.protocol, c.task, c.explained, c.on)
            found.setdefault(key, []).append(one)
    return found


def heading(column: Column, titles: Mapping[str, str]) -> str:
    """What a table of a column is called."""
    where = f"{titles.get(column.dataset, column.dataset)}, {titles.get(column.model, column.model)}"
    samples = "" if column.on == "all" else f", {column.on}"
    return f"{where}: {column.task.replace('_', ' ')}, {column.explained} class{samples}, protocol {column.protocol}"


def text_of(one: Compared, row: Row) -> str:
    """What a markdown table says of a method in a column."""
    number = interval_text(row.value, row.low, row.high, one.column.decimals)
    return f"{number}; {ranks_text(one.standings[row.method.label])}"


def view_table(own: Sequence[Compared]) -> pd.DataFrame:
    """A table for readers: one row per method, one column per metric."""
    methods = {row.method.label: row.method for one in own for row in one.column.rows}
    columns = {}
    for one in own:
        rows = {row.method.label: row for row in one.column.rows}
        columns[one.column.title] = [text_of(one, rows[label]) if label in rows else "–" for label in methods]
    return pd.DataFrame(columns, index=pd.Index([m.title for m in methods.values()], name="method"))


def overall_table(one: Overall) -> pd.DataFrame:
    """The mean ranks for readers."""
    found = one.found
    intervals, letters = found.rank_intervals(), found.letters()
    columns = {
        "mean rank": [interval_text(*own, 2) for own in zip(found.value, found.low, found.high, strict=True)],
        "ranks": [
            ranks_text(Standing(tuple(own), letters=own_letters))
            for own, own_letters in zip(intervals.tolist(), letters, strict=True)
        ],
    }
    for what, positions in one.without.items():
        if positions:
            columns[f"position without a {what}"] = [
                f"{low:g}" if low == high else f"{low:g}–{high:g}"
                for low, high in zip(*moved(one, what), strict=True)
            ]
    return pd.DataFrame(columns, index=pd.Index([m.title for m in one.methods], name="method"))


def overall_notes(one: Overall, titles: Mapping[str, str]) -> list[str]:
    """What must be said below mean ranks."""
    cells = ", ".join(
        f"{c.family} ({c.facts.title}) on {titles.get(c.dataset, c.dataset)}, {titles.get(c.model, c.model)}"
        for c in one.columns
    )
    notes = [f"The mean of the ranks in {len(one.columns)} columns: {cells}. {FIXED} {NOT_EQUAL}"]
    if one.lacking:
        notes.append(f"Not measured: {', '.join(one.lacking)}.")
    if one.missing:
        left_out = "; ".join(f"{title} (lacks {len(columns)})" for title, columns in one.missing.items())
        notes.append(f"Only methods that are ranked in every column are here; not {left_out}.")
    return notes


def markdown(made: Statistics) -> str:
    """The whole board for readers, without the agreement of metrics, which is a square for each model."""
    return "\n\n".join(["# The board", *_paragraphs(made)]) + "\n"


def _paragraphs(made: Statistics) -> Iterator[str]:
    titles = made.board.titles
    yield f"{NEVER} {NOT_EQUAL}"
    for one in made.overall:
        yield f"## Mean rank, {one.modality}s, protocol {one.protocol}"
        if one.found is None:
            yield "Fewer than two methods are ranked in every headline column."
        else:
            yield _markdown(overall_table(one))
        yield from overall_notes(one, titles)
    for own in views(made).values():
        yield f"## {heading(own[0].column, titles)}"
        yield _markdown(view_table(own))
        yield " ".join(filter(None, map(detectable_text, own)))
    if pairs := made.of_models:
        yield "## Do conclusions carry over from one model to another?"
        yield _markdown(models_table(pairs, titles))


def detectable_text(one: Compared) -> str:
    """How small a difference could be detected, and how many pairs were."""
    if one.comparisons is None:
        return ""
    apart, pairs = one.separated
    return (
        f"{one.column.facts.title}: {apart} of {pairs} pairs of ranked methods are told apart; a difference of "
        f"{one.detectable:.2g} could be detected."
    )


def models_table(pairs: Sequence[Agreed], titles: Mapping[str, str]) -> pd.DataFrame:
    """The agreement of models for readers."""
    rows = [
        {
            "data set": titles.get(p.one.dataset, p.one.dataset),
            "models": f"{titles.get(p.one.model, p.one.model)} and {titles.get(p.other.model, p.other.model)}",
            "metric": f"{p.one.title}, {p.one.explained} class, {p.one.protocol}",
            "τ_b": interval_text(p.tau, p.low, p.high, 2),
            "ceiling": f"{p.ceiling:.2f}",
            "methods": str(p.methods),
            "samples": str(p.samples),
            "orders differ": "yes" if p.differ else "not shown",
        }
        for p in pairs
    ]
    return pd.DataFrame(rows).set_index("data set")


def _markdown(table: pd.DataFrame) -> str:
    return table.to_markdown(disable_numparse=True)


def write_tables(made: Statistics, folder: Path) -> None:
    """Write the csv files and ``board.md``.

    Raises:
        BenchError: if the folder cannot be written to.
    """
    pairs, retests = made.of_metrics
    tables = {
        "standings": standings(made),
        "differences": differences(made),
        "mean_ranks": mean_ranks(made),
        "mean_ranks_without_one": without_one(made),
        "agreement_of_metrics": agreement(pairs),
        "retest_of_metrics": retest(retests),
        "agreement_of_models": agreement(made.of_models),
    }
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"), "out")
    write_text(folder / "board.md", markdown(made), "out")
