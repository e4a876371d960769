"""Imports run one way: bench uses methods and metrics; they know neither bench nor each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {"methods": {"methods", "torch"}, "metrics": {"metrics", "torch", "numpy"}}


def imported(file: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    packages = set()
    for node in ast.walk(ast.parse(file.read_text(), filename=str(file))):
        if isinstance(node, ast.Import):
            packages |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            packages.add(node.module.split(".")[0] if node.level == 0 else file.relative_to(ROOT).parts[0])
    return packages


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_run_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        foreign = imported(file) - ALLOWED[package] - set(sys.stdlib_module_names)
        assert not foreign, f"{file.relative_to(ROOT)} imports {sorted(foreign)}"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_methods_and_metrics_loads_no_model_library():
    loaded = set(python("import methods, metrics, sys; print(*sys.modules)").split())
    assert "methods" in loaded
    assert not {"bench", "timm", "transformers", "torchvision", "hydra", "datasets", "pandas"} & loaded


def test_timm_and_transformers_can_be_imported_after_bench():
    python("import bench, timm; from transformers import BertForSequenceClassification")


def test_a_vision_model_loads_without_wandb_and_leaves_it_importable():
    code = (
        "import bench, sys; from bench.config import build, configuration;"
        "build('model', configuration(['task=perturbation'])['model']);"
        "assert 'timm' in sys.modules and 'wandb' not in sys.modules;"
        "import wandb; print(wandb.__name__)"
    )
    assert python(code).strip().endswith("wandb")
