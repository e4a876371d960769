"""An entry against its raw maps, and its raw maps against its method, where data and model are at hand."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.board.entry import Entry
from bench.board.facts import Part
from bench.board.faults import LIST, Fault
from bench.board.known import without_list
from bench.board.origin import is_own
from bench.board.parts import rows_of
from bench.config import build, configuration, target_of
from bench.errors import BenchError
from bench.models import Batch, Maps
from bench.models.base import predicted
from bench.runner.batches import seed_everything
from bench.runner.cell import dataset_of
from bench.runner.explain import explain, with_prefix_tokens
from bench.runner.identities import Source
from bench.runner.loop import restored
from bench.runner.resources import device_of
from bench.store.code import code_of
from bench.store.identity import differences
from bench.tasks import Explanations
from bench.tasks.base import explained_classes
from methods.verify import NOT_APPLICABLE

WITHOUT_MODEL = ("Localisation", "MapShape", "MaskOverlap", "Plausibility", "RationaleOverlap")
SAME = 1e-4  # of scores from maps: of each number; of maps: of the norm
DRAWN, FEW = 12, 2  # how many maps are made again; of methods beyond so many forward passes
MANY = 200
BATCH = 8
NAME = re.compile(r"[\w/.-]+")  # of a choice in conf


@dataclass(frozen=True)
class AtHand:
    """The samples and the model of a part, found here and the same by their digests.

    Attributes:
        config: the resolved configuration.
        dataset, model: as a run has them.
        numbers: the index of the logit of each class of the data set.
    """

    config: Mapping[str, Any]
    dataset: Any
    model: Any
    numbers: Sequence[int]

    def batch(self, names: Sequence[str]) -> Batch:
        """Samples by their ids, prepared for the model."""
        places, settings = self._places, self.config["task"]["inputs"]
        prepare = self.model.preparation(settings)
        return self.model.batch([prepare(self.dataset[places[name]]) for name in names], settings)

    @property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.dataset.ids)}


def at_hand(entry: Entry, part: Part, overrides: Sequence[str]) -> AtHand:
    """The samples and the model of a part.

    Args:
        overrides: of the command line, such as ``paths.data=…``; what the entry itself says may only name choices.

    Raises:
        BenchError: why they are not at hand.
    """
    match = LIST.fullmatch(part.on)
    chosen = {"suite": part.suite, "task": part.task, "protocol": part.protocol, **part.choices}
    if wrong := [f"{key}={value}" for key, value in chosen.items() if not NAME.fullmatch(str(value))]:
        raise BenchError(f"{wrong[0]} names no choice")
    if strange := set(part.choices) - {"dataset", "model"}:
        raise BenchError(f"choices may be dataset and model, not {', '.join(strange)}")
    given = [f"{key}={value}" for key, value in chosen.items()]
    drawn = [f"limit={match['limit'] or 'null'}", f"seed={match['seed'] or part.seed}"]
    found = _found((*given, *drawn, f"explained={entry.explained}", *overrides))
    if isinstance(found, str):
        raise BenchError(found)
    hand, identity = found
    there = {"dataset": without_list(identity["dataset"]), "model": identity["model"]}
    stated = {"dataset": entry.dataset.made_of, "model": entry.model.made_of}
    lines = differences(stated, there) + differences(part.content, identity["dataset"]["content"], "content")
    if lines:
        raise BenchError(f"what is at hand is not what it is of ({lines[0]})")
    return hand


@lru_cache(maxsize=16)
def _found(arguments: tuple[str, ...]) -> tuple[AtHand, Mapping[str, Any]] | str:
    """What a command line chooses, with its identity, or why it is not at hand."""
    try:
        config = configuration(arguments)
        dataset = dataset_of(config)
        source = Source(config, dataset)
        identity = source.identity()
        model = _model(str(config["model"]), source)
        numbers = model.numbers(getattr(dataset, "classes", None))
        return AtHand(config, dataset, model.to(device_of(config["device"])), numbers), identity
    except BenchError as e:
        return str(e)


_models: dict[str, Any] = {}


def _model(key: str, source: Source) -> Any:
    """A model, built once for all tasks and lists of samples."""
    if key not in _models:
        _models[key] = source.model()
    return _models[key]


def scores(entry: Entry, part: Part, hand: AtHand) -> tuple[list[Fault], list[str]]:
    """Scores of a part made from its maps: what differs from the rows, and the metrics that were looked at.

    These are the metrics of measurements that need no forward pass.
    """
    tables = {name: _measured(entry, part, hand, made_of) for name, made_of in _free(part).items()}
    faults, rows, looked_at = [], entry.rows(part), []
    for name, facts in part.metrics.items():
        columns: dict[str, Any] = {}
        for read in facts.reads:
            columns |= {} if read not in tables else {c: tables[read][c].to_numpy() for c in tables[read]}
        if not columns:
            continue
        try:
            statistics = facts.built(name).statistics(columns)
        except KeyError:  # it reads predictions, too
            continue
        looked_at.append(name)
        anew = rows_of(rows["id"].tolist(), {(name, k): s for k, s in statistics.items()})
        for column in anew.columns.drop("id"):
            if column in rows and (bad := _unlike(rows["id"], rows[column], anew[column])):
                text = f"{len(bad)} per-sample rows are not what the raw maps give, such as that of {bad[0]}"
                key = f"{part.task} ({part.protocol_label}): {column}"
                faults.append(Fault(entry.path, key, text, "submit scores and maps of the same cells"))
    return faults, looked_at


def _free(part: Part) -> dict[str, Mapping[str, Any]]:
    """The measurements of a part that need no forward pass."""
    own = {f"bench.tasks.{name}" for name in WITHOUT_MODEL}
    return {name: made_of for name, made_of in part.measurements.items() if made_of["target"] in own}


def _measured(entry: Entry, part: Part, hand: AtHand, made_of: Mapping[str, Any]) -> pd.DataFrame:
    """The columns of a measurement, made from the maps, in the order of the ids."""
    measurement = build("measurement", {"_target_": made_of["target"], **made_of["settings"]})
    kept, found = entry.maps(part).to_dict("records"), []
    for start in range(0, len(kept), BATCH):
        some = kept[start : start + BATCH]
        batch = hand.batch([row["id"] for row in some])
        maps = replace(_restored(some, batch, hand), word_score=entry.method.word_score)
        of_batch = Explanations(hand.model, batch, hand.numbers, _no_predictions, maps, {}, entry.explained)
        found.append(pd.DataFrame({"id": batch.ids, **measurement.measure(of_batch)}))
    return pd.concat(found, ignore_index=True)


def _restored(rows: Sequence[Mapping[str, Any]], batch: Batch, hand: AtHand) -> Maps:
    plain = [
        {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in row.items()}
        for row in rows
    ]
    return restored(plain, batch, hand.model)


def _no_predictions() -> torch.Tensor:
    raise KeyError("predictions")


def _unlike(ids: pd.Series, one: pd.Series, other: pd.Series) -> list[str]:
    """The ids of the samples whose rows differ."""
    pairs = zip(ids, one, other, strict=True)
    return [name for name, a, b in pairs if not np.allclose(a, b, rtol=SAME, atol=SAME**2, equal_nan=True)]


def maps(entry: Entry, part: Part, hand: AtHand) -> tuple[list[Fault], str]:
    """Some maps of a part made again by the method: what differs, and what was done, in words.

    Which is drawn from the digest of the entry, so nobody knows it before the entry is fixed. This runs the code of
    the method.

    Raises:
        BenchError: if the method cannot be made, or is not of the code that the entry names.
    """
    if part.checks.get("alone") == NOT_APPLICABLE:
        return [], "its maps are drawn anew at each call, so none can be made again"
    method = _method(entry, hand)
    kept = {row["id"]: row for row in entry.maps(part).to_dict("records")}
    names = drawn_ids(entry, sorted(kept))
    faults, passes = [], 0
    for done, name in enumerate(names):
        if done == FEW and passes > MANY * FEW:
            names = names[:FEW]
            break
        batch = hand.batch([name])
        own = _restored([kept[name]], batch, hand)
        anew, forwarded = _made(entry, method, batch, hand)
        passes += forwarded
        if problem := _differ(own, anew, getattr(method, "class_specific", True)):
            text = f"the map of {name} is not what the method makes ({problem})"
            faults.append(
                Fault(entry.path, f"{part.task} ({part.protocol_label}): maps", text, "run the cells anew")
            )
    return faults, f"{len(names)} maps made again"


def drawn_ids(entry: Entry, ids: Sequence[str], count: int = DRAWN) -> list[str]:
    """The ids whose maps are made again, in the order of the draw: the seed is the digest of the JSON file."""
    rng = np.random.default_rng(int(entry.digest, 16))
    return [ids[i] for i in rng.permutation(len(ids))[:count]]


def _method(entry: Entry, hand: AtHand) -> Callable:
    """The method of an entry, of the code that it names."""
    said, source = entry.method.made_of, entry.method.source or {}
    where = source.get("distribution") or f"git+{source.get('url')}@{source.get('commit')}"
    section = {"_target_": said["target"], **said["settings"]}
    try:
        code = code_of(target_of("method", section), "method")
    except BenchError as e:
        if is_own(said["target"]):
            raise
        raise BenchError(
            f"its code is not installed ({e}); pip install '{where}' where it may do no harm"
        ) from e
    if lines := differences(said["code"], code, "code"):
        remedy = "run its cells anew" if is_own(said["target"]) else f"install that of {where}"
        raise BenchError(f"the code of its method here is not that of the entry ({lines[0]}); {remedy}")
    return with_prefix_tokens(build("method", section), hand.model, section)


def _made(entry: Entry, method: Callable, batch: Batch, hand: AtHand) -> tuple[Maps, int]:
    """The map of a sample, and how many inputs went through the model for it."""
    forward, calls = hand.model.forward, 0

    def counted(inputs: Any) -> torch.Tensor:
        nonlocal calls
        logits = forward(inputs)
        calls += len(logits)
        return logits

    seed_everything(hand.config["seed"], 0)
    target = explained_classes(
        entry.explained, predicted(hand.model, batch.inputs, hand.numbers), batch.labels
    )
    hand.model.forward = counted
    try:
        return explain(method, hand.model, batch, target, hand.numbers), calls
    finally:
        del hand.model.forward


def _differ(kept: Maps, anew: Maps, class_specific: bool) -> str | None:
    """How a map differs from another; None if it does not."""
    if class_specific and kept.target.tolist() != anew.target.tolist():
        return f"it explains class {int(kept.target)}, and here class {int(anew.target)} is explained"
    if kept.values.shape != anew.values.shape:
        return f"{tuple(kept.values.shape[1:])} numbers, and {tuple(anew.values.shape[1:])}"
    norm = max(float(kept.values.double().norm()), float(anew.values.double().norm()))
    off = float((kept.values.double() - anew.values.double()).norm())
    return f"off by {off / norm:.2g} of its norm" if off > SAME * norm else None
