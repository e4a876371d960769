"""The cells of a sweep, and what is to be computed for them: each explanation and each measurement once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.catalogue import Catalogue
from bench.cli import several
from bench.config import build, config_dirs, fingerprint, swept
from bench.errors import BenchError
from bench.runner.cell import dataset_of
from bench.runner.costs import Cost, Shape, of_map, of_measurement
from bench.store.identity import ANY, component, recipe
from bench.tables.select import wanted
from bench.tasks import Task


def cells_of(arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The resolved configurations of all cells that a command line plans.

    Args:
        arguments: overrides; ``experiment=``, ``task=`` and ``model=`` may name several.

    Raises:
        BenchError: for an override that hydra does not accept, or if there is no cell.
    """
    (experiments, tasks, models), others = several(arguments, "experiment", "task", "model")
    known, found = Catalogue(config_dirs(arguments)).tables(), False
    every = [None] if experiments else list(known)  # an experiment has a task of its own
    for model in models or [None]:
        own = [*others, *([] if model is None else [f"model={model}"])]
        for task in tasks or every:
            for cell in _cells_of_task(task, experiments, own, known, strict=bool(tasks)):
                found = True
                yield cell
    if not found:
        raise BenchError("plan: there is no cell; name an experiment= or a task= with one")


def _cells_of_task(
    task: str | None,
    experiments: Sequence[str],
    others: Sequence[str],
    known: Mapping[str, Mapping[str, Any]],
    strict: bool,
) -> Iterator[dict[str, Any]]:
    """The cells of a task, or of the experiments' own tasks.

    Args:
        strict: whether a task that cannot be composed is a mistake; one of the user's own need not have data in
            every suite.
    """
    chosen = [] if task is None else [f"task={task}"]
    named = experiments or (known[task].get("table", {}).get("experiments", ()) if task in known else ())
    for experiment in named:
        try:
            yield from swept(experiment, [*chosen, *others])
        except BenchError:
            if strict or experiments:
                raise


@dataclass
class Need:
    """What the cells of a model in a task need.

    Attributes:
        model, task: their titles.
        jobs: cells, each in as many jobs as it has shards.
        samples: of the data set, at most.
        cost: in all, of what no line before it needs.
        by_method: that of each method's own part.
    """

    model: str
    task: str
    jobs: int = 0
    samples: int = 0
    cost: Cost = field(default_factory=Cost)
    by_method: dict[str, Cost] = field(default_factory=dict)


class Sizes:
    """How many samples the data sets of cells have, each looked up once.

    Args:
        given: how many all have; None to look.

    Attributes:
        notes: what was taken from the configuration, as the data are not at hand.
    """

    def __init__(self, given: int | None):
        self.given = given
        self.notes: dict[str, None] = {}
        self._known: dict[str, int] = {}

    def of(self, config: Mapping[str, Any]) -> int:
        """How many samples a cell has.

        Raises:
            BenchError: if the data are not at hand, and nobody says how many there are.
        """
        chosen = {key: config.get(key) for key in ("dataset", "limit", "subset", "seed")}
        key = fingerprint(chosen)
        if key not in self._known:
            self._known[key] = self._look(config)
        return self._known[key]

    def _look(self, config: Mapping[str, Any]) -> int:
        asked = [config[key] for key in ("limit", "subset") if config.get(key) is not None]
        if self.given is not None:
            return min([self.given, *asked])
        try:
            return len(dataset_of(config))
        except BenchError as e:
            stated = config["dataset"].get("expected_samples")
            if stated is None:
                raise BenchError(
                    f"{e}. To plan without the data, say how many samples there are: samples=1000"
                ) from e
            self.notes[f"{config['dataset']['title']} is not at hand: {stated:,} samples, as stated"] = None
            return min([stated, *asked])


def needs(
    cells: Sequence[Mapping[str, Any]],
    sizes: Sizes,
    shapes: Mapping[str, Shape],
    factor: Callable[[Mapping[str, Any], Any], float] = lambda config, method: 1.0,
) -> list[Need]:
    """What cells need, by model and task.

    Explanations and measurements that several cells share count once, where they come first.

    Args:
        shapes: of the models, by their names.
        factor: from a configuration and its method to how much more its passes cost than plain ones.
    """
    found: dict[tuple[str, str], Need] = {}
    seen: set[str] = set()
    for config in cells:
        task = Task(**{key: value for key, value in config["task"].items() if key != "_target_"})
        method = build("method", config["method"])
        shape, samples = shapes[config["model"]["name"]], sizes.of(config)
        need = found.setdefault(
            (config["model"]["name"], task.name), Need(config["model"]["title"], task.title)
        )
        need.jobs += config["shards"]
        need.samples = max(need.samples, samples)
        for owner, cost in _new(config, task, method, shape, seen, factor(config, method)):
            whole = cost.times(samples)
            need.cost += whole
            name = config["method"]["title"] if owner else "the model alone"
            need.by_method[name] = need.by_method.get(name, Cost()) + whole
    return list(found.values())


def _new(
    config: Mapping[str, Any], task: Task, method: Any, shape: Shape, seen: set[str], factor: float
) -> Iterator[tuple[bool, Cost]]:
    """What of a cell nobody before it needed: whether it is the method's own, and its cost for one sample."""
    own = {"method": recipe(component(config["method"]))}
    specific = getattr(method, "class_specific", True)
    explanations: dict[Any, None] = {}
    for section, measurement in task.measurements():
        key: dict[str, Any] = wanted(config, section)
        if measurement.needs_maps:
            explained = config["explained"] if specific or measurement.class_specific else ANY
            key |= {**own, "explained": explained}
            explanations |= dict.fromkeys([None, *measurement.variants])
        elif measurement.class_specific:
            key |= {"explained": config["explained"]}
        if _is_new(key, seen):
            yield measurement.needs_maps, of_measurement(measurement, shape)
    for variant in explanations:
        explained = config["explained"] if specific or variant is not None else ANY
        key = {**wanted(config, {"_target_": ""}), **own, "explained": explained, "variant": repr(variant)}
        if _is_new(key, seen):
            cost = of_map(method, shape)
            yield (
                True,
                Cost(cost.maps, factor * cost.forward, factor * cost.backward, cost.measuring, cost.bytes),
            )


def _is_new(key: Mapping[str, Any], seen: set[str]) -> bool:
    text = fingerprint(key)
    is_new = text not in seen
    seen.add(text)
    return is_new
