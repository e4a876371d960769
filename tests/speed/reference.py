"""The same measurement of a checkout of the reference implementation, which is not shipped."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bench.errors import BenchError
from tests.speed.explaining import UNIT_BATCH, Plain, create, pixels
from tests.speed.timing import Line, ratios

# What the reference's generator calls the methods that it has.
METHODS = {
    "transformer attribution": "transformer_attribution",
    "LRP": "full",
    "partial LRP": "last_layer",
    "rollout": "rollout",
}
FACTORIES = {
    "vit_base_patch16_224": "vit_base_patch16_224",
    "deit_base_patch16_224": "deit_base_patch16_224",
}


def reference(path: Path, architecture: str, repetitions: int, device: torch.device) -> Iterator[Line]:
    """What a map costs there, in plain forward passes of the unmodified model; it takes one image at a time.

    Args:
        path: the folder that holds ``baselines/ViT/ViT_LRP.py``.

    Raises:
        BenchError: if that is no such checkout.
    """
    if architecture not in FACTORIES:
        return
    with _importable(path):
        try:
            from baselines.ViT import ViT_LRP
            from baselines.ViT.ViT_explanation_generator import LRP
        except ImportError as e:
            raise BenchError(
                f"REFERENCE={path}: it cannot be imported ({e}); expected a checkout of the reference "
                "implementation, with baselines/ViT/ViT_LRP.py, and what it needs to be installed"
            ) from e
        model = getattr(ViT_LRP, FACTORIES[architecture])(pretrained=False).eval().to(device)
        generator = LRP(model)
        plain = create(architecture, device)
        unit = Plain(plain, pixels(plain, UNIT_BATCH, device))
        image = pixels(plain, 1, device)
        for name, theirs in METHODS.items():
            values, _ = ratios(
                lambda theirs=theirs: generator.generate_LRP(image, method=theirs, index=0),
                unit,
                repetitions,
                device,
            )
            values = [v * UNIT_BATCH for v in values]
            yield Line(f"{name}, reference implementation", values, "F", architecture, "float32", 1)


@contextmanager
def _importable(path: Path):
    """The checkout first on the path; where there is no GPU, its calls of ``.cuda()`` do nothing."""
    sys.path.insert(0, str(path))
    cuda = torch.Tensor.cuda
    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda self, *_, **__: self
    try:
        yield
    finally:
        sys.path.remove(str(path))
        torch.Tensor.cuda = cuda
