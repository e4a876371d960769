"""The project as others install it: from a wheel, in a folder that has nothing of it, or names that are ours."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench.catalogue import PROJECT
from tests.support.tiny_images import OPTIONS

BUILT_FROM = ("bench", "methods", "metrics", "conf", "results/reference")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
TAKEN = "raise ImportError('this is the one in the working directory')\n"
MINE = """
from methods import Rollout
from metrics import PixelAccuracy


class Mine(Rollout):
    pass


class Accuracy(PixelAccuracy):
    measurements = ("mask_overlap",)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with what the wheel installs, and beside it the console script."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in BUILT_FROM:
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(PROJECT / name, source)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    (folder / "bin").mkdir()
    (folder / "bin" / "tebench").write_text("from bench.command import main\nmain()\n")
    return folder / "site"


@pytest.fixture
def theirs(tmp_path) -> Path:
    """A working directory with modules of the user's own, some of which have names that are ours."""
    folder = tmp_path / "theirs"
    (folder / "methods").mkdir(parents=True)
    (folder / "methods" / "__init__.py").write_text(TAKEN)
    (folder / "metrics.py").write_text(TAKEN)
    (folder / "mine.py").write_text(MINE)
    return folder


def sweep(site: Path, folder: Path, root: Path, program: list[str], *more: str) -> list[str]:
    """The names of the finished cells of two methods of the user's own and ours, run in a folder."""
    done = subprocess.run(
        [
            *(sys.executable, *program, "-m", "task=segmentation", "dataset=imagenet_segmentation"),
            *("model=timm", "model.architecture=vit_tiny_patch16_224", OPTIONS, "protocol.images.size=32"),
            *("method=custom", "method._target_=mine.Mine,methods.Rollout"),
            "metric._target_=mine.Accuracy",
            *(f"model.checkpoint={root / 'tiny.safetensors'}", f"paths.data={root}", "device=cpu", *more),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Accuracy" in done.stdout
    return sorted(file.stem for file in folder.glob("results/*/cells/mask_overlap/*.json"))


def test_nothing_is_installed_but_three_packages(site):
    assert {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")} == {
        "bench",
        "methods",
        "metrics",
    }
    for package in ("bench", "methods", "metrics"):
        assert (site / package / "py.typed").exists()


def test_all_choices_and_published_numbers_are_in_the_wheel(site):
    for there, here in ((PROJECT / "conf", "conf"), (PROJECT / "results" / "reference", "reference")):
        expected = {file.relative_to(there) for file in there.rglob("*") if file.is_file()}
        found = {file.relative_to(site / "bench" / here) for file in (site / "bench" / here).rglob("*.*")}
        assert found == expected


def test_all_of_the_packages_is_in_the_wheel(site):
    for package in ("bench", "methods", "metrics"):
        files = {f.relative_to(PROJECT) for f in (PROJECT / package).rglob("*") if f.is_file()}
        files = {file for file in files if "__pycache__" not in file.parts}
        assert not {file for file in files if not (site / file).exists()}


def test_a_sweep_in_a_folder_with_our_names(site, theirs, root):
    cells = sweep(site, theirs, root, [str(site.parent / "bin" / "tebench"), "run"])
    assert len(cells) == 2


@pytest.mark.slow
def test_workers_and_the_module_in_a_folder_with_our_names(site, theirs, root):
    local = ("hydra/launcher=local", "hydra.launcher.n_jobs=2", "num_workers=1")
    assert len(sweep(site, theirs, root, ["-m", "bench"], *local)) == 2
