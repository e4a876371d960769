"""Let timm and transformers be imported where torchvision was built for CUDA and torch was not.

On such a machine loading torchvision's C++ extension fails, and then ``import torchvision`` dies with
``operator torchvision::nms does not exist``, because torchvision attaches shape functions to operators
that were never registered. Nothing here uses these operators, so declaring them is enough.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path

_fragments: list = []  # a torch.library.Library takes its operators along when it is collected


class _Guard(MetaPathFinder):
    """Declares the operators the first time that anything looks for torchvision: until then torch is not needed."""

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None


def ensure_torchvision_importable() -> None:
    """Let ``torchvision::nms`` and ``torchvision::qnms`` be declared if torchvision's own extension cannot load.

    Called once by ``import bench``; it imports neither torch nor torchvision, and needs neither.
    """
    if "torchvision" not in sys.modules and not any(isinstance(each, _Guard) for each in sys.meta_path):
        sys.meta_path.insert(0, _Guard())


def _declare() -> None:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    import torch

    for extension in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(extension)
        except OSError:
            fragment = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                if not hasattr(torch.ops.torchvision, operator):
                    fragment.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _fragments.append(fragment)
