"""The models of a folder of goldens, and which files belong to which of them.

``<stem>.config.json`` names a model: ``library`` (``timm`` or ``transformers``), ``class``, and the arguments of
that class (timm) or of its configuration (transformers). Beside it lie ``<stem>.safetensors``, the maps in
``<stem>.npz`` and ``<stem>_newer.npz``, and, where the inputs need it, ``<stem>.verify.json``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.errors import BenchError, first_line
from bench.models.checkpoint import read_weights
from bench.verify.files import UnreadableError, read_arrays, read_json

CONFIG, SETTINGS = ".config.json", ".verify.json"
KNOWN_SETTINGS = {
    *("weights", "mean", "std", "cls_id", "sep_id", "pad_id", "mask_id", "metrics_mask_id"),
    *("block_norm_eps", "row_normalised", "compare_from_entry"),
}
# Buffers that older versions of transformers stored with the weights.
BUFFERS = ("position_ids", "token_type_ids", "inv_freq", "masked_bias")


@dataclass(frozen=True)
class Golden:
    """The arrays of one npz file."""

    path: Path
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Stem:
    """A model and the numbers that were computed with it.

    Attributes:
        name: what the names of its files begin with.
        config: of the model.
        settings: of ``<stem>.verify.json``; empty where there is none.
        weights: the file with its weights, None where none is found.
        goldens: the files with its maps.
        scores: the files with its metrics: json and npz.
    """

    name: str
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    weights: Path | None
    goldens: tuple[Golden, ...]
    scores: tuple[Path, ...]

    def input(self, name: str, golden: Golden | None = None) -> np.ndarray | None:
        """An array that is an input: of a file itself, or of another one of this model; None if there is none."""
        for file in (*([golden] if golden else []), *self.goldens):
            if name in file.arrays:
                return file.arrays[name]
        return None

    def epsilon(self, key: str) -> float | None:
        """The epsilon of the blocks' norms that a key was computed with; None for the model's own."""
        for epsilon, patterns in self.settings.get("block_norm_eps", {}).items():
            if any(fnmatchcase(key, pattern) for pattern in patterns):
                return float(epsilon)
        return None

    def row_normalised(self, key: str) -> bool:
        """Whether a key's rollout divides each row by its sum where the method would not."""
        return any(fnmatchcase(key, pattern) for pattern in self.settings.get("row_normalised", ()))

    @cached_property
    def is_vision(self) -> bool:
        """Whether the model takes images: its files hold some."""
        return self.input("images") is not None

    def build(self) -> nn.Module:
        """The model with its weights, in float64 and eval mode.

        Raises:
            BenchError: if the configuration names no model, or the weights are missing or do not fit.
        """
        if self.weights is None:
            raise BenchError(self._without_weights())
        model = _model(self.name, dict(self.config)).eval()
        _load(model, self.weights)
        model.double()
        for module in tables_of(model):
            _keep_in_float32(module)
        return model

    def _without_weights(self) -> str:
        below = self.settings.get("weights")
        if below is None:
            return f"there is no {self.name}.safetensors beside its configuration; put the weights there"
        return f"its weights are {below} below data=; give data=ROOT with that file"


def find_stems(folder: Path, data: Path | None) -> tuple[list[Stem], list[UnreadableError]]:
    """All models of a folder and its subfolder ``newer``, and the files that could not be read.

    Args:
        folder: of the goldens.
        data: where weights lie that ``<stem>.verify.json`` names; None if there is no such place.
    """
    folders = [place for place in (folder, folder / "newer") if place.is_dir()]
    stems, problems = [], []
    for place in folders:
        for path in sorted(place.glob(f"*{CONFIG}")):
            try:
                stems.append(_stem(path, folder, folders, data, problems))
            except UnreadableError as e:
                problems.append(e)
    return stems, problems


def _stem(path: Path, folder: Path, folders: list[Path], data: Path | None, problems: list) -> Stem:
    name = path.name.removesuffix(CONFIG)
    settings = next((read_json(f) for f in _files(folders, name + SETTINGS)), {})
    if unknown := set(settings) - KNOWN_SETTINGS:
        raise UnreadableError(
            f"{name}{SETTINGS}: {sorted(unknown)[0]!r} is no setting; known are {', '.join(sorted(KNOWN_SETTINGS))}"
        )
    goldens = []
    for file in [*_files(folders, f"{name}.npz"), *_files(folders, f"{name}_newer.npz")]:
        try:
            goldens.append(Golden(file, read_arrays(file)))
        except UnreadableError as e:
            problems.append(e)
    weights = _files(folders, f"{name}.safetensors")
    if "weights" in settings:
        weights += [data / settings["weights"]] if data and (data / settings["weights"]).is_file() else []
    scores = _files([folder / "metrics"], f"{name}.json") + _files([folder / "metrics"], f"{name}.npz")
    return Stem(name, read_json(path), settings, next(iter(weights), None), tuple(goldens), tuple(scores))


def _files(folders: list[Path], name: str) -> list[Path]:
    return [place / name for place in folders if (place / name).is_file()]


def _model(stem: str, arguments: dict[str, Any]) -> nn.Module:
    library, name = arguments.pop("library", None), arguments.pop("class", None)
    try:
        if library == "timm":
            import timm.models.vision_transformer as vision_transformer

            return getattr(vision_transformer, str(name))(**arguments)
        if library == "transformers":
            import transformers

            kind = getattr(transformers, str(name))
            return kind(kind.config_class(**arguments))
    except Exception as e:  # a model's class meets wrong arguments with errors of its own
        raise BenchError(f"{stem}{CONFIG}: {library}'s {name} cannot be built ({first_line(e)})") from e
    raise BenchError(f"{stem}{CONFIG}: library={library!r}; expected 'timm' or 'transformers'")


def _load(model: nn.Module, path: Path) -> None:
    weights = read_weights(path)
    buffers = {name for name, _ in model.named_buffers()}
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as e:  # of shapes that differ
        raise BenchError(f"{path} does not fit the configuration ({' '.join(str(e).split())[:300]})") from e
    problems = [f"{name} is missing" for name in missing if name not in buffers]
    problems += [f"{n} is not in the model" for n in unexpected if n.rpartition(".")[2] not in BUFFERS]
    if problems:
        raise BenchError(f"{path} does not fit the configuration: {'; '.join(problems[:3])}")


def with_block_epsilon(model: nn.Module, epsilon: float) -> list[tuple[nn.Module, str, float]]:
    """Set the epsilon of all norms inside the blocks, the final norm excepted; returns what to set back.

    A block is an element of a list of modules, which shows in the names of what is in it: ``blocks.0.norm1``.
    """
    before = []
    for name, module in model.named_modules():
        for field in ("eps", "variance_epsilon"):
            if any(part.isdigit() for part in name.split(".")) and isinstance(
                getattr(module, field, None), float
            ):
                before.append((module, field, getattr(module, field)))
                setattr(module, field, epsilon)
    return before


def tables_of(model: nn.Module) -> list[nn.Module]:
    """The modules that make tables of positions (rotary), which every version of transformers does in float32."""
    return [module for module in model.modules() if "inv_freq" in dict(module.named_buffers(recurse=False))]


def _keep_in_float32(module: nn.Module) -> None:
    """Let a module make its tables in float32, though all around it is in float64, for the stored numbers did."""
    original = module.forward

    def forward(*arguments, **named):
        with torch._C.DisableTorchFunction():  # from what widens or records
            return original(*arguments, **named)

    module.forward = forward


def pixels(images: np.ndarray, settings: Mapping[str, Any]) -> torch.Tensor:
    """The input of a vision model: (image / 255 − mean) / std in float64, mean and std 0.5 unless they are set.

    Args:
        images: (samples, channels, height, width), uint8.
        settings: of ``<stem>.verify.json``.
    """
    mean, std = (
        np.asarray(settings.get(k, 0.5), dtype=np.float64).reshape(-1, 1, 1) for k in ("mean", "std")
    )
    return torch.from_numpy((images / 255 - mean) / std)
