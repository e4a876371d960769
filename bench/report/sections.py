"""What the page says of each task and of the ablation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from bench.config import configuration
from bench.drawing import Panel
from bench.errors import BenchError
from bench.figures import FIGURES
from bench.layout import ordered, readable
from bench.numbers import TASKS, finished, numbers
from bench.report.cells import Described, described
from bench.report.choosing import compared
from bench.report.costs import against_quality, as_entries, costs
from bench.report.explainer import Explainer, may_be_run
from bench.report.gallery import Gallery, gallery
from bench.report.markup import Grid, grid_of, inline
from bench.report.recall import precision_recall
from bench.report.svg import Figure, figure_of
from bench.store import Result
from bench.tables import TABLES, TITLES, Table, ablation, table

CAPTIONS = {
    "perturbation": "Accuracy while pixels are masked, least relevant first (negative: higher is better) "
    "or most relevant first (positive: lower is better). Bands: 95 % bootstrap intervals over images.",
    "token_f1": "Agreement of the k most relevant words with the annotated ones. Bands: 95 % bootstrap "
    "intervals over documents.",
    "precision_recall": "Precision over recall, of foreground and background together as mAP has it, which "
    "is the area under a curve. From the maps of {count} images drawn with the seed, as the store keeps no "
    "curves. Bands: 95 % bootstrap intervals over these images.",
    "cost": "What a map costs against how good it is, with 95 % bootstrap intervals.",
}


@dataclass(frozen=True)
class Section:
    """What the page says of a task; of the ablation, only its table.

    Attributes:
        name, title: of the task.
        problem: why there is nothing to show, instead of all the rest.
        caption, footnotes: of the table, as HTML.
        gallery_problem: why no sample could be explained.
    """

    name: str
    title: str
    problem: str | None = None
    grid: Grid | None = None
    caption: Markup | None = None
    footnotes: Sequence[Markup] = ()
    figures: Sequence[Figure] = ()
    cost: Grid | None = None
    cost_figure: Figure | None = None
    gallery: Gallery | None = None
    gallery_problem: str | None = None
    cells: Sequence[Described] = ()


def section(config: dict[str, Any], samples: int, images: int) -> Section:
    """Everything about a task that has finished cells.

    Args:
        samples: of each kind in the gallery.
        images: from whose maps curves of precision over recall are drawn.

    Raises:
        BenchError: if there are none.
    """
    name, found = config["task"]["name"], finished(config)
    made, spent = table(config), costs(found)
    figures = [_figure(name, FIGURES[name](config, found))] if name in FIGURES else []
    shown = problem = None
    try:
        curve, shown = explained(config, compared(config, found), samples, images)
        figures += curve
    except BenchError as e:  # the store is enough for all the rest
        problem = str(e)
    panels = against_quality(config, spent, ordered(numbers(config, found)))
    return Section(
        name,
        TITLES[name],
        **_laid_out(made),
        figures=figures,
        cost=grid_of(as_entries(spent)) if len(spent) else None,
        cost_figure=_figure("cost", panels, prefix=f"{name}-") if panels else None,
        gallery=shown,
        gallery_problem=problem,
        cells=described(found),
    )


def explained(
    config: dict[str, Any], cells: dict[str, Result], samples: int, images: int
) -> tuple[list[Figure], Gallery | None]:
    """What needs maps: precision over recall, and the gallery.

    Raises:
        BenchError: if data or model cannot be had.
    """
    images = images if config["task"]["name"] == "segmentation" else 0
    if not cells or not (samples or images):
        return [], None
    strangers = [label for label, result in cells.items() if not may_be_run(result)]
    cells = {label: result for label, result in cells.items() if label not in strangers}
    explainer, figures = Explainer(config, cells), []
    if images:
        panel, count = precision_recall(config, explainer, cells, images)
        figures.append(_figure("precision_recall", [panel], count=count))
    if not samples:
        return figures, None
    shown = gallery(config, cells, explainer, samples)
    if strangers:
        shown.explanation.append(
            f"Left out: {', '.join(map(readable, strangers))}; of the methods that results name, only those "
            "with a file in conf/method are run."
        )
    return figures, shown


def _laid_out(made: Table) -> dict[str, Any]:
    # A caption of several tasks names each in a sentence; a footnote may be several lines long.
    return {
        "grid": grid_of(made.shown),
        "caption": inline(made.caption),
        "footnotes": [inline(note) for note in made.footnotes],
    }


def _figure(name: str, panels: Sequence[Panel], prefix: str = "", **details) -> Figure:
    return figure_of(f"{prefix}{name}", panels, CAPTIONS[name].format(**details))


def sections(overrides: Sequence[str], samples: int, images: int) -> tuple[dict[str, Any], list[Section]]:
    """A section for each task and the ablation, and one of the configurations.

    Raises:
        BenchError: if there is nothing to show in any.
    """
    configs = {task: configuration([f"task={task}", *overrides]) for task in TASKS}
    made = [
        _or_why_not(task, lambda c=config: section(c, samples, images)) for task, config in configs.items()
    ]
    both = [configs[task] for task in TABLES["ablation"]]
    title = TITLES["ablation"]
    made.append(_or_why_not("ablation", lambda: Section("ablation", title, **_laid_out(ablation(both)))))
    if all(part.problem for part in made):
        raise BenchError(f"no report: {made[0].problem}")
    return configs[TASKS[0]], made


def _or_why_not(name: str, make: Callable[[], Section]) -> Section:
    try:
        return make()
    except BenchError as e:
        return Section(name, TITLES[name], problem=str(e))
