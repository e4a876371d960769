"""Tables from the result store: ``python -m bench.tables suite=embedded [task=segmentation]``.

Takes the same overrides as ``python -m bench``. All finished cells under exactly these conditions (data set,
model, protocol) become rows of one table; nothing is run. Writes csv, md and tex to
``results/<suite>/tables/`` and prints the markdown.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config import configuration, fingerprint
from bench.errors import BenchError
from bench.numbers import COLUMN, METRICS, RESAMPLES, finished, numbers
from bench.published import SETUPS, SOURCES, published
from bench.store import Cell, Result
from metrics import Metric

TITLES = {"perturbation": "Perturbation AUC", "segmentation": "Segmentation", "token_f1": "Token F1"}
# The methods of the paper, in its order; others follow.
ORDER = ["rollout", "raw_attention", "gradcam", "lrp", "partial_lrp", "transformer_attribution"]
OTHER_CONDITIONS = (
    "Not the suite's own choice of model, data or settings: the caption says what was measured."
)
SHOWN_K = range(0, 81, 10)  # the csv file has all
LEVEL = 0.05


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: of its files; a table under other conditions than the suite's own has their fingerprint in it.
        data: one row per measured number, for the csv file.
        shown: what a reader compares, formatted: one row per method.
        caption: what was measured, on what, with which settings.
        footnotes: paragraphs.
    """

    name: str
    data: pd.DataFrame
    shown: pd.DataFrame
    caption: str
    footnotes: Sequence[str]

    def markdown(self) -> str:
        """The table with its caption and footnotes."""
        alignment = ["left"] + ["right"] * self.shown.shape[1]
        table = self.shown.to_markdown(disable_numparse=True, colalign=alignment)
        return "\n\n".join([self.caption, table, *self.footnotes]) + "\n"

    def latex(self) -> str:
        """The table for a paper; needs the package booktabs."""
        plain = self.shown.map(lambda cell: cell.replace("**", "")).rename(columns=_latex, index=_latex)
        caption = _latex(self.caption.replace("**", ""))
        return plain.rename_axis(None).to_latex(escape=False, caption=caption, label=f"tab:{self.name}")

    def write(self, folder: Path) -> None:
        """Write ``<name>.csv``, ``.md`` and ``.tex``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.data.to_csv(folder / f"{self.name}.csv", index=False, float_format="%.6g")
        (folder / f"{self.name}.md").write_text(self.markdown())
        (folder / f"{self.name}.tex").write_text(self.latex())


def table(config: dict[str, Any]) -> Table:
    """The table of a task under the conditions of a resolved configuration.

    Raises:
        BenchError: if no cell was computed under these conditions, or the cells do not belong together.
    """
    task, suite = config["task"]["name"], config["suite"]
    standard = _is_standard(config)
    found = finished(config)
    measured = numbers(config, found)
    measured = measured.sort_values("method", key=lambda labels: labels.map(_order), kind="stable")
    others = published(task, config["paths"]["results"])
    main_source = others["source"].iloc[0]
    mains = others[others["source"] == main_source]
    return Table(
        name=task if standard else f"{task}--{fingerprint(Cell(config).conditions)}",
        data=_data(measured, others, config, found[0]),
        shown=_shown(measured, mains, task, same=standard and suite["published_model"]),
        caption=_caption(config, found[0]),
        footnotes=[
            suite["note"] if standard else OTHER_CONDITIONS,
            f"In brackets the 95 % interval over samples ({RESAMPLES:,} bootstrap resamples). **Bold**: the "
            "best; ≈: cannot be told from it at 5 % (paired bootstrap, Holm-corrected within the column).",
            f"Published numbers: {SOURCES[main_source]} on {SETUPS[task]}. In brackets how each was "
            "confirmed: *recalled* means that nobody could re-read it in the paper.",
            *_footnotes(others[others["source"] != main_source]),
            *(_findings(config, task) if standard else []),
        ],
    )


def _is_standard(config: dict[str, Any]) -> bool:
    """Whether data set, model and protocol are those that the suite itself chooses."""
    where = [f"paths.{key}={config['paths'][key]}" for key in ("data", "embedded")]
    own = configuration([f"suite={config['suite']['name']}", f"task={config['task']['name']}", *where])
    return Cell(own).conditions == Cell(config).conditions


def _order(label: str) -> tuple[int, str]:
    name = label.split(" ")[0]
    return (ORDER.index(name) if name in ORDER else len(ORDER), label)


def _data(
    measured: pd.DataFrame, others: pd.DataFrame, config: dict[str, Any], result: Result
) -> pd.DataFrame:
    """The measured numbers, with published ones, their confirmation and all settings beside them."""
    protocol = Cell(config).conditions["protocol"]
    context = {
        "published_on": SETUPS[config["task"]["name"]],
        "suite": config["suite"]["name"],
        "dataset": config["dataset"]["name"],
        "model": config["model"]["name"],
        "checkpoint_sha256": result.record["checkpoint_sha256"],
        "seed": config["seed"],
        "protocol": f"{protocol['name']} v{protocol['version']}",
        "settings": _settings(protocol),
    }
    for source, theirs in others.groupby("source", sort=False):
        columns = {"value": f"published_{source}", "confirmed": f"confirmed_{source}"}
        theirs = theirs.drop(columns="source").rename(columns=columns)
        measured = measured.merge(theirs, how="left", on=["method", *COLUMN])
    return measured.assign(**context)


def _shown(measured: pd.DataFrame, theirs: pd.DataFrame, task: str, same: bool) -> pd.DataFrame:
    """One row per method: the measured numbers, then the published ones."""
    measured = measured[measured["k"].isin(SHOWN_K)]
    order = list(METRICS[task])
    columns = measured[COLUMN].drop_duplicates()
    columns = columns.sort_values(COLUMN, key=lambda c: c.map(order.index) if c.name == "metric" else c)
    columns = list(columns.itertuples(index=False, name=None))
    several = len({explained for _, explained, _ in columns}) > 1
    shown = pd.DataFrame(index=pd.Index(measured["method"].unique(), name="method"))
    cells = measured.set_index(["method", *COLUMN])
    for column in columns:
        metric, decimals = METRICS[task][column[0]], _decimals(task)
        column_of = cells.xs(column, level=COLUMN)
        best = column_of["value"].max() if metric.higher_is_better else column_of["value"].min()
        shown[_heading(metric, column, several)] = [
            _cell(column_of.loc[m], best, decimals) if m in column_of.index else "–" for m in shown.index
        ]
    prefix = "published" if same else "published, another model and data set"
    theirs = theirs.set_index(["method", *COLUMN])
    for column in columns:
        heading = f"{prefix}: {_heading(METRICS[task][column[0]], column, several)}"
        shown[heading] = [
            f"{theirs.loc[key, 'value']:.{_decimals(task)}f} ({theirs.loc[key, 'confirmed']})"
            if (key := (method, *column)) in theirs.index
            else "–"
            for method in shown.index
        ]
    return shown


def _decimals(task: str) -> int:
    return 3 if task == "token_f1" else 2


def _heading(metric: Metric, column: tuple[str, str, int], several: bool) -> str:
    _, explained, k = column
    parts = [metric.title, "↑" if metric.higher_is_better else "↓"]
    parts += [explained] if several else []
    return " ".join([*parts, f"k = {k}"] if k else parts)


def _cell(number: pd.Series, best: float, decimals: int) -> str:
    value = f"{number['value']:.{decimals}f}"
    bounds = f" [{number['low']:.{decimals}f}, {number['high']:.{decimals}f}]"
    if value == f"{best:.{decimals}f}":
        return f"**{value}**{bounds}"
    return f"{value}{bounds}" + (" ≈" if number["p_value"] > LEVEL else "")


def _footnotes(others: pd.DataFrame) -> list[str]:
    notes = []
    for source, rows in others.groupby("source", sort=False):
        numbers = [
            f"{r.method} {r.metric} {r.explained} {r.value:.2f} ({r.confirmed})"
            for r in rows.itertuples(index=False)
        ]
        notes.append(f"{SOURCES[source]}: {'; '.join(numbers)}.")
    return notes


def _settings(protocol: dict[str, Any]) -> str:
    sections = {key: value for key, value in protocol.items() if isinstance(value, dict)}
    return "; ".join(f"{key} {value}" for section in sections.values() for key, value in section.items())


def _caption(config: dict[str, Any], result: Result) -> str:
    protocol = Cell(config).conditions["protocol"]
    accuracy = result.record["metrics"].get("accuracy")
    return (
        f"**{TITLES[config['task']['name']]} · {config['suite']['title']}.** "
        f"{config['model']['title']} on {config['dataset']['title']}; {result.record['samples']} samples"
        + (f", accuracy of the model {accuracy:.1f} %" if accuracy is not None else "")
        + f". Protocol *{protocol['name']}* v{protocol['version']}: {_settings(protocol)}."
    )


def _findings(config: dict[str, Any], task: str) -> list[str]:
    """What a person wrote about this table, kept beside it so that making it again does not lose it."""
    path = Path(config["paths"]["results"]) / config["suite"]["name"] / "findings" / f"{task}.md"
    return [path.read_text().strip()] if path.exists() else []


def _latex(text: str) -> str:
    for character, escaped in {
        "&": r"\&",
        "%": r"\%",
        "_": r"\_",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
    }.items():
        text = text.replace(character, escaped)
    return text


def main(arguments: Sequence[str]) -> None:
    """Make the tables of all tasks that have finished cells, or of the one chosen with ``task=``.

    Raises:
        BenchError: if none could be made.
    """
    tasks = [a.removeprefix("task=") for a in arguments if a.startswith("task=")] or list(METRICS)
    # A table has rows for all methods and classes, so choices among these mean nothing here.
    others = [a for a in arguments if not a.startswith(("task=", "method", "+method", "explained="))]
    problems = []
    for task in tasks:
        try:
            config = configuration([f"task={task}", *others])
            made = table(config)
        except BenchError as e:
            problems.append(e)
            continue
        made.write(Path(config["paths"]["results"]) / config["suite"]["name"] / "tables")
        print(made.markdown())
    if len(problems) == len(tasks):
        raise problems[0]
    for problem in problems:
        print(f"no table: {problem}", file=sys.stderr)


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
