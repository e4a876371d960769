"""One table: what is in it, what is said about it, and its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.catalogue import Catalogue, catalogue_of
from bench.config import flatten
from bench.errors import BenchError
from bench.store.files import write_text
from bench.tables.conditions import OTHER_CONDITIONS, competition, file_name, is_standard, own_choices
from bench.tables.format import Column, columns_of, laid_out, shown
from bench.tables.latex import latex
from bench.tables.notes import caption, legend, notes
from bench.tables.part import ABLATION, Part, part_of
from bench.tables.planted import MARK, failing
from bench.tables.published import PROTOCOL, Published, published, published_beside
from bench.tables.statistics import protocol_label, protocol_of
from metrics import Metric

ABLATED = "transformer_attribution"  # the method whose parts the ablation is of
TASKS_OF_ABLATION = ("perturbation", "segmentation")
PARTIAL = "**Partial**: not all cells are finished; the numbers are of the samples that all of them have."


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: of its files; a table under other conditions than the suite's own has their fingerprint in it.
        protocol: the name of the protocol.
        parts: what each task gives to it.
        data: one row per measured number, for the csv file.
        methods: the labels of the rows, in their order.
        columns: what a reader compares.
        caption: what was measured, on what, with which settings.
        footnotes: paragraphs below it.
        published: numbers of others, in tables of their own.
        findings: what a person wrote about it, and what a reader must know of the cells: paragraphs at the end.
    """

    name: str
    protocol: str
    parts: Sequence[Part]
    data: pd.DataFrame
    methods: Sequence[str]
    columns: Sequence[Column]
    caption: str
    footnotes: Sequence[str]
    published: Sequence[Published]
    findings: Sequence[str]

    @property
    def shown(self) -> pd.DataFrame:
        """The columns as text, one row per method, by their labels."""
        return shown(self.columns, self.methods)

    @property
    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        """The columns as readers see them (:func:`bench.tables.format.laid_out`)."""
        return laid_out(self.columns, self.methods, catalogue_of(self.parts[0].config))

    def markdown(self) -> str:
        """The table with its caption and footnotes."""
        parts = [self.caption, *_markdown(self.tables), *self.footnotes]
        for source in self.published:
            parts += [source.caption, *_markdown(source.tables)]
        return "\n\n".join([*parts, *self.findings]) + "\n"

    def write(self, folder: Path, key: str) -> None:
        """Write ``<protocol>/<name>.csv``, ``.md`` and ``.tex``, each whole or not at all.

        Args:
            key: the setting that chooses the folder, for messages.

        Raises:
            BenchError: if the folder cannot be written to.
        """
        folder = folder / self.protocol
        contents = {
            "csv": self.data.to_csv(index=False, float_format="%.6g"),
            "md": self.markdown(),
            "tex": latex(self.tables, self.caption, label=f"tab:{self.protocol}-{self.name}"),
        }
        for suffix, content in contents.items():
            write_text(folder / f"{self.name}.{suffix}", content, key)


def table(config: Mapping[str, Any], partial: bool = False) -> Table:
    """The table of a task under the conditions of a resolved configuration.

    Args:
        partial: with what is done of unfinished cells.

    Raises:
        BenchError: if no cell was computed under these conditions, the cells do not belong together, or one
            is not finished and ``partial`` is false.
    """
    return table_of(config["task"]["name"], [part_of(config, partial=partial)])


def ablation(configs: Sequence[Mapping[str, Any]], partial: bool = False) -> Table:
    """Transformer attribution and its parts, in the tasks of several resolved configurations.

    Raises:
        BenchError: as :func:`table`.
    """
    parts = []
    for config in configs:
        facts = catalogue_of(config)
        part = part_of(config, lambda name, facts=facts: _is_ablated(name, facts), partial)
        # The whole method may have been run for another class too, where there is nothing to compare it with.
        ablated = {s.explained for s in part.selection.scored if facts.method(s.name).kind == ABLATION}
        if not ablated:
            raise BenchError(
                f"no finished cell of {config['task']['name']} is of a method in this table; run make ablation"
            )
        parts.append(Part(part.selection, part.measured[part.measured["explained"].isin(ablated)]))
    return table_of(ABLATION, parts)


def _is_ablated(name: str, facts: Catalogue) -> bool:
    return name == ABLATED or facts.method(name).kind != "method"


def table_of(name: str, parts: Sequence[Part]) -> Table:
    """A table of what one task or several give to it."""
    config, suite = parts[0].config, parts[0].config["suite"]
    facts, protocol = catalogue_of(config), config["protocol"]["name"]
    metrics = {metric: built for part in parts for metric, built in part.metrics.items()}
    standard = all(is_standard(part.selection) for part in parts)
    measured = pd.concat([part.measured for part in parts], ignore_index=True)
    data = pd.concat([_data(part) for part in parts], ignore_index=True)
    made = f"Made by `make {_target(name, config)} SUITE={suite['name']} PROTOCOL={protocol}{_arguments(config)}`."
    footnotes = [f"{suite['note']} {made}" if standard else OTHER_CONDITIONS, legend(measured, facts)]
    others = published(name, config["paths"]["results"])
    others = others[others["metric"].isin(metrics)]
    beside: Sequence[Published] = ()
    if len(others) and protocol == PROTOCOL:
        beside = published_beside(others, measured, parts[0].selection, metrics)
        data = _beside(data, others, parts[0])
    elif protocol != PROTOCOL:
        footnotes.append(f"Published numbers are under the protocol *{PROTOCOL}*: see its tables.")
    findings = []
    folder = Path(config["paths"]["results"]) / suite["name"] / "findings" / protocol
    file = file_name(name, [part.selection for part in parts])
    written = folder / f"{file.removesuffix('--partial')}.md"
    if standard and written.exists():
        # What a person wrote about this table is kept apart, so that making it again does not lose it.
        findings.append(written.read_text(encoding="utf-8").strip())
    findings += [note for part in parts for note in notes(part)]
    if any(part.selection.is_partial for part in parts):
        footnotes.insert(0, PARTIAL)
    return Table(
        name=file,
        protocol=protocol,
        parts=parts,
        data=data,
        methods=list(measured["method"].unique()),
        columns=columns_of(measured, _marked(metrics, parts), facts),
        caption=caption(name, parts),
        footnotes=footnotes,
        published=beside,
        findings=findings,
    )


def _marked(metrics: Mapping[str, Metric], parts: Sequence[Part]) -> dict[str, Metric]:
    """The metrics, those that do not order planted maps with a mark in their title."""
    failed = {name for part in parts for name, _ in failing(part.selection)}
    return {
        name: replace(metric, title=f"{metric.title} {MARK}") if name in failed else metric
        for name, metric in metrics.items()
    }


def _target(name: str, config: Mapping[str, Any]) -> str:
    if (experiment := competition(config)) is not None:
        texts = experiment.endswith("_texts")
        return f"compete-texts TEXT_TASKS={name}" if texts else f"compete TASKS={name}"
    return ABLATION if name == ABLATION else config["task"]["table"].get("make", "tables")


def _arguments(config: Mapping[str, Any]) -> str:
    """What make is to hand on; an experiment in which all methods compete has a target of its own."""
    kept = [o for o in own_choices(config) if not (competition(config) and o.startswith("experiment="))]
    return f" ARGS='{' '.join(kept)}'" if kept else ""


def _data(part: Part) -> pd.DataFrame:
    """The measured numbers with all settings beside them."""
    config, first = part.config, part.selection.results[0]
    content = first.identity["model"]["content"]
    return part.measured.assign(
        task=config["task"]["name"],
        suite=config["suite"]["name"],
        dataset=config["dataset"]["name"],
        model=config["model"]["name"],
        checkpoint_sha256=content.get("weights") if isinstance(content, Mapping) else content,
        seed=config["seed"],
        protocol=protocol_label(config),
        settings=_settings(config),
    )


def _beside(data: pd.DataFrame, others: pd.DataFrame, part: Part) -> pd.DataFrame:
    """Published numbers and how each was confirmed, in columns of their own."""
    for source, theirs in others.groupby("source", sort=False):
        columns = {"value": f"published_{source}", "confirmed": f"confirmed_{source}"}
        theirs = theirs.drop(columns="source").rename(columns=columns)
        data = data.merge(theirs, how="left", on=["method", "metric", "explained", "k"])
    return data.assign(published_on=_published_on(part))


def _published_on(part: Part) -> str:
    return part.config["task"]["table"].get("published_on", "their own models and data")


def _settings(config: Mapping[str, Any]) -> str:
    flat = flatten(protocol_of(config))
    return "; ".join(f"{key.partition('.')[2]} {value}" for key, value in flat.items() if value is not None)


def _markdown(tables: Sequence[tuple[str, pd.DataFrame]]) -> list[str]:
    """Tables and their headings, as paragraphs."""
    paragraphs = []
    for heading, table in tables:
        alignment = ["left"] + ["right"] * table.shape[1]
        paragraphs += [f"*{heading}*"] if heading else []
        paragraphs.append(table.to_markdown(disable_numparse=True, colalign=alignment))
    return paragraphs
