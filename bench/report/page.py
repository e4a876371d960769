"""The page: what it says of each task and of the ablation, and its file, from templates."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from bench.catalogue import Catalogue, base_name, catalogue_of
from bench.config import config_dirs, configuration
from bench.errors import BenchError
from bench.figures.panels import has_curves, panels
from bench.figures.style import Panel
from bench.report.costs import Described, against_quality, cost_grid, costs, described, precision_recall
from bench.report.gallery import SHADES, Gallery, compared, gallery, palette
from bench.report.html import Figure, Grid, figure_of, grid_of, inline
from bench.report.shown import Shown
from bench.store.files import write_text
from bench.tables.format import Column
from bench.tables.published import Published
from bench.tables.table import ABLATION, TASKS_OF_ABLATION, Part, Table, ablation, table

LARGEST = 15 * 10**6  # bytes of the file
SPARE = LARGEST // 50  # of these, for what is added beside the samples of the gallery
BANDS = "Bands: 95 % bootstrap intervals over samples."
PRECISION_RECALL = (
    "Precision over recall, of foreground and background together as mAP has it, which is the area under a "
    "curve. From the maps of {count} images drawn with the seed, as the store keeps no curves. Bands: 95 % "
    "bootstrap intervals over these images."
)
COST = "What a map costs against how good it is, with 95 % bootstrap intervals."


@dataclass(frozen=True)
class Section:
    """What the page says of a task; of the ablation, only its table and its cells.

    Attributes:
        name, title: of the task.
        problem: why there is nothing to show, instead of all the rest.
        table: with its caption and footnotes, and ``grid``, what it looks like.
        gallery_problem: why no sample could be explained.
    """

    name: str
    title: str
    problem: str | None = None
    table: Table | None = None
    grid: Grid | None = None
    figures: Sequence[Figure] = ()
    cost: Grid | None = None
    cost_figure: Figure | None = None
    gallery: Gallery | None = None
    gallery_problem: str | None = None
    cells: Sequence[Described] = ()

    @property
    def anchor(self) -> str:
        """A name for its elements that no other part of the page has."""
        return re.sub(r"[^\w-]", "_", self.name)


def section(config: Mapping[str, Any]) -> Section:
    """What the store alone says of a task that has finished cells.

    Raises:
        BenchError: if there are none.
    """
    name, made, facts = config["task"]["name"], table(config), catalogue_of(config)
    (part,) = made.parts
    spent, figures = costs(part), []
    if has_curves(part.selection.task) and (drawn := _curves(part)):
        figures.append(figure_of(name, drawn, config["task"]["table"].get("caption", BANDS), facts))
    over_cost = against_quality(part, spent)
    return Section(
        name,
        config["task"]["title"],
        table=made,
        grid=grid_of(every_column(made), made.methods, facts),
        figures=figures,
        cost=cost_grid(spent, part) if len(spent) else None,
        cost_figure=figure_of(f"{name}-cost", over_cost, COST, facts) if over_cost else None,
        cells=described(part),
    )


def with_maps(made: Section, samples: int, images: int, named: Collection[str], room: float) -> Section:
    """A section of a task with what needs maps beside what the store says, or with why there is none.

    Args:
        samples: of each kind in the gallery, at most.
        images: from whose maps curves of precision over recall are drawn.
        named: the ``_target_`` of methods that may be run beside those of ``conf/method``.
        room: bytes that the samples of its gallery may take.
    """
    (part,) = made.table.parts
    try:
        figures, shown = explained(part, samples, images, named, room)
    except BenchError as e:  # the store is enough for all the rest
        return replace(made, gallery_problem=str(e))
    return replace(made, figures=[*made.figures, *figures], gallery=shown)


def every_column(made: Table) -> list[Column]:
    """The columns of a table, and beside them those of the main published numbers."""
    return [*made.columns, *(made.published[0].columns if made.published else ())]


def _of_others(source: Published, made: Table) -> Grid:
    """The numbers of a public re-run, which stand below a table."""
    return grid_of(source.columns, source.methods, catalogue_of(made.parts[0].config))


def _curves(part: Part) -> list[Panel]:
    if part.config["explained"] not in set(part.measured["explained"]):
        return []
    return panels(part.selection, part.measured)


def explained(
    part: Part, samples: int, images: int, named: Collection[str] = (), room: float = LARGEST
) -> tuple[list[Figure], Gallery | None]:
    """What needs maps: precision over recall, and the gallery.

    Raises:
        BenchError: if data or model are not available, or not those of the cells.
    """
    metrics, methods = part.metrics.values(), compared(part.selection)
    images = images if any("average_precision" in metric.columns for metric in metrics) else 0
    if not methods or not (samples or images):
        return [], None
    shown, figures = Shown(part.selection, methods, named), []
    if images and shown.labels:
        panel, count = precision_recall(part, shown, images)
        caption = PRECISION_RECALL.format(count=count)
        figures.append(
            figure_of(f"{part.config['task']['name']}-recall", [panel], caption, catalogue_of(part.config))
        )
    if not samples or not shown.labels:
        return figures, None
    return figures, gallery(part.selection, methods, shown, samples, room)


def of_ablation(configs: Sequence[Mapping[str, Any]]) -> Section:
    """The table of the ablation with the cells that no other table has.

    Raises:
        BenchError: if there are none.
    """
    made, facts = ablation(configs), catalogue_of(configs[0])
    cells = [
        cell
        for part in made.parts
        for cell in described(part, lambda one: facts.method(base_name(one.label)).kind == ABLATION)
    ]
    grid = grid_of(made.columns, made.methods, facts)
    return Section(ABLATION, "Ablation", table=made, grid=grid, cells=cells)


def sections(overrides: Sequence[str]) -> tuple[Mapping[str, Any], list[Section]]:
    """A section for each task and the ablation, from the store alone, and one of the configurations.

    Raises:
        BenchError: if there is nothing to show in any.
    """
    made, configs = [], {}
    for task, known in Catalogue(config_dirs(overrides)).tables().items():

        def of_task(task: str = task) -> Section:
            configs[task] = configuration([f"task={task}", *overrides])
            return section(configs[task])

        made.append(_or_why_not(task, str(known.get("title", task)), of_task))
    ablated = [configs[task] for task in TASKS_OF_ABLATION if task in configs]
    if ablated:
        made.append(_or_why_not(ABLATION, "Ablation", lambda: of_ablation(ablated)))
    problems = [part.problem for part in made if part.problem]
    if len(problems) == len(made):
        raise BenchError(f"no report: {problems[0]}")
    return next(iter(configs.values())), made


def _or_why_not(name: str, title: str, make: Callable[[], Section]) -> Section:
    try:
        return make()
    except BenchError as e:
        return Section(name, title, problem=str(e))


def write(
    overrides: Sequence[str],
    samples: int,
    images: int,
    named: Collection[str] = (),
    output: str | None = None,
) -> Path:
    """Write the page of a suite and a protocol; returns the file.

    Args:
        overrides: as ``python -m bench`` takes them.
        samples, images, named: as :func:`with_maps` has them. Galleries share what room the rest of the page
            leaves them below :data:`LARGEST`, and have fewer samples where these do not fit.
        output: the file; None for ``index.html`` in ``results/<suite>/report/``.

    Raises:
        BenchError: if no cell is finished, the page becomes too large or cannot be written.
    """
    config, made = sections(overrides)
    room = LARGEST - SPARE - len(_page(config, overrides, made).encode())
    explainable = [i for i, part in enumerate(made) if part.table is not None and part.name != ABLATION]
    for left, i in zip(range(len(explainable), 0, -1), explainable, strict=True):
        made[i] = with_maps(made[i], samples, images, named, room / left)
        cards = made[i].gallery.groups.values() if made[i].gallery else ()
        room -= sum(card.size for group in cards for card in group)
    page = _page(config, overrides, made)
    size = len(page.encode())
    if size > LARGEST:
        raise BenchError(
            f"the page would have {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f} MB, with no more than its "
            "tables, figures and cells; give paths.results= a folder of fewer cells"
        )
    own = Path(config["paths"]["results"]) / config["suite"]["name"] / "report" / "index.html"
    file = Path(output) if output else own
    write_text(file, page, "--output")
    return file


def _page(config: Mapping[str, Any], overrides: Sequence[str], made: Sequence[Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["inline"] = inline
    environment.filters["as_grid"] = _of_others
    protocol = config["protocol"]
    return environment.get_template("page.html").render(
        suite=config["suite"],
        protocol=f"{protocol['name']} v{protocol['version']}",
        command=" ".join(["python -m bench.report", *overrides]),
        sections=made,
        shades=SHADES,
        palette=palette(),
    )
