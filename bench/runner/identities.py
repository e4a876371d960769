"""What the cells of a run are made of, frozen when it begins."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.config import target_of
from bench.data.samples import Subset
from bench.embedded import VERSION as EMBEDDED_VERSION
from bench.models import Model
from bench.models.build import build_model, model_files
from bench.store.code import code_of
from bench.store.digests import content_digest, remembered
from bench.store.files import sha256
from bench.store.identity import ANY, MAPS, PATHS, CellId, chosen_samples, component
from bench.tasks import Measurement, Variant
from methods.relevance import VERSION as ENGINE_VERSION


@dataclass
class Source:
    """The data set and the model of a run, with what identifies them.

    Attributes:
        dataset: the samples of the run.
        config: the resolved configuration.
    """

    config: Mapping[str, Any]
    dataset: Any
    _model: Model | None = field(default=None, repr=False)

    def identity(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """What data set, model and the size of samples are made of."""
        dataset = component(
            self.config["dataset"],
            # Not of the object: that may be some samples of it, whose class is the project's own.
            code=code_of(target_of("dataset", self.config["dataset"]), "dataset"),
            content=self._content_of_data(progress),
        )
        return {
            "dataset": dataset | chosen_samples(self.config),
            "model": component(
                self.config["model"],
                code=code_of(target_of("model", self.config["model"]), "model"),
                content=self._content_of_model(),
            ),
            "inputs": self.config["task"]["inputs"],
        }

    def model(self) -> Model:
        """The model, built once."""
        if self._model is None:
            self._model = build_model(self.config["model"])
        return self._model

    def _content_of_data(self, progress: Callable[[int, int], None] | None) -> Any:
        if is_embedded(self.config):
            return {"generated": "bench.embedded", "version": EMBEDDED_VERSION}
        return content_digest(
            self.dataset.dataset if isinstance(self.dataset, Subset) else self.dataset, progress
        )

    def _content_of_model(self) -> Mapping[str, str]:
        """The digests of what is loaded; remembered, so that a finished cell need not load it again."""
        files = model_files(self.config["model"])
        if self._model is not None or not files:
            return self.model().content
        section = {key: value for key, value in self.config["model"].items() if key not in ("name", "title")}

        def key(states: Any) -> str:
            described = [section, code_of(target_of("model", section), "model"), states]
            return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()

        return json.loads(remembered(files, key, lambda: json.dumps(self.model().content)))


def maps_id(
    source: Mapping[str, Any],
    config: Mapping[str, Any],
    method: Any,
    variant: Variant | None = None,
) -> CellId:
    """The identity of an explanation: data set × model × method × explained class.

    Args:
        source: :meth:`Source.identity`.
        variant: what is changed, for an explanation that a measurement compares with the plain one.
    """
    explained = config["explained"] if getattr(method, "class_specific", True) or variant else ANY
    changed = None
    if variant is not None:
        changed = {
            "target": f"{type(variant).__module__}.{type(variant).__qualname__}",
            "settings": asdict(variant),
            "code": code_of(variant, "variant"),
        }
    identity = {
        **source,
        "engine": {"code": ENGINE_VERSION},
        "method": component(config["method"], code_of(method, "method"), _content_of_files(config["method"])),
        "explained": explained,
        "variant": changed,
    }
    extra = () if variant is None else (type(variant).__name__,)
    return CellId(MAPS, identity, (*names(config), config["method"]["name"], explained, *extra))


def measurement_id(
    source: Mapping[str, Any],
    config: Mapping[str, Any],
    method: Any,
    section: Mapping[str, Any],
    measurement: Measurement,
) -> CellId:
    """The identity of the columns of a measurement.

    Args:
        source: :meth:`Source.identity`.
        section: of the measurement, in the configuration.
    """
    code, content = code_of(measurement, "measurement"), _content_of_files(section)
    own = {"measurement": component(section, code, content)}
    if not measurement.needs_maps:
        if not measurement.class_specific:
            return CellId(measurement.name, {**source, **own}, names(config))
        of_class = {**source, **own, "explained": config["explained"]}
        return CellId(measurement.name, of_class, (*names(config), config["explained"]))
    specific = getattr(method, "class_specific", True) or measurement.class_specific
    explained = config["explained"] if specific else ANY
    identity = {**maps_id(source, config, method).identity, **own, "explained": explained}
    return CellId(measurement.name, identity, (*names(config), config["method"]["name"], explained))


def _content_of_files(section: Mapping[str, Any]) -> dict[str, str] | None:
    """The SHA-256 of the files that a method or a measurement is given; None if there are none."""
    given = {key: Path(str(section[key])) for key in sorted(PATHS) if section.get(key) is not None}
    return {key: sha256(file) if file.is_file() else str(file) for key, file in given.items()} or None


def names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of data set and model."""
    return config["dataset"]["name"], config["model"]["name"]


def is_embedded(config: Mapping[str, Any]) -> bool:
    """Whether the data set is part of the data that the project makes itself."""
    path = config["dataset"].get("path")
    return path is not None and Path(path).is_relative_to(config["paths"]["embedded"])
