"""Let timm and transformers be imported where torchvision was built for CUDA and torch was not.

On such a machine loading torchvision's C++ extension fails, and then ``import torchvision`` dies with
``operator torchvision::nms does not exist``, because torchvision attaches shape functions to operators
that were never registered. Nothing here uses these operators, so declaring them is enough.
"""

import importlib.util
from pathlib import Path

import torch

_fragments: list[torch.library.Library] = []  # a Library takes its operators along when it is collected


def ensure_torchvision_importable() -> None:
    """Declare ``torchvision::nms`` and ``torchvision::qnms`` if torchvision's own extension cannot load.

    Called once by ``import bench``; it neither imports torchvision nor needs it to be installed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    for extension in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(extension)
        except OSError:
            fragment = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                if not hasattr(torch.ops.torchvision, operator):
                    fragment.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _fragments.append(fragment)
