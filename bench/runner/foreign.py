"""Maps that were made elsewhere, scored as those of a method: ``maps=file.parquet``.

A Parquet file has a row per sample with the columns ``id`` and ``map``, the numbers row by row; ``shape``, [rows,
columns] of patches or [height, width] of pixels, may be left out for texts; ``explained_class``, numbered as by the
data set, may be left out altogether. Its metadata, under the key ``maps`` as a JSON object, may state ``model`` (a
name or the SHA-256 of the weights), ``dataset`` (a name), ``resize`` (as in ``task.inputs``) and ``unit`` (patch,
pixel or token). An ``.npz`` file has the arrays ``id``, ``map`` (samples, …) and, if it likes, ``explained_class``.
What is there is checked; what is not is said below the table.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from bench.errors import BenchError, first_line
from bench.models import Batch, Maps, Model
from bench.store.files import sha256

STATED = ("model", "dataset", "resize", "unit")
UNITS = ("patch", "pixel", "token")


class ForeignMaps:
    """The maps of a file, in the place of a method's.

    Args:
        path: a ``.parquet`` or an ``.npz`` file.

    Attributes:
        content: SHA-256 of the file.
        stated: what it says of itself, of :data:`STATED`.

    Raises:
        BenchError: if it cannot be read, an id occurs twice, or a number is not finite.
    """

    version: ClassVar[int] = 1

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._maps: dict[str, np.ndarray] = {}
        try:
            ids, maps, self._classes, self.stated = _read(self.path)
            self.content = sha256(self.path)
            self._maps = dict(zip(ids, maps, strict=True))
        except BenchError:
            raise
        except Exception as e:  # pyarrow, numpy and zipfile meet damage with errors of their own
            raise BenchError(
                f"maps={path}: cannot be read ({first_line(e)}); expected a Parquet file with the columns id, map and "
                "shape, or an .npz file with id and map"
            ) from e
        if len(self._maps) < len(ids):
            raise BenchError(f"maps={path}: an id occurs twice; expected one row per sample")
        if bad := [name for name, m in self._maps.items() if not np.isfinite(m).all()]:
            raise BenchError(
                f"maps={path}: NaN or infinity in the map of {', '.join(bad[:5])}; maps must be finite"
            )

    def check(self, config: Mapping[str, Any], model: Model) -> None:
        """Raises BenchError if what the file states is not what it is scored with."""
        expected = {
            "model": {config["model"]["name"], model.content.get("weights")},
            "dataset": {config["dataset"]["name"]},
            "resize": {config["task"]["inputs"].get("resize")},
            "unit": {"token"} if model.modality == "text" else {"patch", "pixel"},
        }
        for key, value in self.stated.items():
            if value not in expected[key]:
                known = " or ".join(str(one) for one in sorted(map(str, expected[key])))
                raise BenchError(f"maps={self.path}: its {key} is {value}; expected {known}")

    def note(self) -> str:
        """What a table must say of the maps: where they are from, and what of them could not be compared."""
        unknown = [
            *(key for key in STATED if key not in self.stated),
            *(["explained class"] * (not self._classes)),
        ]
        return f"made elsewhere ({self.path.name}, SHA-256 {self.content[:12]}…)" + (
            f"; the file does not state, so nobody could compare: {', '.join(unknown)}" if unknown else ""
        )

    def maps(self, batch: Batch, target: Tensor, model: Model) -> Maps:
        """The maps of a batch.

        Raises:
            BenchError: for a sample that has none, a shape that does not fit, or another explained class.
        """
        if missing := [name for name in batch.ids if name not in self._maps]:
            raise BenchError(
                f"maps={self.path}: it has no map of {', '.join(missing[:5])}; expected one per sample"
            )
        for name, wanted in zip(batch.ids, target.tolist(), strict=True):
            if name in self._classes and self._classes[name] != wanted:
                raise BenchError(
                    f"maps={self.path}: the map of {name} explains class {self._classes[name]}; "
                    f"expected {wanted}, the class that is explained here"
                )
        found = [torch.from_numpy(self._maps[name]) for name in batch.ids]
        values = (
            self._of_texts(found, batch) if batch.words is not None else self._of_images(found, batch, model)
        )
        values = values.float().to(model.device)
        return Maps(values, values.new_zeros(len(values), 0), target)

    def _of_images(self, found: list[Tensor], batch: Batch, model: Model) -> Tensor:
        known = (tuple(model.grid), tuple(batch.inputs.shape[-2:]))
        for name, one in zip(batch.ids, found, strict=True):
            if tuple(one.shape) not in known or one.shape != found[0].shape:
                raise BenchError(
                    f"maps={self.path}: the map of {name} has the shape {tuple(one.shape)}; expected "
                    f"{known[0]} patches (without prefix tokens) or {known[1]} pixels, the same for all"
                )
        return torch.stack(found)

    def _of_texts(self, found: list[Tensor], batch: Batch) -> Tensor:
        values = torch.zeros(batch.words.shape, dtype=torch.float64)
        real = real_tokens(batch).cpu()
        for place, (name, one) in enumerate(zip(batch.ids, found, strict=True)):
            if one.ndim != 1 or len(one) != int(real[place].sum()):
                raise BenchError(
                    f"maps={self.path}: the map of {name} has the shape {tuple(one.shape)}; expected "
                    f"({int(real[place].sum())},), one number per token, special tokens included"
                )
            values[place, real[place]] = one.double()
        return values


def real_tokens(batch: Batch) -> Tensor:
    """Which tokens of texts are not padding, (batch, tokens)."""
    mask = batch.inputs.get("attention_mask")
    return torch.ones_like(batch.words, dtype=torch.bool) if mask is None else mask.bool()


def _read(path: Path) -> tuple[list[str], list[np.ndarray], dict[str, int], dict[str, str]]:
    """Ids, maps, explained classes by id (none if there are none) and what the file states."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            ids = [str(name) for name in arrays["id"]]
            maps = list(np.asarray(arrays["map"], dtype=np.float64))
            classes = arrays["explained_class"].tolist() if "explained_class" in arrays else []
            stated = {key: str(arrays[key]) for key in STATED if key in arrays}
    elif path.suffix == ".parquet":
        table = pq.read_table(path)
        described = json.loads((table.schema.metadata or {}).get(b"maps", b"{}"))
        stated = {key: str(described[key]) for key in STATED if key in described}
        columns = table.to_pydict()
        ids = [str(name) for name in columns["id"]]
        maps = [np.asarray(values, dtype=np.float64) for values in columns["map"]]
        if "shape" in columns:
            maps = [values.reshape(shape) for values, shape in zip(maps, columns["shape"], strict=True)]
        classes = columns.get("explained_class", [])
    else:
        raise BenchError(f"maps={path}: expected a .parquet or an .npz file")
    if stated.get("unit", "patch") not in UNITS:
        raise BenchError(f"maps={path}: its unit is {stated['unit']}; expected one of {', '.join(UNITS)}")
    return ids, maps, dict(zip(ids, classes, strict=True)) if len(classes) else {}, stated
