"""One table: what is in it, what is said about it, and its files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.catalogue import Catalogue, base_name, catalogue_of
from bench.config import fingerprint, flatten
from bench.errors import BenchError
from bench.runner.records import warnings
from bench.store.files import replace_file, writing
from bench.tables.format import Column, columns_of, latex, shown
from bench.tables.planted import failing
from bench.tables.published import PROTOCOL, SOURCES, published
from bench.tables.select import Selection, is_standard, select
from bench.tables.statistics import RESAMPLES, numbers, protocol_label, protocol_of
from metrics import Metric

ABLATION = "ablation"
ABLATED = "transformer_attribution"  # the method whose parts the ablation is of
TASKS_OF_ABLATION = ("perturbation", "segmentation")
OTHER_CONDITIONS = (
    "Not the suite's own choice of model, data or settings: the caption says what was measured."
)
PARTIAL = "**Partial**: not all cells are finished; the numbers are of the samples that all of them have."
LEGEND = (
    "In brackets the 95 % interval over samples ({resamples:,} bootstrap resamples). **Bold**: the best; ≈: "
    "not told apart from the best at 5 % (paired bootstrap of all pairs in the column at once, Romano–Wolf). "
    "{references}."
)


@dataclass(frozen=True)
class Part:
    """What one task gives to a table: its cells, and the numbers of all."""

    selection: Selection
    measured: pd.DataFrame

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        return self.selection.config

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics of the task, by name."""
        return self.selection.task.built_metrics()


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
        footnotes: paragraphs.
    """

    name: str
    protocol: str
    parts: Sequence[Part]
    data: pd.DataFrame
    methods: Sequence[str]
    columns: Sequence[Column]
    caption: str
    footnotes: Sequence[str]

    @property
    def shown(self) -> pd.DataFrame:
        """The columns as text, one row per method."""
        return shown(self.columns, self.methods)

    def markdown(self) -> str:
        """The table with its caption and footnotes."""
        alignment = ["left"] + ["right"] * len(self.columns)
        table = self.shown.to_markdown(disable_numparse=True, colalign=alignment)
        return "\n\n".join([self.caption, table, *self.footnotes]) + "\n"

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
            "tex": latex(self.shown, self.caption, label=f"tab:{self.protocol}-{self.name}"),
        }
        with writing(folder, key):
            for suffix, content in contents.items():
                replace_file(
                    folder / f"{self.name}.{suffix}",
                    lambda aside, text=content: aside.write_text(text, encoding="utf-8"),
                )


def part_of(
    config: Mapping[str, Any], belongs: Callable[[str], bool] | None = None, partial: bool = False
) -> Part:
    """The cells of a task and their numbers.

    Args:
        belongs: whether a method, by its name, is wanted; None for all but the ablations.
        partial: with what is done of unfinished cells.

    Raises:
        BenchError: if there is no cell under these conditions, or they do not belong together.
    """
    facts = catalogue_of(config)
    selection = select(config, belongs or (lambda name: facts.method(name).kind != ABLATION), partial)
    return Part(selection, numbers(selection))


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
    standard = all(is_standard(part.config) for part in parts)
    measured = pd.concat([part.measured for part in parts], ignore_index=True)
    data = pd.concat([_data(part) for part in parts], ignore_index=True)
    made = f"Made by `make {_target(name, config)} SUITE={suite['name']} PROTOCOL={protocol}`."
    footnotes = [f"{suite['note']} {made}" if standard else OTHER_CONDITIONS, _legend(measured, facts)]
    columns = columns_of(measured, metrics, facts)
    others = published(name, config["paths"]["results"])
    others = others[others["metric"].isin(metrics)]
    if len(others) and protocol == PROTOCOL:
        data = _beside(data, others, parts[0])
        columns += _published_columns(others, measured, parts[0], standard)
        footnotes += _origins(others, parts[0])
    elif protocol != PROTOCOL:
        footnotes.append(f"Published numbers are under the protocol *{PROTOCOL}*: see its tables.")
    folder = Path(config["paths"]["results"]) / suite["name"] / "findings" / protocol
    if standard and (folder / f"{name}.md").exists():
        # What a person wrote about this table is kept apart, so that making it again does not lose it.
        footnotes.append((folder / f"{name}.md").read_text(encoding="utf-8").strip())
    footnotes += [note for part in parts for note in _notes(part)]
    partial = any(part.selection.is_partial for part in parts)
    if partial:
        footnotes.insert(0, PARTIAL)
    label = name if standard else f"{name}--{fingerprint([_conditions(part.config) for part in parts])}"
    return Table(
        name=f"{label}--partial" if partial else label,
        protocol=protocol,
        parts=parts,
        data=data,
        methods=list(measured["method"].unique()),
        columns=columns,
        caption=_caption(name, parts),
        footnotes=footnotes,
    )


def _target(name: str, config: Mapping[str, Any]) -> str:
    return ABLATION if name == ABLATION else config["task"]["table"].get("make", "tables")


def _conditions(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a table's name tells apart: everything that is chosen but the method, by settings and names."""
    kept = {key: config[key] for key in ("limit", "seed")}
    kept["task"] = {key: config["task"][key] for key in ("name", "inputs", "metrics")}
    for key in ("dataset", "model"):
        kept[key] = {k: v for k, v in config[key].items() if k not in ("path", "checkpoint", "title")}
    return kept


def _notes(part: Part) -> list[str]:
    """What a reader must know of the cells: warnings, samples left out, versions that differ."""
    notes = []
    for one in part.selection.scored:
        texts = list(
            dict.fromkeys(t for result in one.own for t in warnings(result.record.get("checks", {})))
        )
        if texts:
            notes.append(f"**Warning** for {one.name} ({one.explained}): {'; '.join(texts)}.")
        for said in dict.fromkeys(result.record["note"] for result in one.own if "note" in result.record):
            notes.append(f"The maps of {one.name} were {said}.")
    results = part.selection.results
    for skipped in dict.fromkeys(tuple(result.record.get("skipped", ())) for result in results):
        if skipped:
            notes.append(f"Skipped, because they could not be read, {len(skipped)}: {'; '.join(skipped)}.")
    notes += _incomplete(part)
    if titles := failing(part.selection):
        notes.append(
            "**Does not order planted maps** (oracle, random, reversed oracle, each beyond the 95 % interval of the "
            f"difference): {', '.join(titles)}."
        )
    if (different := _different_versions(part)) is not None:
        notes.append(different)
    return notes


def _incomplete(part: Part) -> list[str]:
    """Sentences that name metrics of methods that are not measured, or not defined on all samples."""
    lacking: dict[str, dict[str, None]] = {}
    for one in part.selection.scored:
        for metric in part.selection.task.missing(one.results):
            lacking.setdefault(metric, {})[one.label] = None
    notes = [
        f"{part.metrics[metric].title} is not measured of {', '.join(names)}."
        for metric, names in lacking.items()
    ]
    every = part.measured["samples"].max()
    less = part.measured[part.measured["samples"] < every].drop_duplicates(["metric", "method", "explained"])
    for metric, rows in less.groupby("metric", sort=False):
        counts = ", ".join(f"{row.samples} of {row.method}" for row in rows.itertuples())
        notes.append(
            f"{part.metrics[metric].title} is defined on fewer than {every} samples: {counts}; the others are left out."
        )
    return notes


def _different_versions(part: Part) -> str | None:
    """A sentence that names the versions in which the cells differ; None if they do not."""
    found: dict[str, dict[str, None]] = {}
    for result in part.selection.results:
        for versions in (result.record.get("versions", {}), *result.record.get("other_versions", ())):
            for package, version in versions.items():
                found.setdefault(package, {})[version] = None
        if "engine" in result.identity:
            found.setdefault("engine", {})[str(result.identity["engine"]["code"])] = None
    differing = [f"{package} {' and '.join(v)}" for package, v in found.items() if len(v) > 1]
    return f"The cells were computed with different versions: {'; '.join(differing)}." if differing else None


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


def _published_columns(
    others: pd.DataFrame, measured: pd.DataFrame, part: Part, standard: bool
) -> list[Column]:
    if standard and part.config["suite"]["published_model"]:
        prefix = "published"
    else:
        prefix = f"published, {'another model and data set' if standard else 'under other conditions'}"
    main = others[others["source"] == others["source"].iloc[0]]
    return columns_of(main, part.metrics, catalogue_of(part.config), like=measured, group=prefix)


def _origins(others: pd.DataFrame, part: Part) -> list[str]:
    main_source, *further = others["source"].unique()
    notes = [
        f"Published numbers: {SOURCES.get(main_source, main_source)} on {_published_on(part)}. In brackets how each "
        "was confirmed: *recalled* means that nobody could re-read it in the paper."
    ]
    for source in further:
        listed = [
            f"{r.method} {r.metric} {r.explained} {r.value:.2f} ({r.confirmed})"
            for r in others[others["source"] == source].itertuples(index=False)
        ]
        notes.append(f"{SOURCES.get(source, source)}: {'; '.join(listed)}.")
    return notes


def _legend(measured: pd.DataFrame, facts: Catalogue) -> str:
    found: dict[str, list[str]] = {}
    for label in measured["method"].unique():
        found.setdefault(facts.method(base_name(label)).kind, []).append(label)
    references = [
        f"*{label}* is a seeded random map, the floor"
        if base_name(label) == "random"
        else f"*{label}* ({facts.method(base_name(label)).title}) is a floor"
        for label in found.get("floor", ())
    ]
    references += [
        f"*{label}* the annotation itself as the map, the ceiling" for label in found.get("ceiling", ())
    ]
    return LEGEND.format(
        resamples=RESAMPLES,
        references=" and ".join(references) or "There is no random map in it yet (method=random)",
    )


def _settings(config: Mapping[str, Any]) -> str:
    flat = flatten(protocol_of(config))
    return "; ".join(f"{key.partition('.')[2]} {value}" for key, value in flat.items() if value is not None)


def _caption(name: str, parts: Sequence[Part]) -> str:
    config = parts[0].config
    labels = list(dict.fromkeys(protocol_label(part.config) for part in parts))
    title = config["task"]["title"] if name != ABLATION else "Ablation of transformer attribution"
    sentences = [f"**{title} · protocol {' / '.join(labels)} · {config['suite']['title']}.**"]
    for part in parts:
        config, accuracy = part.config, _accuracy(part)
        sentences.append(
            (f"{config['task']['title']}: " if len(parts) > 1 else "")
            + f"{config['model']['title']} on {config['dataset']['title']}; "
            f"{part.measured['samples'].max()} samples"
            + (f", accuracy of the model {accuracy:.1f} %" if accuracy is not None else "")
            + f"; explained: {' and '.join(part.measured['explained'].unique())} class"
            + f"; {_settings(config)}."
        )
    return " ".join(sentences)


def _accuracy(part: Part) -> float | None:
    """How many samples the model classifies correctly, in per cent; None where that is not known."""
    if part.selection.predictions is None:
        return None
    rows = part.selection.predictions.rows
    return None if rows["label"].isna().any() else 100 * float((rows["label"] == rows["predicted"]).mean())
