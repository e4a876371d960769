"""The model that a configuration names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from bench.config import DESCRIPTION, build, target_of
from bench.errors import BenchError
from bench.models.base import Model
from bench.models.image import TorchImageModel

# Keys of conf/model/torch.yaml that are not arguments of the user's function, but of TorchImageModel.
OF_THE_WRAPPER = ("input_size", "grid", "prefix_tokens", "mean", "std")


def build_model(section: Mapping[str, Any]) -> Model:
    """Build the model of a section ``model``, on the CPU; any ``nn.Module`` is taken as a classifier of images.

    Raises:
        BenchError: if it cannot be built, or is neither.
    """
    _check_made(section)
    if hasattr(target_of("model", section), "modality"):
        return build("model", section)
    made = build("model", section, DESCRIPTION | set(OF_THE_WRAPPER))
    if isinstance(made, nn.Module):
        settings = {key: section[key] for key in OF_THE_WRAPPER if section.get(key) is not None}
        return TorchImageModel(made, **settings)
    if not isinstance(made, Model):
        raise BenchError(
            f"model._target_={section['_target_']}: expected an nn.Module, or an object with the attributes of "
            f"bench.models.Model, got {type(made).__name__}"
        )
    return made


def _check_made(section: Mapping[str, Any]) -> None:
    """Raises BenchError for a model that has to be made first and is not, saying how."""
    path = section.get("path") or section.get("checkpoint")
    if section.get("made_by") and path is not None and not Path(path).exists():
        raise BenchError(f"model: there is no {path} yet; make it with: {section['made_by'].strip()}")


def model_files(section: Mapping[str, Any]) -> list[Path]:
    """The local files that a model comes from; none if they are not known.

    Raises:
        BenchError: if the model's class cannot be imported.
    """
    files = getattr(target_of("model", section), "files", None)
    arguments = {key: value for key, value in section.items() if key not in DESCRIPTION}
    return [file for file in files(**arguments) if file.is_file()] if files else []
