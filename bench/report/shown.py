"""Maps of single samples of finished cells.

Those that the store keeps are taken from there: they are the very maps that were scored. Others are made anew
by the runner's own explainer, if the method, the model and the data are still those of the cells.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from bench.catalogue import catalogue_of
from bench.config import build
from bench.errors import BenchError
from bench.models import Batch, Maps
from bench.models.classes import classes_of
from bench.runner.batches import seed_everything
from bench.runner.cell import Plan
from bench.runner.explain import with_prefix_tokens
from bench.runner.identities import maps_id
from bench.runner.loop import Explainer
from bench.runner.resources import device_of
from bench.store.cells import Cell, KeptMaps, Result, cells_folder
from bench.store.identity import ANY, MAPS, CellId, differences
from bench.tables.select import Scored, Selection


def kept_maps(config: Mapping[str, Any], one: Scored) -> Result | None:
    """The finished explanation that a method was measured on; None if it is not kept."""
    own = one.own[0]
    for explained in dict.fromkeys((own.explained, ANY)):
        identity = {k: v for k, v in own.identity.items() if k != "measurement"} | {"explained": explained}
        names = (*own.record["names"][:3], explained)
        cell = Cell(cells_folder(config), CellId(MAPS, identity, names), config)
        if cell.is_done():
            return cell.result()
    return None


@dataclass(frozen=True)
class Seen:
    """What the model makes of a sample.

    Attributes:
        batch: the sample, prepared, as a batch of one.
        classes: the likeliest class and the runner-up, numbered as by the data set.
        probabilities: of these.
    """

    batch: Batch
    classes: list[int]
    probabilities: list[float]

    @property
    def sample(self) -> Any:
        """The prepared sample."""
        return self.batch.samples[0]


class Shown:
    """The samples of finished cells with the maps of their methods, from the store where it keeps them.

    Args:
        selection: of the cells.
        methods: those to show.
        named: the ``_target_`` of methods that may be run though they have no file in ``conf/method``.

    Attributes:
        labels: of the methods that have maps to show.
        left_out: by label, why no map can be made of it anew.

    Raises:
        BenchError: if data or model are not available, or not those of the cells.
    """

    def __init__(self, selection: Selection, methods: Sequence[Scored], named: Collection[str] = ()):
        self.config, self.task = selection.config, selection.task
        seed_everything(self.config["seed"])
        plan = Plan.of(self.config)
        self._check_source(plan, selection)
        self.dataset, self.settings = plan.dataset, self.config["task"]["inputs"]
        self.model = plan.source.model().to(device_of(self.config["device"]))
        self.model.check(self.settings)
        names = getattr(self.dataset, "classes", None)
        self.numbers = self.model.numbers(names)
        self.classes = classes_of(self.model, self.config["model"], names)
        self.ids = sorted(selection.results[0].rows["id"])
        self.left_out: dict[str, str] = {}
        self._kept: dict[str, KeptMaps] = {}
        self._explainers: dict[str, Explainer] = {}
        allowed = catalogue_of(self.config).known_targets() | set(named)
        for one in methods:
            if (found := kept_maps(self.config, one)) is not None:
                self._kept[one.label] = KeptMaps(found)
            try:
                self._explainers[one.label] = self._explainer(plan, one, allowed)
            except BenchError as e:
                self.left_out[one.label] = str(e)
        self.labels = [o.label for o in methods if o.label in self._kept or o.label in self._explainers]
        self._of_any_class = {one.label for one in methods if one.own[0].explained == ANY}

    @staticmethod
    def _check_source(plan: Plan, selection: Selection) -> None:
        for part in ("dataset", "model", "inputs"):
            if lines := differences(selection.results[0].identity[part], plan.identity[part], part):
                raise BenchError(f"what is there now is not what the cells are of ({'; '.join(lines)})")

    def _explainer(self, plan: Plan, one: Scored, allowed: Collection[str]) -> Explainer:
        """What makes maps as those that were scored.

        Raises:
            BenchError: if the method may not be run, cannot be built, or is not that of the cells any more.
        """
        section = {"_target_": one.method["target"], **one.method["settings"]}
        if section["_target_"] not in allowed:
            raise BenchError(
                f"{section['_target_']} has no file in conf/method and is not named with method._target_="
            )
        method = with_prefix_tokens(build("method", section), self.model, section)
        now = maps_id(
            plan.identity, {**self.config, "method": {**section, "name": one.name}}, method
        ).identity
        cells = {key: one.own[0].identity[key] for key in now if key != "explained"}
        if lines := differences(cells, {key: value for key, value in now.items() if key != "explained"}):
            raise BenchError(f"it is not what the cells are of ({'; '.join(lines)})")
        return Explainer(self.model, method, self.numbers, explained="predicted")

    @property
    def of_text(self) -> bool:
        """Whether the samples are texts."""
        return self.task.modality == "text"

    def knows_classes(self, label: str) -> bool:
        """Whether a method's maps depend on the class."""
        return label not in self._of_any_class

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.dataset.ids)}

    def see(self, name: str) -> Seen:
        """Show the sample of an id to the model.

        Raises:
            BenchError: if the data set has no such sample.
        """
        if name not in self._places:
            raise BenchError(
                f"dataset: it has no sample {name}, of which there are stored rows; "
                "make the report with the data of the cells, or run them again with rerun=true"
            )
        sample = self.model.preparation(self.settings)(self.dataset[self._places[name]])
        batch = self.model.batch([sample], self.settings)
        with torch.inference_mode():
            logits = self.model.forward(batch.inputs)[0, list(self.numbers)]
        top = logits.double().softmax(dim=0).topk(min(2, len(logits)))
        return Seen(batch, top.indices.tolist(), top.values.tolist())

    def maps(self, label: str, seen: Seen, number: int) -> Maps | None:
        """A method's map of a sample for a class: the kept one if it is of that class, else one made anew.

        None if it can be neither.
        """
        kept, name = self._kept.get(label), seen.sample.id
        if (
            kept is not None
            and name in kept
            and (not self.knows_classes(label) or kept[name]["explained_class"] == number)
        ):
            method = self._explainers[label].method if label in self._explainers else None
            own = Explainer(self.model, method, self.numbers, "predicted", {None: kept})
            return own.kept_maps(seen.batch, lambda: torch.tensor([number]), None, exact=False)
        if label not in self._explainers:
            return None
        return self._explainers[label].maps(seen.batch, torch.tensor([number], device=self.model.device))
