"""The page of a small embedded suite: every part of it, in seconds."""

from pathlib import Path

import pytest

import bench  # noqa: F401
from bench.catalogue import Catalogue
from bench.config import configuration, quoted
from bench.embedded import make
from bench.report.__main__ import main
from bench.runner.cell import run
from bench.tables.table import TASKS_OF_ABLATION

METHODS = ("transformer_attribution", "rollout", "gradcam", "random")
FOLDER = 'it\'s {a} "folder", [b]=(ü) #1'  # every program takes such paths


def overrides(root: Path) -> list[str]:
    """Where its data and results are."""
    return [
        f"paths.embedded={quoted(root / 'data')}",
        f"paths.results={quoted(root / 'results')}",
        "device=cpu",
    ]


def make_report(folder: Path) -> Path:
    """Make data, cells and the page under a folder; returns the page."""
    root = folder / FOLDER
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(make.CLASSIFICATION, "count", 10)  # one of each class
        patch.setitem(make.SEGMENTATION, "count", 5)
        patch.setattr(make, "REVIEWS", {split: {"seed": 1, "count": 4} for split in ("train", "val", "test")})
        make.ensure(root / "data")
    of_the_paper = [name for name, known in Catalogue().tables().items() if "published_on" in known["table"]]
    cells = [(task, method) for task in of_the_paper for method in METHODS]
    cells += [(task, "without_gradient") for task in TASKS_OF_ABLATION]
    for task, method in cells:
        run(configuration([f"task={task}", f"method={method}", *overrides(root)]))
    main([*overrides(root), "samples=1", "curves=2"])
    return root / "results" / "embedded" / "report" / "index.html"
