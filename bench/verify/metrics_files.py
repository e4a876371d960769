"""The files of a model's metrics: ``metrics/<stem>.json`` and ``metrics/<stem>.npz``."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from bench.errors import BenchError, first_line
from bench.verify import scores_images, scores_texts
from bench.verify.files import UnreadableError, read_arrays, read_json
from bench.verify.grammar import Entry
from bench.verify.lines import Line
from bench.verify.scored_images import ScoredImages
from bench.verify.scores import DEFAULT, TOLERANCES, compare_section, compare_value, find, leaves, unknown
from bench.verify.stems import Golden, Stem
from bench.verify.subject import Subject

DESCRIBING = ("files", "boxes_x0y0x1y1", "seconds", "versions", "settings")
"""Sections that describe how the numbers were made."""

ARRAYS = ("images", "masks", "mean", "std", "explained", "map.", "subsets.n")
"""Arrays that are inputs, or how they begin; behind ``subsets.n<m>`` stand results, too."""


def tolerance(name: str) -> float:
    """Of a section, by its name."""
    return next((limit for pattern, limit in TOLERANCES if fnmatchcase(name, pattern)), DEFAULT)


def compare_metrics(stem: Stem, model: nn.Module) -> list[Line]:
    """A line for each number, or list of numbers, in the files of a model's metrics."""
    content: Mapping[str, Any] = {}
    golden = Golden(Path(), {})
    for path in stem.scores:
        try:
            if path.suffix == ".json":
                content = read_json(path)
            else:
                golden = Golden(path, read_arrays(path))
        except UnreadableError as e:
            return [Line(stem.name, path.name, "unknown", note=str(e))]
    try:
        return _compared(Subject(stem, golden, model), content)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, BenchError) as e:
        note = f"not of the form of a file of metrics ({type(e).__name__}: {first_line(e)})"
        return [Line(stem.name, f"metrics/{stem.name}", "unknown", note=note)]


def _compared(subject: Subject, content: Mapping[str, Any]) -> list[Line]:
    if not subject.stem.is_vision:
        return scores_texts.compare(subject.stem, content, subject)
    images, golden = ScoredImages(subject), subject.golden
    lines = []
    for name, section in content.items():
        if name not in DESCRIBING:
            lines += _section(images, name, section)
    return lines + [line for name in golden.arrays for line in _array(images, name)]


def _section(images: ScoredImages, name: str, section: Any) -> list[Line]:
    stem = images.subject.stem.name
    if f"map.{name}" in images.subject.golden.arrays:
        return [line for inner, stored in section.items() for line in _of_map(images, name, inner, stored)]
    if (found := find(name, scores_images.OF_THE_SET)) is None:
        return unknown(stem, [name])
    function, values = found
    if not isinstance(section, Mapping):
        values.pop("_what", None)
        return compare_section(stem, "", {name: section}, partial(function, images, {}), tolerance(name))
    stored = leaves(section)
    return compare_section(stem, name, stored, partial(function, images, stored, **values), tolerance(name))


def _of_map(images: ScoredImages, name: str, inner: str, section: Any) -> list[Line]:
    stem = images.subject.stem.name
    if (found := find(inner, scores_images.OF_A_MAP)) is None:
        return unknown(stem, [f"{name}/{inner}"])
    function, values = found
    stored = leaves(section) if isinstance(section, Mapping) else {"": section}
    compute = partial(function, images, name, stored, **values)
    return compare_section(stem, f"{name}/{inner}", stored, compute, tolerance(inner))


def _array(images: ScoredImages, name: str) -> list[Line]:
    stem, stored = images.subject.stem.name, images.subject.golden.arrays[name]
    if name == "logits":
        return [compare_value(stem, name, images.subject.logits(), stored, DEFAULT)]
    if name == "explained":
        return [compare_value(stem, name, images.target, stored, 0.0)]
    if name == "saliency":
        return compare_section(
            stem, "", {name: stored}, lambda: {name: scores_images.saliency(images)}, tolerance(name)
        )
    if values := Entry("subsets.n{size:int}.drop_{what:p|logit}", "").read(name):
        return compare_section(
            stem, "", {name: stored}, lambda: {name: scores_images.drops(images, **values)}, tolerance(name)
        )
    pattern = "road.imputed.{direction:morf|lerf}.{percentage:int}.image{image:int}"
    if values := Entry(pattern, "").read(name):
        return compare_section(
            stem, "", {name: stored}, lambda: {name: scores_images.imputed(images, **values)}, tolerance(name)
        )
    return [] if name in ARRAYS or name.startswith(("map.", "subsets.n")) else unknown(stem, [name])
