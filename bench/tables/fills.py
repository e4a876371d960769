"""How far the order of methods depends on the fill: ``python -m bench.tables.fills suite=small_real [limit=50]``.

Takes the same overrides as ``python -m bench``. Of the finished cells of the fill study (``make fill_study``): for each
metric a square of Kendall's τ_b between the orders of methods under two fills or units, with its 95 % interval over
samples; on the diagonal an order with itself, between random halves of the samples, which is the ceiling: an interval
that ends below it says that the orders differ beyond noise. Before them a summary. Floors are left out. Nothing is run.
``--output FOLDER`` writes every pair, of two metrics as well, to ``fill_study_orders.csv`` in another folder than
``results/<suite>/tables/<protocol>``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from bench.cli import command_line, option
from bench.config import configuration
from bench.errors import BenchError
from bench.tables.format import ARROWS
from bench.tables.rankings import LEGEND, agreement_of, competing, entry, oriented, show_and_write
from bench.tables.select import Selection, select
from metrics import RankAgreement

EXPERIMENT = "fill_study"


@dataclass(frozen=True)
class Setting:
    """What an order of methods is by.

    Attributes:
        name: of the metric in the task.
        metric: what it is, without unit and fill: ``srg``.
        title: of that.
        unit, fill: what is removed, and what takes its place.
    """

    name: str
    metric: str
    title: str
    unit: str
    fill: str

    @property
    def where(self) -> str:
        """Unit and fill."""
        return f"{self.unit}, {self.fill}"


@dataclass(frozen=True)
class FillStudy:
    """The orders of methods under every setting.

    Attributes:
        settings: in the order of the task's metrics.
        methods: labels.
        samples: how many.
        found: how far the orders agree, (settings, settings).
    """

    settings: Sequence[Setting]
    methods: Sequence[str]
    samples: int
    found: RankAgreement

    def pairs(self) -> pd.DataFrame:
        """One row per pair of settings, and what differs between the two."""
        rows = []
        for i, j in combinations(range(len(self.settings)), 2):
            a, b, found = self.settings[i], self.settings[j], self.found
            differs = [name for name in ("metric", "fill", "unit") if getattr(a, name) != getattr(b, name)]
            rows.append(
                {
                    **{name: getattr(a, name) for name in ("metric", "unit", "fill")},
                    **{f"other_{name}": getattr(b, name) for name in ("metric", "unit", "fill")},
                    "changed": " and ".join(differs),
                    "tau": found.tau[i, j],
                    "low": found.low[i, j],
                    "high": found.high[i, j],
                    "ceiling": found.ceiling[i, j],
                    "differ": bool(found.differ[i, j]),
                    "methods": int(found.methods[i, j]),
                    "samples": self.samples,
                }
            )
        return pd.DataFrame(rows)

    def summary(self) -> pd.DataFrame:
        """For each metric and what is changed: τ beside its ceiling, means over pairs, and how many pairs differ."""
        pairs = self.pairs()
        own = pairs[(pairs["metric"] == pairs["other_metric"])]
        rows = []
        for (metric, changed), group in own.groupby(["metric", "changed"], sort=False):
            rows.append(
                {
                    "metric": self._title(metric),
                    "changed": changed,
                    "τ_b, mean": f"{group['tau'].mean():.2f}",
                    "least": f"{group['tau'].min():.2f}",
                    "ceiling, mean": f"{group['ceiling'].mean():.2f}",
                    "orders differ": f"{int(group['differ'].sum())} of {len(group)} pairs",
                }
            )
        return pd.DataFrame(rows).set_index("metric")

    def square(self, metric: str) -> pd.DataFrame:
        """The square of a metric: τ with its interval, bold where the orders differ beyond noise."""
        own = [i for i, setting in enumerate(self.settings) if setting.metric == metric]
        names = [self.settings[i].where for i in own]
        texts = [[entry(self.found, i, j) for j in own] for i in own]
        return pd.DataFrame(texts, index=pd.Index(names, name="unit, fill"), columns=names)

    def _title(self, metric: str) -> str:
        return next(setting.title for setting in self.settings if setting.metric == metric)

    def markdown(self) -> str:
        """All for a reader."""
        parts = [
            f"**Fill study.** Kendall's τ_b between the orders of {len(self.methods)} methods by {self.samples} "
            f"samples under two fills or units. Methods: {', '.join(self.methods)}.",
            self.summary().to_markdown(disable_numparse=True),
        ]
        for metric in dict.fromkeys(setting.metric for setting in self.settings):
            parts += [f"*{self._title(metric)}*", self.square(metric).to_markdown(disable_numparse=True)]
        parts.append(LEGEND)
        return "\n\n".join(parts) + "\n"


def fill_study(selection: Selection, seed: int = 0) -> FillStudy:
    """How far the orders of the methods in finished cells agree under all settings.

    Raises:
        BenchError: if fewer than three methods compete, or cells are of different samples or of a single one.
    """
    task, scored = selection.task, competing(selection, "fill study")
    settings = settings_of(task.metrics, selection)
    by_method = [task.statistics(one.tables()) for one in scored]
    metrics = task.built_metrics()
    rankings = [
        [oriented(own.get((setting.name, 0)), metrics[setting.name].higher_is_better) for own in by_method]
        for setting in settings
    ]
    found, samples = agreement_of(rankings, seed, "fill study")
    return FillStudy(settings, [one.label for one in scored], samples, found)


def settings_of(sections: Mapping[str, Mapping[str, Any]], selection: Selection) -> list[Setting]:
    """What each metric of the task is by, from the unit and the fill of the measurement that it reads.

    Raises:
        BenchError: for a metric that reads none that removes units.
    """
    settings, built = [], selection.task.built_metrics()
    for name, section in sections.items():
        removal = next(
            (read for read in section["reads"].values() if "fill" in read and "unit" in read), None
        )
        if removal is None:
            raise BenchError(f"fill study: metric {name} reads no measurement with a fill; leave it out")
        unit, fill = removal["unit"], removal["fill"]
        metric = name.removesuffix(f"_{unit}_{fill}")
        title = built[name].title.removesuffix(f" ({fill}, {unit})")
        arrow = ARROWS[built[name].higher_is_better]
        settings.append(Setting(name, metric, f"{title} {arrow}".strip(), unit, fill))
    return settings


def main(arguments: Sequence[str]) -> None:
    """Print the squares and write every pair.

    Raises:
        BenchError: as :func:`fill_study`, or if there is no finished cell.
    """
    output, arguments = option("output", arguments)
    config = configuration([f"experiment={EXPERIMENT}", *arguments])
    study = fill_study(select(config), config["seed"])
    show_and_write(study, f"{EXPERIMENT}_orders", config, output)


if __name__ == "__main__":
    command_line(main)
