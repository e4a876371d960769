"""How far the metrics of a task rank the methods alike: ``python -m bench.tables.metrics suite=... task=...``.

Takes the same overrides as ``python -m bench``. Of the finished cells of a task: a square of Kendall's τ_b between the
rankings of the methods by two metrics, with its 95 % interval over samples; on the diagonal a ranking with itself,
between random halves of the samples: how far the metric ranks the methods alike twice (test–retest), and the most that
two rankings can be expected to agree. Descriptions, which rank nobody, and floors and ceilings are left out. Nothing is
run. ``--output FOLDER`` writes ``<task>_metrics.csv`` and ``.md`` to another folder than that of the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import pandas as pd

from bench.catalogue import catalogue_of
from bench.cli import command_line, option
from bench.config import configuration
from bench.errors import BenchError
from bench.tables.format import ARROWS, readable
from bench.tables.rankings import LEGEND, agreement_of, competing, entry, oriented, show_and_write
from bench.tables.select import Selection, select
from metrics import RankAgreement

EVERY = 20  # of metrics that are functions of k, one ranking for each twentieth k


@dataclass(frozen=True)
class MetricAgreement:
    """The rankings of the methods by every metric of a task.

    Attributes:
        title: of the task.
        metrics: their titles, with arrows.
        methods: their titles.
        samples: how many.
        found: how far the rankings agree, (metrics, metrics).
    """

    title: str
    metrics: Sequence[str]
    methods: Sequence[str]
    samples: int
    found: RankAgreement

    def pairs(self) -> pd.DataFrame:
        """One row per pair of metrics, and one per metric with itself, whose τ is that between random halves."""
        rows, found = [], self.found
        for i, j in combinations_with_replacement(range(len(self.metrics)), 2):
            own = i == j
            rows.append(
                {
                    "metric": self.metrics[i],
                    "other": self.metrics[j],
                    "tau": found.retest[i] if own else found.tau[i, j],
                    "low": found.retest_low[i] if own else found.low[i, j],
                    "high": found.retest_high[i] if own else found.high[i, j],
                    "of": "random halves" if own else "two metrics",
                    "methods": int(found.methods[i, j]),
                    "samples": self.samples,
                }
            )
        return pd.DataFrame(rows)

    def markdown(self) -> str:
        """The square for a reader."""
        numbers = range(len(self.metrics))
        texts = [[entry(self.found, i, j) for j in numbers] for i in numbers]
        square = pd.DataFrame(texts, index=pd.Index(self.metrics, name="metric"), columns=self.metrics)
        caption = (
            f"**{self.title}: do the metrics rank the methods alike?** Kendall's τ_b between the rankings of "
            f"{len(self.methods)} methods by {self.samples} samples. Methods: {', '.join(self.methods)}."
        )
        return "\n\n".join([caption, square.to_markdown(disable_numparse=True), LEGEND]) + "\n"


def metric_agreement(selection: Selection, seed: int = 0) -> MetricAgreement:
    """How far the metrics of finished cells rank the methods alike.

    Raises:
        BenchError: if fewer than three methods compete, none of the metrics says who is better, or the cells are of
            different samples or of a single one.
    """
    facts, task = catalogue_of(selection.config), selection.task
    scored = competing(selection, task.name)
    by_method, built = [task.statistics(one.tables()) for one in scored], task.built_metrics()
    keys = [
        (name, k)
        for name, k in dict.fromkeys(key for own in by_method for key in own)
        if built[name].higher_is_better is not None and k % EVERY == 0
    ]
    if not keys:
        raise BenchError(
            f"{task.name}: none of its metrics says which method is better; add one with +metric=NAME"
        )
    rankings = [
        [oriented(own.get((name, k)), built[name].higher_is_better) for own in by_method] for name, k in keys
    ]
    found, samples = agreement_of(rankings, seed, task.name)
    titles = [
        f"{built[name].title} {ARROWS[built[name].higher_is_better]}" + (f" k = {k}" if k else "")
        for name, k in keys
    ]
    methods = [readable(one.label, facts) for one in scored]
    return MetricAgreement(task.title, titles, methods, samples, found)


def main(arguments: Sequence[str]) -> None:
    """Print the square, and write it with every pair.

    Raises:
        BenchError: as :func:`metric_agreement`, or if there is no finished cell.
    """
    output, arguments = option("output", arguments)
    config = configuration(arguments)
    made = metric_agreement(select(config), config["seed"])
    show_and_write(made, f"{config['task']['name']}_metrics", config, output)


if __name__ == "__main__":
    command_line(main)
