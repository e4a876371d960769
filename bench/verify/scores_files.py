"""Goldens that belong to no model: ``segmentation.*``, ``token_f1.json`` and ``eraser_metrics.json``."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.errors import BenchError, first_line
from bench.verify.files import UnreadableError, read_arrays, read_json
from bench.verify.lines import Line
from bench.verify.offered import metric
from bench.verify.scores import compare_section, leaves
from bench.verify.scores_eraser import eraser, token_f1

FILES = ("segmentation.json", "segmentation.npz", "token_f1.json", "eraser_metrics.json")
SEGMENTATION, TOKEN_F1, ERASER = 1e-6, 1e-6, 1e-12  # tolerances
ROW_WISE = ("f1", "mf1")  # an oddity of the reference, which is no metric


def compare_files(folders: list[Path], data: Path | None) -> list[Line]:
    """A line for each number of these files, where they are."""
    lines: list[Line] = []
    for name, compare in (
        ("segmentation.json", _segmentation),
        ("token_f1.json", _token_f1),
        (FILES[3], _eraser),
    ):
        for path in (folder / name for folder in folders):
            if not path.is_file():
                continue
            try:
                lines += compare(path, data)
            except UnreadableError as e:
                lines.append(Line(path.stem, "–", "unknown", note=str(e)))
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as e:
                note = f"{path} is not of the expected form ({type(e).__name__}: {first_line(e)})"
                lines.append(Line(path.stem, "–", "unknown", note=note))
    return lines


def _segmentation(path: Path, data: Path | None) -> list[Line]:
    content, arrays = read_json(path), read_arrays(path.with_suffix(".npz"))
    stored = {f"total/{key}": value for key, value in content["total"].items() if key not in ROW_WISE}
    for key in content["per_image"][0]:
        if key not in ROW_WISE:
            stored[f"per_image/{key}"] = [image[key] for image in content["per_image"]]
    return compare_section(path.stem, "", stored, partial(_segmented, arrays), SEGMENTATION)


def _segmented(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    relevance = torch.from_numpy(arrays["relevance"])
    masks = torch.from_numpy(np.unpackbits(arrays["masks"], axis=-1)).bool()
    maps = metric("minmax")(metric("upsample")(relevance, tuple(masks.shape[1:])))
    counts = metric("segmentation_counts")(metric("foreground")(maps), masks)
    precision = metric("average_precision")(maps, masks)
    found = {f"per_image/{name}": getattr(counts, name) for name in counts._fields}
    return found | {
        "per_image/ap": precision,
        "total/pixel_accuracy": metric("pixel_accuracy")(counts.correct, counts.labelled) / 100,
        "total/miou": metric("miou")(counts.intersection, counts.union) / 100,
        "total/map": metric("mean_average_precision")(precision) / 100,
    }


def _token_f1(path: Path, data: Path | None) -> list[Line]:
    content = read_json(path)["scores"]
    if data is None:
        return [Line(path.stem, "scores", "not offered", note="needs the movies of ERASER: give data=ROOT")]
    compute = partial(token_f1, data, [int(k) for k in content])
    return compare_section(path.stem, "scores", leaves(content), compute, TOKEN_F1)


def _eraser(path: Path, data: Path | None) -> list[Line]:
    lines = []
    for name, stored in read_json(path).items():
        if not isinstance(stored, Mapping):
            continue  # recipes
        if data is None or not (data / "eraser" / name).is_dir():
            note = f"needs eraser/{name} below data=ROOT"
            lines.append(Line(path.stem, name, "not offered", note=note))
            continue
        numbers = {key: value for key, value in leaves(numbered(stored)).items() if key != "classes"}
        try:
            lines += compare_section(path.stem, name, numbers, partial(eraser, data, name, stored), ERASER)
        except BenchError as e:
            lines.append(Line(path.stem, name, "missed", note=str(e)))
    return lines


def numbered(nested: Any) -> Any:
    """Lists of mappings as mappings from their places."""
    if isinstance(nested, Mapping):
        return {key: numbered(value) for key, value in nested.items()}
    if isinstance(nested, list) and nested and isinstance(nested[0], Mapping):
        return {str(place): numbered(value) for place, value in enumerate(nested)}
    return nested
