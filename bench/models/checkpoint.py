"""Reading weights from local files, without unpickling anything."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import BenchError

SHOWN = 3  # keys named in a message before it says how many more there are


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file.

    Raises:
        BenchError: if the file is missing, damaged, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise BenchError(
            f"model.checkpoint: there is no file {path}; give the path of a .safetensors or .pth file"
        )
    safe = path.suffix == ".safetensors"
    try:
        weights = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # zip, pickle, safetensors and torch meet damage with errors of their own
        # Not torch's words: they advise to load a pickle all the same.
        reason = str(e) if safe else "it is damaged, or holds more than tensors"
        raise BenchError(
            f"model.checkpoint: {path} cannot be read as weights ({reason}); "
            "expected a complete .safetensors file or a .pth file with a plain state dict"
        ) from e
    for wrapper in ("model", "state_dict"):
        if isinstance(weights, Mapping) and isinstance(weights.get(wrapper), Mapping):
            weights = weights[wrapper]
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise BenchError(f"model.checkpoint: {path} holds no state dict (a mapping of names to tensors)")
    return dict(weights)


def load_weights(module: nn.Module, path: str | Path, architecture: str) -> None:
    """Load a local checkpoint; every name and shape must fit.

    Raises:
        BenchError: naming the first parameters that do not fit.
    """
    weights = read_weights(path)
    own = module.state_dict()
    expected = {name: tuple(value.shape) for name, value in own.items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    problems = [
        *(f"{n} is missing" for n in expected if n not in found),
        *(f"{n} is not in the model" for n in found if n not in expected),
        *(
            f"{n} has shape {found[n]} where the model has {expected[n]}"
            for n in expected
            if n in found and found[n] != expected[n]
        ),
        *(
            f"{n} has {weights[n].dtype} where the model has {own[n].dtype}"
            for n in expected
            if n in found and weights[n].is_floating_point() != own[n].is_floating_point()
        ),
    ]
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise BenchError(
            f"model.checkpoint: {path} does not fit {architecture}: {'; '.join(problems[:SHOWN])}{more}. "
            "Choose the architecture the file was trained with (model.architecture, model.options)"
        )
    module.load_state_dict(weights)


def check_finite(module: nn.Module, source: str) -> None:
    """Raises BenchError if a weight is NaN or infinite, naming ``source``: every prediction would be NaN."""
    if bad := [name for name, value in module.named_parameters() if not value.isfinite().all()]:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise BenchError(
            f"{source}: NaN or infinity in {', '.join(bad[:SHOWN])}{more}; expected the weights of a trained "
            "model. Copy or train them again"
        )


def checksum(module: nn.Module) -> str:
    """SHA-256 over the names and values of all weights, wherever they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def files_of_directory(path: str | Path) -> list[Path]:
    """The files of a model's directory, in the order of their names; none where the path is a name on the hub."""
    return sorted(file for file in Path(path).iterdir() if file.is_file()) if Path(path).is_dir() else []
