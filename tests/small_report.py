"""The page of a small embedded suite: every part of it, in seconds."""

from pathlib import Path

import pytest

import bench  # noqa: F401
from bench.config import configuration
from bench.embedded import make
from bench.numbers import TASKS
from bench.report.__main__ import main
from bench.run import run
from bench.tables import TABLES

METHODS = ("transformer_attribution", "rollout", "gradcam", "random")


def overrides(root: Path) -> list[str]:
    """Where its data and results are."""
    return [f"paths.embedded={root / 'data'}", f"paths.results={root / 'results'}", "device=cpu"]


def make_report(root: Path) -> Path:
    """Make data, cells and the page under a folder; returns the page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(make.CLASSIFICATION, "count", 10)  # one of each class
        patch.setitem(make.SEGMENTATION, "count", 5)
        patch.setattr(make, "REVIEWS", {split: {"seed": 1, "count": 4} for split in ("train", "val", "test")})
        make.ensure(root / "data")
    cells = [(task, method) for task in TASKS for method in METHODS]
    cells += [(task, "without_gradient") for task in TABLES["ablation"]]
    for task, method in cells:
        run(configuration([f"task={task}", f"method={method}", *overrides(root)]))
    main([*overrides(root), "samples=1", "curves=2"])
    return root / "results" / "embedded" / "report" / "index.html"
