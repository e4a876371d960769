"""Sweeps over the tiny images, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import bench
from tests.support.tiny_images import OPTIONS

ROOT = Path(bench.__file__).resolve().parent.parent


def started(folder, root, *overrides, **environment) -> subprocess.CompletedProcess:
    """A sweep over the tiny data (``tests/support/tiny_images.py``)."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "bench", "-m"),
            *("task=segmentation", "dataset=imagenet_segmentation", "method=rollout", "device=cpu"),
            *("model=timm", "model.architecture=vit_tiny_patch16_224", OPTIONS, "protocol.images.size=32"),
            *(f"model.checkpoint={root / 'tiny.safetensors'}", f"paths.data={root}"),
            *(f"paths.results={folder / 'results'}", *overrides),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "WANDB_DIR": str(folder)}
        | environment,
        check=False,
    )


def measured(folder) -> int:
    """How many cells of what is measured of maps are finished."""
    return len(list(folder.glob("results/*/cells/mask_overlap/*.json")))
