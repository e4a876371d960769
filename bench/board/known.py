"""The list of what entries may be of: ``results/board/known.json``, made by ``tebench board --known suite=NAME``.

It names data sets with the lists of samples that may be scored, models with the digests of their weights, and for each
protocol the definitions of metrics and the settings that a method's name stands for. The first two come from the
finished cells of a suite, the others from the files in ``conf``. Making it again adds what is new and replaces what
has changed; the difference is what a reviewer looks at.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.board.facts import Part, list_name
from bench.board.tables import ids_digest
from bench.catalogue import catalogue_of
from bench.config import build, configuration, fingerprint, method_of
from bench.errors import BenchError
from bench.store.cells import Result, cells_folder, results
from bench.store.code import code_of
from bench.store.files import read_json, write_text
from bench.store.identity import component, recipe
from bench.tables.statistics import protocol_label
from bench.tasks import Task

FILE = "known.json"
MOST_IDS = 5_000  # longer lists are known by their digest alone
OF_A_LIST = ("content", "limit", "seed")  # of a data set's identity, what says which samples


@dataclass(frozen=True)
class Known:
    """What entries may be of.

    Attributes:
        datasets: by name: ``title``, ``made_of``, and ``lists`` by name: ``samples``, ``ids_sha256``, ``content`` (the
            digest of these samples) and ``ids``, None where there are too many.
        models: by name: ``title`` and ``made_of``.
        metrics: by the label of the protocol, then ``task/metric``: the fingerprint of :func:`definition`.
        methods: by the label of the protocol, then ``modality/method``: the fingerprint of the settings that the
            method's name stands for.
    """

    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, dict[str, str]] = field(default_factory=dict)
    methods: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path) -> "Known":
        """That of a board; an empty one where there is no file.

        Raises:
            BenchError: if the file is damaged.
        """
        path = root / FILE
        remedy = "make it with tebench board --known suite=NAME"
        if not path.exists():
            return cls()
        try:
            return cls(**read_json(path, remedy))
        except TypeError as e:
            raise BenchError(f"{path} is damaged ({e}); {remedy}") from e

    def save(self, root: Path) -> Path:
        """Write it.

        Raises:
            BenchError: if the folder cannot be written to.
        """
        write_text(root / FILE, json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        return root / FILE

    def add(self, config: Mapping[str, Any]) -> None:
        """Add what a configuration chooses: the metrics of its task, the methods, and data and models that have cells.

        Raises:
            BenchError: if a metric cannot be built, or a cell is damaged.
        """
        task: Task = build("task", config["task"], description={"_target_"})
        label = protocol_label(config)
        of_metrics = self.metrics.setdefault(label, {})
        of_metrics |= {f"{task.name}/{name}": value for name, value in _definitions(task).items()}
        facts, of_methods = catalogue_of(config), self.methods.setdefault(label, {})
        for name in facts.names("method"):
            if name != "custom":
                section = component(method_of(name, facts, config))
                of_methods[f"{task.modality}/{name}"] = settings_digest(section)
        for result in _cells(config, task):
            self._add_source(result)

    def _add_source(self, result: Result) -> None:
        """Add the data set and the model of a finished cell; one that left out samples names no list."""
        identity, said = result.identity, result.record["config"]
        dataset, model = identity["dataset"], identity["model"]
        if not said["model"].get("retitled"):
            title = said["model"]["title"]
            self.models[said["model"]["name"]] = {"title": title, "made_of": dict(model)}
        if said["dataset"].get("retitled") or result.record.get("skipped"):
            return
        known = self.datasets.setdefault(said["dataset"]["name"], {"lists": {}})
        known |= {"title": said["dataset"]["title"], "made_of": without_list(dataset)}
        ids = sorted(result.ids())
        known["lists"][list_name(dataset["limit"], dataset["seed"])] = {
            "samples": len(ids),
            "ids_sha256": ids_digest(ids),
            "content": dataset["content"],
            "ids": ids if len(ids) <= MOST_IDS else None,
        }


def without_list(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """A data set's part of an identity without what says which of its samples."""
    return {key: value for key, value in dataset.items() if key not in OF_A_LIST}


def definition(
    inputs: Any, section: Mapping[str, Any], version: int, measured: Sequence[Mapping[str, Any]]
) -> str:
    """The fingerprint of all that a metric's number follows from, given maps: changed by any setting or version.

    Args:
        inputs: how samples are brought to the model's size.
        section: of the metric, without what it reads.
        version: of the metric.
        measured: of each measurement that it reads, its part of the cells' identity.
    """
    return fingerprint({"inputs": inputs, "metric": section, "version": version, "reads": list(measured)})


def definition_in(part: Part, metric: str) -> str:
    """That of a metric of an entry."""
    facts = part.metrics[metric]
    measured = [part.measurements[name] for name in facts.reads]
    return definition(part.inputs, facts.section, facts.version, measured)


def settings_digest(made_of: Mapping[str, Any]) -> str:
    """The fingerprint of a method's target and settings."""
    return fingerprint({key: made_of[key] for key in ("target", "settings")})


def measured_by_name(task: Task) -> dict[str, dict[str, Any]]:
    """The measurements of a task as parts of an identity, by their names in it, with the code that is there now."""
    named = zip(task.measured_names(), task.measurements(), strict=True)
    return {
        name: component(section, code_of(measurement, "measurement"))
        for name, (section, measurement) in named
    }


def reads_of(task: Task) -> dict[str, list[str]]:
    """The names of the measurements that each metric of a task reads."""
    return task.missing(())


def metric_section(task: Task, name: str) -> dict[str, Any]:
    """The section of a metric without what it reads."""
    return {key: value for key, value in task.metrics[name].items() if key != "reads"}


def _definitions(task: Task) -> dict[str, str]:
    measured, reads = measured_by_name(task), reads_of(task)
    return {
        name: definition(
            task.inputs,
            metric_section(task, name),
            metric.version,
            [measured[read] for read in reads.get(name, ())],
        )
        for name, metric in task.built_metrics().items()
    }


def _cells(config: Mapping[str, Any], task: Task) -> list[Result]:
    """The finished cells of a task's measurements that are of the configuration's data set and model."""
    names = [config["dataset"]["name"], config["model"]["name"]]
    sought = [recipe(without_list(component(config["dataset"]))), recipe(component(config["model"]))]
    found = []
    for kind in dict.fromkeys(measurement.name for _, measurement in task.measurements()):
        for result in results(cells_folder(config), kind):
            own = [recipe(without_list(result.identity["dataset"])), recipe(result.identity["model"])]
            if result.record["names"][:2] == names and own == sought:
                found.append(result)
    return found


def add(root: Path, arguments: Sequence[str]) -> Known:
    """Add what the tasks of a suite (or those of ``task=``) choose under every protocol (or that of ``protocol=``).

    Args:
        root: of the board.
        arguments: overrides, as of ``tebench run``.

    Raises:
        BenchError: as :meth:`Known.add`, and if no task has its data set in the suite.
    """
    chosen = configuration([a for a in arguments if not a.startswith(("task=", "protocol="))])
    facts, known, problems = catalogue_of(chosen), Known.load(root), []
    tasks = _named("task", arguments) or list(facts.tables())
    protocols = _named("protocol", arguments) or facts.names("protocol")
    others = [a for a in arguments if not a.startswith(("task=", "protocol="))]
    for task in tasks:
        for protocol in protocols:
            try:
                config = configuration([f"task={task}", f"protocol={protocol}", *others])
            except BenchError as e:  # a task need not have a data set in every suite
                problems.append(e)
                continue
            known.add(config)
    if problems and not known.metrics:
        raise problems[0]
    return known


def _named(key: str, arguments: Sequence[str]) -> list[str]:
    values = [a.partition("=")[2] for a in arguments if a.startswith(f"{key}=")]
    return [name for value in values for name in value.split(",")]
