"""Published numbers, from ``results/reference/<task>.csv``: what they are of, and how each was confirmed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.catalogue import REFERENCE, catalogue_of
from bench.tables.conditions import is_standard, title_read
from bench.tables.format import Column, columns_of, laid_out
from bench.tables.select import Selection
from metrics import Metric

SOURCES = {
    "chefer2021": "Chefer et al. 2021",
    "rerun_issue52": "public re-run (issue 52)",
    "rerun_kth": "public re-run (KTH)",
}
PROTOCOL = "paper"  # under which the numbers were published
COLUMNS = ["source", "method", "metric", "explained", "k", "value", "confirmed"]
RECALLED = "*recalled* means that nobody could re-read it in the paper"


def published(task: str, results: str | Path) -> pd.DataFrame:
    """All published numbers of a task, with the columns :data:`COLUMNS`; no rows where there are none."""
    # Results may be kept anywhere; the published numbers come with the project.
    for folder in (Path(results) / "reference", REFERENCE):
        if (path := folder / f"{task}.csv").exists():
            return pd.read_csv(path)[COLUMNS]
    return pd.DataFrame(columns=COLUMNS)


@dataclass(frozen=True)
class Published:
    """The numbers of one source, as they stand below a table.

    Attributes:
        source: a key of :data:`SOURCES`.
        relation: how its model and data are related to those of the table.
        columns: in the order of the table's; the group of each says where it is from.
        methods: the labels of the rows.
        caption: of the table of them.
        tables: what a reader sees, each with its heading.
    """

    source: str
    relation: str
    columns: Sequence[Column]
    methods: Sequence[str]
    caption: str
    tables: Sequence[tuple[str, pd.DataFrame]]

    @property
    def name(self) -> str:
        """Of the source, for readers."""
        return SOURCES.get(self.source, self.source)


def published_beside(
    others: pd.DataFrame, measured: pd.DataFrame, selection: Selection, metrics: Mapping[str, Metric]
) -> list[Published]:
    """The published numbers of a task, by their source: the first is the main one, the others ran it again.

    Args:
        others: with the columns :data:`COLUMNS`.
        measured: the numbers of the table, whose order of methods and of k the others take.
        selection: what the table is of.
        metrics: by name.
    """
    facts, table = catalogue_of(selection.config), selection.config["task"]["table"]
    relation, made = relation_of(selection), []
    there = table.get("published_on", "their own models and data")
    order = [m for m in measured["method"].unique() if m in set(others["method"])]
    order += [m for m in others["method"].unique() if m not in order]
    for source, own in others.groupby("source", sort=False):
        alike = own["confirmed"].iloc[0] if own["confirmed"].nunique() == 1 else None
        shown = own if alike is None else own.assign(confirmed="")  # said once, in the caption
        group = f"published, {relation}" if not made else SOURCES.get(source, source)
        columns = columns_of(shown, metrics, facts, like=measured, group=group)
        columns = [column for column in columns if column.entries]
        methods = [m for m in order if m in set(own["method"])]
        name = SOURCES.get(source, source)
        said = (
            f"**Published: {name}**, {there} (here: {relation})."
            if not made
            else f"**{name[0].upper()}{name[1:]}**."
        )
        recalled = f"; {RECALLED}" if "recalled" in set(own["confirmed"]) else ""
        how = "In brackets how each number was confirmed" if alike is None else f"All confirmed as: {alike}"
        caption = f"{said} {how}{recalled}."
        made.append(Published(source, relation, columns, methods, caption, laid_out(columns, methods, facts)))
    return made


def relation_of(selection: Selection) -> str:
    """How the model, the data and the settings of a table are related to those of the published numbers, in words."""
    theirs = selection.config["task"]["table"].get("published", {})
    same = {key: _is_same(title_read(selection, key), theirs.get(key)) for key in ("model", "dataset")}
    words = {"model": "model", "dataset": "data set"}
    other = [words[key] for key, is_same in same.items() if not is_same]
    parts = [f"another {' and '.join(other)}"] if other else []
    if same["dataset"] and selection.config.get("subset") is not None:
        parts.append("the first samples of the data set")
    elif same["dataset"] and selection.config["limit"] is not None:
        parts.append("a sample of the data set")
    if not other and not parts:
        parts.append("the same model and data set")
    if not is_standard(selection):
        parts.append("other conditions")
    return ", ".join(parts)


def _is_same(title: str, theirs: Any) -> bool:
    """Whether a title is that of the published numbers; weights from a file may be the same."""
    return theirs is not None and title.partition(" with checkpoint=")[0] == theirs
