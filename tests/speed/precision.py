"""How far maps in less than float64 are from those in float64: ``python -m tests.speed.precision``.

Writes ``results/speed/precision.md``: for every sample ‖map − exact map‖ / ‖exact map‖, of which the median, the
90 % quantile and the largest are told. A norm over all samples would hide the worst. Nothing is drawn with random
weights: those say nothing about how much a trained model's maps suffer.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

import bench  # noqa: F401  first: see its docstring
from bench.cli import say
from bench.config import configuration, quoted
from bench.errors import BenchError, first_line
from bench.models.base import Model, predicted
from bench.models.build import build_model
from bench.runner.cell import dataset_of
from bench.runner.resources import device_of, keep_freed_memory, versions
from methods import LRP, PartialLRP, TransformerAttribution
from tests.speed.machine import FOLDER, device_name, processor
from tests.speed.timing import tf32

MOVED = 6e-8  # what rounding to float32 moves a number by at most, of itself
BATCH = 8
METHODS = {
    "transformer attribution": TransformerAttribution(),
    "LRP": LRP(),
    "partial LRP": PartialLRP(),
}


@dataclass(frozen=True)
class Way:
    """A way to compute maps that is not exact.

    Attributes:
        dtype: the method's.
        moved: whether the input, in float64, is moved by :data:`MOVED` of itself.
        around: what holds while it is computed.
    """

    dtype: str
    moved: bool = False
    around: Callable[[], AbstractContextManager] = nullcontext

    def maps(self, method: Callable, forward: Callable, inputs: Tensor, target: Tensor) -> Tensor:
        """(batch, ...) by a method that has a ``dtype``."""
        with self.around():
            return replace(method, dtype=self.dtype)(forward, moved(inputs) if self.moved else inputs, target)


WAYS = {
    "float32": Way("float32"),
    "mixed": Way("mixed"),
    "float64, input moved by 6e-8": Way("float64", moved=True),
}
ON_GPUS = {  # whose products may round their factors to 10 bits
    "TF32": Way("float32", around=lambda: tf32(True)),
    "mixed, TF32 backward": Way("mixed", around=lambda: tf32(True)),
}


@dataclass
class Row:
    """The deviations of one method on one model.

    Attributes:
        deviations: by the name of the way, one for each sample.
        reason: why there are none.
    """

    model: str
    data: str
    method: str
    deviations: dict[str, list[float]] = field(default_factory=dict)
    reason: str = ""

    def cells(self, ways: Sequence[str]) -> list[str]:
        """What stands in the table."""
        count = max(map(len, self.deviations.values()), default=0)
        found = [quantiles(self.deviations.get(way, [])) for way in ways]
        return [self.model, self.data, self.method, str(count or ""), *found]


def moved(inputs: Tensor) -> Tensor:
    """In float64, every number larger or smaller by :data:`MOVED` of itself, as the seed 0 has it."""
    signs = torch.randint(0, 2, inputs.shape[1:], generator=torch.Generator().manual_seed(0)) * 2 - 1
    return inputs.double() * (1 + MOVED * signs.to(inputs.device))


def deviations(maps: Tensor, exact: Tensor) -> list[float]:
    """‖map − exact map‖ / ‖exact map‖ of each sample; 0 where both are 0."""
    exact, maps = exact.double().flatten(1), maps.double().flatten(1)
    difference = (maps - exact).norm(dim=1)
    return torch.where(difference == 0, 0.0, difference / exact.norm(dim=1)).tolist()


def quantiles(values: Sequence[float]) -> str:
    """Median, 90 % and largest."""
    if not values:
        return "–"
    median, most = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.5, 0.9]).double())
    return " / ".join(map(_written, (float(median), float(most), max(values))))


def _written(value: float) -> str:
    return (
        f"{value:.0e}" if value < 1e-3 else f"{100 * value:,.2g} %" if value < 1 else f"{100 * value:,.0f} %"
    )


def measure(
    config: Mapping, methods: Mapping[str, Callable], ways: Mapping[str, Way], device: torch.device
) -> Iterator[Row]:
    """The deviations on the samples and the model of a cell's configuration.

    Explained is the class that the plain model predicts, in every way.

    Raises:
        BenchError: if data or model are not there.
    """
    dataset, model = dataset_of(config), build_model(config["model"]).to(device)
    settings = config["task"]["inputs"]
    model.check(settings)
    prepare = model.preparation(settings)
    titles = (config["model"]["title"], config["dataset"]["title"])
    for name, method in methods.items():
        found: dict[str, list[float]] = {way: [] for way in ways}
        for start in range(0, len(dataset), BATCH):
            samples = [prepare(dataset[i]) for i in range(start, min(start + BATCH, len(dataset)))]
            batch = model.batch(samples, settings)
            target = predicted(model, batch.inputs, model.numbers(None))
            exact = _patches(Way("float64").maps(method, model.forward, batch.inputs, target), model)
            for way, how in ways.items():
                maps = _patches(how.maps(method, model.forward, batch.inputs, target), model)
                found[way] += deviations(maps, exact)
        yield Row(*titles, name, found)


def _patches(maps: Tensor, model: Model) -> Tensor:
    """Without the prefix tokens: nobody scores a class token's entry, and it is the largest of all."""
    return maps if maps.ndim == 3 else maps[:, model.prefix_tokens :]


def rows(options: argparse.Namespace, ways: Mapping[str, Way], device: torch.device) -> Iterator[Row]:
    """Those of real data and the embedded ones; what is not there has a reason."""
    for suite in ("small_real", "embedded"):
        config = configuration(["task=perturbation", "method=lrp", *overrides(options, suite)])
        dear = {name: m for name, m in METHODS.items() if isinstance(m, LRP)}
        others = {name: m for name, m in METHODS.items() if name not in dear}
        try:
            yield from measure(config | {"limit": options.images}, others, ways, device)
            yield from measure(config | {"limit": options.lrp_images}, dear, ways, device)
        except (BenchError, ImportError) as e:
            reason = f"not run: {first_line(e)}"
            yield Row(config["model"]["title"], config["dataset"]["title"], "–", reason=reason)


def overrides(options: argparse.Namespace, suite: str) -> list[str]:
    """What the command line says of a suite's data and model."""
    found = [f"suite={suite}"]
    if suite == "embedded":
        return found
    found.append("dataset.title='ImageNet validation'")  # of which other samples are drawn than by the suite
    if options.data is not None:
        found.append(f"paths.data={quoted(options.data)}")
    if options.checkpoint is not None:
        found += ["model=timm", f"model.architecture={options.architecture}"]
        found += [f"model.checkpoint={quoted(options.checkpoint)}"]
    return found


INTRODUCTION = """# How far maps in less than float64 are from those in float64

Made by `make precision`{arguments} on {device} ({processor}), torch {torch}, commit {commit}.

‖map − exact map‖ / ‖exact map‖ of each sample: **median / 90 % / largest**. The exact map has everything in float64; it
is of the class that the plain model predicts, and has no entry for the class token. All ways have the same float32
weights and the same float32 pixels.

- *float32*: forward pass and relevance in float32.
- *mixed*: the forward pass in float64, all that is read backwards in float32 (`method.dtype=mixed`).
- *input moved*: everything in float64, every pixel larger or smaller by {moved:g} of itself, as rounding it to float32
  can move it. What this moves the map by is no fault of the arithmetic.
{more}
"""


def table(found: Sequence[Row], ways: Sequence[str]) -> str:
    """In markdown, with the reasons of what was not run below it."""
    head = ["model", "images of", "method", "images", *ways]
    lines = [head, [":--"] * 3 + ["--:"] * (len(head) - 3), *(r.cells(ways) for r in found if not r.reason)]
    reasons = [f"- {row.model}, {row.data}: {row.reason}" for row in found if row.reason]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *reasons]).strip() + "\n"


def parser() -> argparse.ArgumentParser:
    """What ``make precision`` and ``make gpu`` can be told."""
    made = argparse.ArgumentParser(
        prog="python -m tests.speed.precision", description=__doc__.splitlines()[0]
    )
    made.add_argument("--data", type=Path, help="data root with imagenet/ and models/; BENCH_DATA, or data")
    made.add_argument("--images", type=int, default=96)
    made.add_argument("--lrp-images", type=int, default=96, help="for LRP")
    made.add_argument("--checkpoint", type=Path, help="of another model than DeiT-Tiny, .safetensors or .pth")
    made.add_argument("--architecture", default="deit_tiny_patch16_224", help="timm's name for --checkpoint")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, …")
    made.add_argument("--output", type=Path, default=FOLDER / "precision.md", help="file")
    return made


def main() -> None:
    """Measure, print and keep."""
    made = parser()
    options = made.parse_args()
    if min(options.images, options.lrp_images) < 1:
        made.error("--images and --lrp-images: expected whole numbers, 1 or more")
    try:
        device = device_of(options.device)
    except BenchError as e:
        made.error(str(e))
    keep_freed_memory()
    ways = WAYS | (ON_GPUS if device.type == "cuda" else {})
    found, started = [], time.monotonic()
    for row in rows(options, ways, device):
        found.append(row)
        took = time.monotonic() - started
        say(f"{took:4.0f} s: {row.reason or ' | '.join(c for c in row.cells(list(ways)) if c)}")
    text = introduction(device) + table(found, list(ways))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    print(text)


def introduction(device: torch.device) -> str:
    """What the table says."""
    more = (
        "- *TF32*: float32 whose products round their factors to 10 bits; *mixed, TF32 backward*: those that are read\n"
        "  backwards.\n"
    )
    return INTRODUCTION.format(
        arguments=f" (`{' '.join(sys.argv[1:])}`)" if sys.argv[1:] else "",
        device=device_name(device),
        processor=processor(),
        torch=versions()["torch"],
        commit=versions()["commit"],
        moved=MOVED,
        more=more if device.type == "cuda" else "",
    )


if __name__ == "__main__":
    main()
