"""Tables from the result store: ``python -m bench.tables suite=embedded [protocol=clean table=ablation]``.

Takes the same overrides as ``python -m bench``. All finished cells under exactly these conditions (data set,
model, protocol) become rows of one table; nothing is run. The tables are perturbation, segmentation, token_f1
and ablation; csv, md and tex go to ``results/<suite>/tables/<protocol>/``, the markdown is printed.

A table in which a cell is not finished is refused; ``--partial`` makes one of the samples that all cells have
so far, and labels it.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench import sanity
from bench.config import configuration, fingerprint
from bench.errors import BenchError
from bench.layout import latex, ordered, shown
from bench.numbers import REFERENCES, RESAMPLES, TASKS, base_name, finished, numbers, protocol_label
from bench.published import PROTOCOL, SETUPS, SOURCES, published
from bench.store import Cell, Result, flatten, protocol_of

TITLES = {
    "perturbation": "Perturbation AUC",
    "segmentation": "Segmentation",
    "token_f1": "Token F1",
    "ablation": "Ablation of transformer attribution",
}
TARGETS = {"perturbation": "table1", "segmentation": "table2", "token_f1": "figure4", "ablation": "ablation"}
TABLES = {**{task: (task,) for task in TASKS}, "ablation": ("perturbation", "segmentation")}  # name: tasks
FULL = "transformer_attribution"
ABLATIONS = ("without_gradient", "last_block_only", "second_block_only")
OTHER_CONDITIONS = (
    "Not the suite's own choice of model, data or settings: the caption says what was measured."
)
PARTIAL = "**Partial**: not all cells are finished; the numbers are of the samples that all of them have."
LEGEND = (
    "In brackets the 95 % interval over samples ({resamples:,} bootstrap resamples). **Bold**: the best; ≈: "
    "cannot be told from it at 5 % (paired bootstrap, Holm-corrected within the column). {references}."
)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: of its files; a table under other conditions than the suite's own has their fingerprint in it.
        protocol: the name of the protocol.
        data: one row per measured number, for the csv file.
        shown: what a reader compares, formatted: one row per method.
        caption: what was measured, on what, with which settings.
        footnotes: paragraphs.
    """

    name: str
    protocol: str
    data: pd.DataFrame
    shown: pd.DataFrame
    caption: str
    footnotes: Sequence[str]

    def markdown(self) -> str:
        """The table with its caption and footnotes."""
        alignment = ["left"] + ["right"] * self.shown.shape[1]
        table = self.shown.to_markdown(disable_numparse=True, colalign=alignment)
        return "\n\n".join([self.caption, table, *self.footnotes]) + "\n"

    def write(self, folder: Path) -> None:
        """Write ``<protocol>/<name>.csv``, ``.md`` and ``.tex``."""
        folder = folder / self.protocol
        folder.mkdir(parents=True, exist_ok=True)
        self.data.to_csv(folder / f"{self.name}.csv", index=False, float_format="%.6g")
        (folder / f"{self.name}.md").write_text(self.markdown())
        (folder / f"{self.name}.tex").write_text(
            latex(self.shown, self.caption, label=f"tab:{self.protocol}-{self.name}")
        )


@dataclass(frozen=True)
class Part:
    """What one task gives to a table: settings, one of the finished cells, and the numbers of all."""

    config: dict[str, Any]
    result: Result
    measured: pd.DataFrame
    warnings: Sequence[str]
    partial: bool


def table(config: dict[str, Any], partial: bool = False) -> Table:
    """The table of a task under the conditions of a resolved configuration.

    Args:
        partial: with what is done of unfinished cells.

    Raises:
        BenchError: if no cell was computed under these conditions, the cells do not belong together, or one
            is not finished and ``partial`` is false.
    """
    return _table(config["task"]["name"], [config], lambda method: method not in ABLATIONS, partial)


def ablation(configs: Sequence[dict[str, Any]], partial: bool = False) -> Table:
    """Transformer attribution and its parts, in the tasks of several resolved configurations.

    Raises:
        BenchError: as :func:`table`.
    """
    return _table("ablation", configs, lambda method: method in (FULL, *ABLATIONS, *REFERENCES), partial)


def _table(
    name: str, configs: Sequence[dict[str, Any]], belongs: Callable[[str], bool], partial: bool
) -> Table:
    parts = [_part(config, belongs, partial) for config in configs]
    config, suite = configs[0], configs[0]["suite"]
    standard = all(_is_standard(config) for config in configs)
    measured = pd.concat([part.measured for part in parts], ignore_index=True)
    data = pd.concat([_data(part) for part in parts], ignore_index=True)
    made = f"Made by `make {TARGETS[name]} SUITE={suite['name']} PROTOCOL={config['protocol']['name']}`."
    footnotes = [f"{suite['note']} {made}" if standard else OTHER_CONDITIONS, _legend(measured)]
    columns = shown(measured)
    if name in SETUPS and config["protocol"]["name"] == PROTOCOL:
        others = published(name, config["paths"]["results"])
        data = _beside(data, others)
        columns = columns.join(_published_columns(others, measured, config, standard))
        footnotes += _origins(name, others)
    elif config["protocol"]["name"] != PROTOCOL:
        footnotes.append(f"Published numbers are under the protocol *{PROTOCOL}*: see its tables.")
    folder = Path(config["paths"]["results"]) / suite["name"] / "findings" / config["protocol"]["name"]
    if standard and (folder / f"{name}.md").exists():
        # What a person wrote about this table is kept apart, so that making it again does not lose it.
        footnotes.append((folder / f"{name}.md").read_text().strip())
    footnotes += [warning for part in parts for warning in part.warnings]
    identity = [(Cell(c).conditions, protocol_of(c)) for c in configs]
    partial = any(part.partial for part in parts)
    if partial:
        footnotes.insert(0, PARTIAL)
    label = name if standard else f"{name}--{fingerprint(identity)}"
    return Table(
        name=f"{label}--partial" if partial else label,
        protocol=config["protocol"]["name"],
        data=data,
        shown=columns,
        caption=_caption(name, parts),
        footnotes=footnotes,
    )


def _part(config: dict[str, Any], belongs: Callable[[str], bool], partial: bool) -> Part:
    found = finished(config, belongs, partial)
    if not found:
        raise BenchError(
            f"no finished cell of {config['task']['name']} is of a method in this table; run make ablation"
        )
    # The whole method may have been run for another class too, where there is nothing to compare it with.
    ablated = {r.record["config"]["explained"] for r in found if r.record["method"]["name"] in ABLATIONS}
    if ablated:
        found = [r for r in found if r.record["config"]["explained"] in ablated]
    warned = [(r.record, sanity.warnings(r.record.get("sanity", {}))) for r in found]
    warnings = [
        f"**Warning** for {record['method']['name']} ({record['config']['explained']}): {'; '.join(texts)}."
        for record, texts in warned
        if texts
    ]
    for skipped in dict.fromkeys(tuple(r.record.get("skipped", ())) for r in found):
        if skipped:
            warnings.append(f"Skipped, because they could not be read, {len(skipped)}: {'; '.join(skipped)}.")
    partial = any(result.is_partial for result in found)
    return Part(config, found[0], ordered(numbers(config, found)), warnings, partial)


def _is_standard(config: dict[str, Any]) -> bool:
    """Whether data set, model and settings are those that the suite and the protocol themselves choose."""
    where = [f"paths.{key}={config['paths'][key]}" for key in ("data", "embedded")]
    choice = [f"{key}={config[key]['name']}" for key in ("suite", "task", "protocol")]
    own = configuration([*choice, *where])
    return Cell(own).conditions == Cell(config).conditions and protocol_of(own) == protocol_of(config)


def _data(part: Part) -> pd.DataFrame:
    """The measured numbers with all settings beside them."""
    config, protocol = part.config, protocol_of(part.config)
    return part.measured.assign(
        task=config["task"]["name"],
        suite=config["suite"]["name"],
        dataset=config["dataset"]["name"],
        model=config["model"]["name"],
        checkpoint_sha256=part.result.record["checkpoint_sha256"],
        seed=config["seed"],
        protocol=protocol_label(protocol),
        settings=_settings(protocol),
    )


def _beside(data: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Published numbers and how each was confirmed, in columns of their own."""
    for source, theirs in others.groupby("source", sort=False):
        columns = {"value": f"published_{source}", "confirmed": f"confirmed_{source}"}
        theirs = theirs.drop(columns="source").rename(columns=columns)
        data = data.merge(theirs, how="left", on=["method", "metric", "explained", "k"])
    return data.assign(published_on=SETUPS[data["task"].iloc[0]])


def _published_columns(
    others: pd.DataFrame, measured: pd.DataFrame, config: dict[str, Any], standard: bool
) -> pd.DataFrame:
    if standard and config["suite"]["published_model"]:
        prefix = "published"
    else:
        prefix = f"published, {'another model and data set' if standard else 'under other conditions'}"
    main = others[others["source"] == others["source"].iloc[0]]
    return shown(main, like=measured).rename(columns=lambda heading: f"{prefix}: {heading}")


def _origins(task: str, others: pd.DataFrame) -> list[str]:
    main_source, *further = others["source"].unique()
    notes = [
        f"Published numbers: {SOURCES[main_source]} on {SETUPS[task]}. In brackets how each was confirmed: "
        "*recalled* means that nobody could re-read it in the paper."
    ]
    for source in further:
        listed = [
            f"{r.method} {r.metric} {r.explained} {r.value:.2f} ({r.confirmed})"
            for r in others[others["source"] == source].itertuples(index=False)
        ]
        notes.append(f"{SOURCES[source]}: {'; '.join(listed)}.")
    return notes


def _legend(measured: pd.DataFrame) -> str:
    present = set(measured["method"].map(base_name))
    meanings = {
        "random": "*random* is a seeded random map, the floor",
        "oracle": "*oracle* the annotation itself as the map, the ceiling",
    }
    references = " and ".join(text for name, text in meanings.items() if name in present)
    return LEGEND.format(
        resamples=RESAMPLES, references=references or "There is no random map in it yet (method=random)"
    )


def _settings(protocol: dict[str, Any]) -> str:
    settings = {key: value for key, value in protocol.items() if isinstance(value, dict)}
    flat = flatten(settings, "")
    return "; ".join(f"{key.partition('.')[2]} {value}" for key, value in flat.items() if value is not None)


def _caption(name: str, parts: Sequence[Part]) -> str:
    suite = parts[0].config["suite"]["title"]
    labels = list(dict.fromkeys(protocol_label(protocol_of(part.config)) for part in parts))
    sentences = [f"**{TITLES[name]} · protocol {' / '.join(labels)} · {suite}.**"]
    for part in parts:
        config, record = part.config, part.result.record
        accuracy = record["metrics"].get("accuracy")
        sentences.append(
            (f"{TITLES[config['task']['name']]}: " if len(parts) > 1 else "")
            + f"{config['model']['title']} on {config['dataset']['title']}; "
            f"{part.measured['samples'].iloc[0]} samples"
            + (f", accuracy of the model {accuracy:.1f} %" if accuracy is not None else "")
            + f"; explained: {' and '.join(part.measured['explained'].unique())} class"
            + f"; {_settings(protocol_of(config))}."
        )
    return " ".join(sentences)


def main(arguments: Sequence[str]) -> None:
    """Make all tables that have finished cells, or the one chosen with ``table=`` (``task=`` is the same).

    Raises:
        BenchError: if none could be made.
    """
    names = [a.partition("=")[2] for a in arguments if a.startswith(("table=", "task="))] or list(TABLES)
    if unknown := [name for name in names if name not in TABLES]:
        raise BenchError(f"table={unknown[0]}: expected one of {', '.join(TABLES)}")
    # A table has rows for all methods and classes, so choices among these mean nothing here.
    others = [
        a for a in arguments if not a.startswith(("table=", "task=", "method", "+method", "explained="))
    ]
    partial = "--partial" in others
    others = [a for a in others if a != "--partial"]
    if any(a.startswith("protocol=") and "," in a for a in others):
        raise BenchError("a table is of one protocol; make one table for each, e.g. with protocol=clean")
    problems = []
    for name in names:
        try:
            configs = [configuration([f"task={task}", *others]) for task in TABLES[name]]
            made = ablation(configs, partial) if name == "ablation" else table(configs[0], partial)
        except BenchError as e:
            problems.append(f"{name}: {e}")
            continue
        made.write(Path(configs[0]["paths"]["results"]) / configs[0]["suite"]["name"] / "tables")
        print(made.markdown())
    if len(problems) == len(names):
        raise BenchError(f"no table of {problems[0]}")
    for problem in problems:
        print(f"no table of {problem}", file=sys.stderr)


def command_line(program: Callable[[Sequence[str]], None]) -> None:
    """Run a program on its arguments; a user's mistake ends it with a message and exit code 2."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(sys.modules["__main__"].__doc__)
        return
    try:
        program(sys.argv[1:])
    except BenchError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    command_line(main)
