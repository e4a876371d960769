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
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from bench.config import resolved
from bench.errors import BenchError
from bench.published import SETUPS, SOURCES, published
from bench.store import Cell, Result, results
from metrics import MAP, MIOU, NEGATIVE_AUC, PIXEL_ACCURACY, POSITIVE_AUC, TOKEN_F1, Metric

CONF = Path(__file__).resolve().parent.parent / "conf"
METRICS: dict[str, tuple[Metric, ...]] = {
    "perturbation": (NEGATIVE_AUC, POSITIVE_AUC),
    "segmentation": (PIXEL_ACCURACY, MAP, MIOU),
    "token_f1": (TOKEN_F1,),
}
TITLES = {"perturbation": "Perturbation AUC", "segmentation": "Segmentation", "token_f1": "Token F1"}
# The methods of the paper, in its order; others follow.
ORDER = ["rollout", "raw_attention", "gradcam", "lrp", "partial_lrp", "transformer_attribution"]
SHOWN_K = range(0, 81, 10)  # the csv file has all
COLUMN = ["metric", "explained", "k"]


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        data: one row per measured number, for the csv file.
        shown: what a reader compares, formatted: one row per method.
        caption: what was measured, on what, with which settings.
        footnotes: paragraphs.
    """

    task: str
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
        return plain.rename_axis(None).to_latex(escape=False, caption=caption, label=f"tab:{self.task}")

    def write(self, folder: Path) -> None:
        """Write ``<task>.csv``, ``.md`` and ``.tex``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.data.to_csv(folder / f"{self.task}.csv", index=False, float_format="%.6g")
        (folder / f"{self.task}.md").write_text(self.markdown())
        (folder / f"{self.task}.tex").write_text(self.latex())


def table(config: dict[str, Any]) -> Table:
    """The table of a task under the conditions of a resolved configuration.

    Raises:
        BenchError: if no cell was computed under these conditions, or not all with the same weights.
    """
    task, suite = config["task"]["name"], config["suite"]
    conditions = Cell(config).conditions
    found = [r for r in results(config, task) if r.record["conditions"] == conditions]
    if not found:
        raise BenchError(
            f"there is no finished cell of {task} for suite={suite['name']} under these conditions; "
            f"run its cells first, e.g. make tables SUITE={suite['name']}"
        )
    if len({r.record["checkpoint_sha256"] for r in found}) > 1:
        raise BenchError(
            f"the cells of {task} were computed with different weights of {config['model']['name']}; "
            "run them again with rerun=true"
        )
    numbers = pd.concat([_numbers(r, label) for r, label in _labelled(found)], ignore_index=True)
    numbers = numbers.sort_values("method", key=lambda labels: labels.map(_order), kind="stable")
    others = published(task, config["paths"]["results"])
    main_source = others["source"].iloc[0]
    return Table(
        task=task,
        data=_data(numbers, others, config, found[0]),
        shown=_shown(numbers, others[others["source"] == main_source], task, suite["published_model"]),
        caption=_caption(config, found[0]),
        footnotes=[
            suite["note"],
            f"Published numbers: {SOURCES[main_source]} on {SETUPS[task]}. In brackets how each was "
            "confirmed: *recalled* means that nobody could re-read it in the paper.",
            *_footnotes(others[others["source"] != main_source]),
            *_findings(config, task),
        ],
    )


def _labelled(found: Sequence[Result]) -> list[tuple[Result, str]]:
    """Each result with its method's name; methods of one name also get the settings they differ in."""
    labelled = []
    for result in found:
        method = result.record["method"]
        namesakes = [r.record["method"] for r in found if r.record["method"]["name"] == method["name"]]
        varying = [key for key in method if any(other.get(key) != method[key] for other in namesakes)]
        settings = ", ".join(f"{key}={method[key]}" for key in varying)
        labelled.append((result, f"{method['name']} ({settings})" if settings else method["name"]))
    return labelled


def _numbers(result: Result, label: str) -> pd.DataFrame:
    """A cell's metrics in long form: method, metric, explained, k (0 where there is none), value, samples."""
    wanted = {metric.name for metric in METRICS[result.record["conditions"]["task"]]}
    rows = []
    for name, value in result.record["metrics"].items():
        metric, _, k = name.partition("@")
        if metric in wanted:
            rows.append({"metric": metric, "k": int(k or 0), "value": value})
    described = {"explained": result.record["config"]["explained"], "samples": result.record["samples"]}
    return pd.DataFrame(rows).assign(method=label, **described)


def _order(label: str) -> tuple[int, str]:
    name = label.split(" ")[0]
    return (ORDER.index(name) if name in ORDER else len(ORDER), label)


def _data(
    numbers: pd.DataFrame, others: pd.DataFrame, config: dict[str, Any], result: Result
) -> pd.DataFrame:
    """The measured numbers, with published ones, their confirmation and all settings beside them."""
    for source, theirs in others.groupby("source", sort=False):
        columns = {"value": f"published_{source}", "confirmed": f"confirmed_{source}"}
        numbers = numbers.merge(
            theirs.drop(columns="source").rename(columns=columns), how="left", on=["method", *COLUMN]
        )
    protocol = Cell(config).conditions["protocol"]
    return numbers[
        ["method", *COLUMN, "value", "samples", *numbers.filter(regex="^(published|confirmed)_")]
    ].assign(
        published_on=SETUPS[config["task"]["name"]],
        suite=config["suite"]["name"],
        dataset=config["dataset"]["name"],
        model=config["model"]["name"],
        checkpoint_sha256=result.record["checkpoint_sha256"],
        seed=config["seed"],
        protocol=f"{protocol['name']} v{protocol['version']}",
        settings=_settings(protocol),
    )


def _shown(numbers: pd.DataFrame, theirs: pd.DataFrame, task: str, same: bool) -> pd.DataFrame:
    """One row per method: the measured numbers, the best in bold, then the published ones."""
    numbers = numbers[numbers["k"].isin(SHOWN_K)]
    titles = {metric.name: metric for metric in METRICS[task]}
    several = numbers["explained"].nunique() > 1
    shown = pd.DataFrame(index=pd.Index(numbers["method"].unique(), name="method"))
    columns = numbers[COLUMN].drop_duplicates()
    columns = columns.sort_values(["metric", "explained", "k"], key=lambda c: _rank(c, list(titles)))
    published_heading = "published" if same else "published, another model and data set"
    theirs = theirs.set_index(["method", *COLUMN])
    for prefix in ("", published_heading):
        for name, explained, k in columns.itertuples(index=False):
            metric = titles[name]
            arrow = "↑" if metric.higher_is_better else "↓"
            parts = [f"{metric.title} {arrow}", explained if several else "", f"k = {k}" if k else ""]
            heading = (f"{prefix}: " if prefix else "") + " ".join(filter(None, parts))
            decimals = 3 if metric is TOKEN_F1 else 2
            if prefix:
                shown[heading] = [
                    _published_cell(theirs, (m, name, explained, k), decimals) for m in shown.index
                ]
            else:
                here = numbers[(numbers[COLUMN] == [name, explained, k]).all(axis=1)].set_index("method")[
                    "value"
                ]
                best = here.max() if metric.higher_is_better else here.min()
                shown[heading] = [_cell(here.get(m), best, decimals) for m in shown.index]
    return shown


def _rank(column: pd.Series, metrics: list[str]) -> pd.Series:
    return column.map(metrics.index) if column.name == "metric" else column


def _cell(value: float | None, best: float, decimals: int) -> str:
    if value is None:
        return "–"
    text = f"{value:.{decimals}f}"
    return f"**{text}**" if text == f"{best:.{decimals}f}" else text


def _published_cell(theirs: pd.DataFrame, key: tuple, decimals: int) -> str:
    if key not in theirs.index:
        return "–"
    row = theirs.loc[key]
    return f"{row['value']:.{decimals}f} ({row['confirmed']})"


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


def configuration(overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration under command line overrides.

    Raises:
        BenchError: if hydra does not take them.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            return resolved(compose("bench", overrides=["method=rollout", *overrides]))
        except HydraException as e:
            raise BenchError(str(e)) from e


def main(arguments: Sequence[str]) -> None:
    """Make the tables of all tasks, or of the one chosen with ``task=``."""
    chosen = [a.removeprefix("task=") for a in arguments if a.startswith("task=")] or list(METRICS)
    others = [a for a in arguments if not a.startswith("task=")]
    for task in chosen:
        config = configuration([f"task={task}", *others])
        made = table(config)
        made.write(Path(config["paths"]["results"]) / config["suite"]["name"] / "tables")
        print(made.markdown())


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
