"""``python -m tests.speed``: measure, print and keep one table; exit code 1 if a bound is missed."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch

import bench  # noqa: F401  first: see its docstring
from bench.errors import BenchError
from bench.runner.resources import device_of, keep_freed_memory
from tests.speed import cells
from tests.speed.board import board
from tests.speed.explaining import (
    BOUNDED,
    UNIT_BATCH,
    Plain,
    create,
    explaining,
    hours,
    memory,
    pixels,
    several_classes,
)
from tests.speed.machine import FOLDER, device_name, file_name, made_by
from tests.speed.reference import reference
from tests.speed.scoring import imputation, removal, scoring
from tests.speed.timing import HEAD, Line, seconds

PARTS = ("explaining", "classes", "memory", "scoring", "perturbation", "scaling", "start", "report", "board")

INTRODUCTION = """# Speed on {device}

{made}

F is one plain forward pass per image of the same, unmodified model at batch {unit} in float32, without gradients and
in the same process, whatever type the line is of. Every ratio is measured beside its unit, {repetitions} times: times
of other machines differ, ratios less so. The floor of mixed precision is the cost in float32 with the forward pass of
float64; what comes after it is the overhead.

"""


def lines(options: argparse.Namespace, device: torch.device, scratch: Path) -> Iterator[Line]:
    """Everything that is asked for."""
    n, parts = options.repetitions, options.parts
    smallest = options.models[-1]
    if "start" in parts:
        yield from cells.start(n, scratch)
    if "report" in parts:
        yield cells.report(n, scratch)
    if "explaining" in parts:
        for model in options.models:
            explained = []
            for line in explaining(model, options.batches, n, device, options.unit_batch):
                explained.append(line)
                yield line
            yield from hours(explained)
    if options.reference is not None:
        for model in options.models:
            yield from reference(options.reference, model, n, device)
    if "classes" in parts:
        yield several_classes(smallest, n, device)
    if "memory" in parts:
        yield from memory(options.models[0], (8, 32), device)
    if "scoring" in parts:
        units = {}
        for model in options.models:
            created = create(model, device)
            plain = Plain(created, pixels(created, UNIT_BATCH, device))
            units[model] = min(seconds(plain, device) for _ in range(3)) / UNIT_BATCH
        yield from scoring(n, units)
        yield imputation(n, device)
        yield removal(smallest, n, device)
    if "perturbation" in parts:
        for model in options.models:
            batch = max(options.batches)
            images = batch if model == BOUNDED and device.type == "cpu" else 4 * batch
            yield cells.perturbation(model, images, batch, n, device, scratch)
    if "scaling" in parts:
        yield cells.scaling(n, (100, 10_000), scratch)
    if "board" in parts:
        yield from board(min(n, 3), scratch / "board")


def main() -> None:
    """Measure, print, keep, and say whether the bounds hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed", description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=[BOUNDED, "deit_tiny_patch16_224"], help="timm's names, largest first"
    )
    parser.add_argument("--batches", nargs="+", type=int, help="batch sizes; 8 and 1, on a GPU 64")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, …")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--reference", type=Path, help="a checkout of the reference implementation")
    parser.add_argument("--output", type=Path, help="folder; results/speed, for all parts only")
    options = parser.parse_args()
    if options.repetitions < 1 or min(options.batches or [1]) < 1:
        parser.error("--repetitions and --batches: expected whole numbers, 1 or more")
    try:
        device = device_of(options.device)
        options.batches = options.batches or ([8, 1] if device.type == "cpu" else [64])
        options.unit_batch = UNIT_BATCH if device.type == "cpu" else max(options.batches)
        keep_freed_memory()
        measured = []
        with tempfile.TemporaryDirectory() as scratch:
            for line in lines(options, device, Path(scratch)):
                measured.append(line)
                print(" | ".join(cell for cell in line.cells() if cell), flush=True)
    except BenchError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)
    table = pd.DataFrame([line.cells() for line in measured], columns=HEAD)
    text = _introduction(options, device) + table.to_markdown(index=False, disable_numparse=True) + "\n"
    print(f"\n{text}")
    if set(options.parts) == set(PARTS) or options.output:
        folder = options.output or FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        # On GPUs the name without more is that of what make gpu found.
        name = file_name(device) + ("" if device.type == "cpu" else "_speed")
        (folder / f"{name}.md").write_text(text)
    missed = [line for line in measured if not line.holds]
    for line in missed:
        print(f"missed: {' | '.join(cell for cell in line.cells() if cell)}", file=sys.stderr)
    sys.exit(1 if missed else 0)


def _introduction(options: argparse.Namespace, device: torch.device) -> str:
    return INTRODUCTION.format(
        device=device_name(device),
        made=made_by("make speed", device),
        unit=options.unit_batch,
        repetitions=options.repetitions,
    )


if __name__ == "__main__":
    main()
