"""Imports run one way: each part of the benchmark imports those below it, and methods and metrics none of it."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("bench", "methods", "metrics")
ALLOWED = {"methods": {"methods", "torch", "numpy", "sklearn"}, "metrics": {"metrics", "torch", "numpy"}}
# Each part of bench imports those of the groups before its own, and nothing of the others in its group.
LAYERS = (
    {"_own_packages", "_torchvision_guard", "errors", "terminal"},
    {"catalogue", "cli", "hub", "titles"},
    {"suggestions"},
    {"config", "store.files", "usage"},
    {"data", "listing", "command"},
    {"embedded"},
    {"models", "completion"},
    {"tasks", "store"},
    {"runner"},
    {"tables"},
    {"figures", "heatmaps", "quick", "compare", "agreement", "check", "plan"},
    {"explain"},
    {"report", "finetune", "verify"},
    {"board"},
    {"status"},
    {"eraser"},
    {"__main__"},
)
LEVELS = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def name_of(file: Path) -> str:
    """The dotted name of a module."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """All modules of the project by name."""
    return {name_of(file): file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))}


@cache
def imported(name: str) -> frozenset[str]:
    """What a module imports, anywhere in it: modules of the project by name, and packages of others."""
    found = set()
    for node in ast.walk(ast.parse(modules()[name].read_text(), filename=name)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute here"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [each if each in modules() else node.module for each in full]
        else:
            continue
        found.update(each if each in modules() else each.partition(".")[0] for each in names)
    return frozenset(found)


def part_of(name: str) -> str:
    """The part of bench that a module belongs to; of the package itself its own name."""
    inner = name.partition(".")[2]
    return inner if inner in LEVELS else inner.partition(".")[0]


OF_BENCH = [name for name in modules() if name.startswith("bench.")]


@pytest.mark.parametrize("package", ALLOWED)
def test_methods_and_metrics_know_neither_bench_nor_each_other(package):
    own = [name for name in modules() if name.partition(".")[0] == package]
    assert own
    for name in own:
        foreign = {each.partition(".")[0] for each in imported(name)}
        foreign -= ALLOWED[package] | set(sys.stdlib_module_names)
        assert not foreign, f"{name} imports {sorted(foreign)}"


def test_every_part_has_a_place_among_the_layers():
    assert {part_of(name) for name in OF_BENCH} <= set(LEVELS)


@pytest.mark.parametrize("part", sorted({part_of(name) for name in OF_BENCH}))
def test_a_part_imports_those_below_it(part):
    for name in (name for name in OF_BENCH if part_of(name) == part):
        for other in imported(name):
            if other.startswith("bench.") and part_of(other) != part:
                assert LEVELS[part_of(other)] < LEVELS[part], f"{name} imports {other}"


@pytest.mark.parametrize("part", ["store", "tables", "catalogue", "config", "cli"])
def test_what_readers_stand_on_knows_no_method(part):
    for name in (name for name in OF_BENCH if part_of(name) == part):
        assert not [other for other in imported(name) if other.partition(".")[0] == "methods"], name


def test_nothing_imports_a_program():
    """But for ``python -m bench explain``, which hands over to the program of that name."""
    programs = {name for name in modules() if name.endswith(".__main__")} | {"bench.explain.cli"}
    for name in modules():
        used = programs & imported(name) - ({"bench.explain.cli"} if name == "bench.__main__" else set())
        assert not used, f"{name} imports {sorted(used)}"


def test_there_is_no_circle():
    known = {name: {each for each in imported(name) if each in modules()} - {name} for name in modules()}
    try:
        TopologicalSorter(known).prepare()
    except CycleError as e:
        pytest.fail(" → ".join(e.args[1]))


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


def test_what_others_import_stays_where_it_is():
    python(
        "from methods.tape import Tape; import methods.rules; from bench.data.imagenet import decode_rgb;"
        "from bench.data.movies import Movies; from bench.models import TextModel;"
        "from bench.explain import ImageExplainer, TextExplainer, explain_text"
    )
