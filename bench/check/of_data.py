"""A data set: ids, labels and samples that fit each other, the same at every reading and in every process."""

from collections.abc import Mapping
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from PIL import Image

from bench.check.findings import Findings
from bench.config import build
from bench.data import ImageSample, TextSample

READ = 8  # samples


def check_dataset(config: Mapping[str, Any], found: Findings) -> None:
    """Check the data set of a configuration; of its samples the first, the last and some between."""
    found.subject = f"dataset {config['dataset']['name']}"
    dataset = None
    with found.attempt("made"):
        dataset = build("dataset", config["dataset"])
        found.expect("made", len(dataset) > 0, f"{len(dataset)} samples", "it has no samples")
    if not dataset:
        return
    with found.attempt("ids"):
        ids = list(dataset.ids)
        good = len(ids) == len(dataset) and len(set(ids)) == len(ids) and all(isinstance(i, str) for i in ids)
        found.expect(
            "ids",
            good,
            "one for each, unique",
            f"{len(ids)} ids, {len(set(ids))} different, for {len(dataset)} samples; expected a unique string for each",
        )
    with found.attempt("labels"):
        _labels(dataset, found)
    with found.attempt("files"):
        files = list(getattr(dataset, "files", None) or ())
        missing = [str(file) for file in files if not file.is_file()]
        if files:
            found.expect(
                "files", not missing, f"{len(files)} files are its identity", f"{missing[:3]} are not there"
            )
        else:
            found.note("files", "none are named, so every sample is read for the digest when a run begins")
    places = sorted({round(place) for place in np.linspace(0, len(dataset) - 1, READ)})
    for place in places:
        with found.attempt(f"sample {place}"):
            complaints = _complaints(dataset, place, dataset[place])
            if complaints:
                found.expect(f"sample {place}", False, "", "; ".join(complaints))
    read = [one for one in found if one.check.startswith("sample ")]
    if not read:
        found.expect("samples", True, f"{len(places)} were read and fit what is said of them", "")
        _again(dataset, places, found)


def _labels(dataset: Any, found: Findings) -> None:
    labels, classes = getattr(dataset, "labels", None), getattr(dataset, "classes", None)
    if labels is None or None in list(labels):
        found.note("labels", "none: explained=target and metrics that compare with a label are not for it")
        return
    count = len(classes) if classes is not None else max(labels) + 1
    bad = [label for label in labels if type(label) is not int or not 0 <= label < count]
    found.expect(
        "labels",
        not bad and len(labels) == len(dataset),
        f"{len(set(labels))} of {count} classes occur" + ("" if classes is None else f": {_some(classes)}"),
        f"{len(labels)} labels for {len(dataset)} samples; {bad[:3]} are no places among {count} classes",
    )


def _complaints(dataset: Any, place: int, sample: Any) -> list[str]:
    """What is wrong with a sample."""
    if not isinstance(sample, ImageSample | TextSample):
        return [f"{type(sample).__name__}; expected bench.data.ImageSample or TextSample"]
    complaints = []
    if sample.id != dataset.ids[place]:
        complaints.append(f"its id is {sample.id!r}, in ids it is {dataset.ids[place]!r}")
    labels = getattr(dataset, "labels", None)
    if labels is not None and sample.label != labels[place]:
        complaints.append(f"its label is {sample.label}, in labels it is {labels[place]}")
    if isinstance(sample, ImageSample):
        if not isinstance(sample.image, Image.Image) or sample.image.mode != "RGB":
            return [*complaints, "its image is no PIL image in RGB"]
        size = (sample.image.height, sample.image.width)
        if sample.mask is not None and (np.asarray(sample.mask).dtype != bool or sample.mask.shape != size):
            complaints.append(f"its mask is not boolean of shape {size}")
    else:
        if not sample.words or not all(isinstance(word, str) and word for word in sample.words):
            complaints.append("its words are no list of non-empty strings")
        marks = np.asarray(sample.rationale)
        if marks.dtype != bool or marks.shape != (len(sample.words),):
            complaints.append(f"its rationale is not boolean of shape ({len(sample.words)},)")
        elif marks[: sample.query_words].any():
            complaints.append("words of the query are marked")
        elif sample.alternatives is not None:
            complaints += _of_alternatives(np.asarray(sample.alternatives), marks)
    return complaints


def _of_alternatives(alternatives: np.ndarray, marks: np.ndarray) -> list[str]:
    if alternatives.dtype != bool or alternatives.ndim != 2 or alternatives.shape[1] != len(marks):
        return [f"its alternatives are not boolean of shape (alternatives, {len(marks)})"]
    return (
        []
        if (alternatives.any(axis=0) == marks).all()
        else ["its rationale is not the union of its alternatives"]
    )


def _again(dataset: Any, places: list[int], found: Findings) -> None:
    """A second reading, in the order of another process, gives the same samples."""
    with found.attempt("in processes"):
        copy = ForkingPickler.loads(ForkingPickler.dumps(dataset))  # as for the processes that read ahead
        same = all(_content(copy[place]) == _content(dataset[place]) for place in reversed(places))
        found.expect(
            "in processes",
            same,
            "pickled and read in another order, samples are the same",
            "read again after pickling, a sample is another; draw from a seed that depends on the index alone",
        )


def _content(sample: Any) -> tuple:
    if isinstance(sample, TextSample):
        alternatives = b"" if sample.alternatives is None else np.asarray(sample.alternatives).tobytes()
        return sample.id, tuple(sample.words), sample.label, sample.rationale.tobytes(), alternatives
    return (
        sample.id,
        sample.image.tobytes(),
        sample.label,
        b"" if sample.mask is None else sample.mask.tobytes(),
    )


def _some(classes: Any) -> str:
    names = [str(name) for name in classes]
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
