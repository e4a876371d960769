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
from bench.runner.resources import device_of, keep_freed_memory
from methods import LRP, PartialLRP, TransformerAttribution
from tests.speed.machine import FOLDER, made_by
from tests.speed.timing import tf32

MOST = 1e-4  # that maps in mixed precision may be off by
MOVED = 6e-8  # what rounding to float32 moves a number by at most, of itself
BATCH = 8
SUITES = ("small_real", "embedded")
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
    "float64, input moved": Way("float64", moved=True),
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
    return inputs.double() * (1 + MOVED * signs.double().to(inputs.device))


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
    for suite in SUITES:
        config = configuration(["task=perturbation", "method=lrp", *overrides(options, suite)])
        older = {name: m for name, m in METHODS.items() if name.endswith("LRP")}
        others = {name: m for name, m in METHODS.items() if name not in older}
        try:
            yield from measure(config | {"limit": options.images}, others, ways, device)
            yield from measure(config | {"limit": options.lrp_images}, older, ways, device)
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


EXPLANATION = f"""‖map − exact map‖ / ‖exact map‖ of each sample: **median / 90 % / largest**. The exact map has
everything in float64; it is of the class that the plain model predicts, and has no entry for the class token. All ways
have the same float32 weights and the same float32 pixels. In mixed precision {MOST:.0e} is allowed.

- *float32*: forward pass and relevance in float32.
- *mixed*: the forward pass in float64, all that is read backwards in float32 (`method.dtype=mixed`).
- *input moved*: everything in float64, every pixel larger or smaller by {MOVED:.0e} of itself, as rounding it to
  float32 can move it. What this moves the map by is no fault of the arithmetic.
- *TF32*, on GPUs: float32 whose products round their factors to 10 bits, and mixed precision where those that are
  read backwards do.
"""


def head(ways: Mapping[str, Way]) -> list[str]:
    """Of the table."""
    return ["model", "images of", "method", "images", *ways]


def table(found: Sequence[Row], ways: Mapping[str, Way]) -> str:
    """In markdown, with the reasons of what was not run below it."""
    align = [":--"] * 3 + ["--:"] * (1 + len(ways))
    lines = [head(ways), align, *(r.cells(list(ways)) for r in found if not r.reason)]
    reasons = [f"- {row.model}, {row.data}: {row.reason}" for row in found if row.reason]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *reasons]).strip() + "\n"


def missed(found: Sequence[Row]) -> list[str]:
    """Where mixed precision is further off than it may be."""
    return [
        f"{row.method} on {row.model}: mixed precision is off by up to {max(row.deviations['mixed']):.1e}, "
        f"{MOST:.0e} is allowed"
        for row in found
        if row.deviations.get("mixed") and not max(row.deviations["mixed"]) <= MOST
    ]


def ways(device: torch.device) -> dict[str, Way]:
    """Those of a device."""
    return WAYS | (ON_GPUS if device.type == "cuda" else {})


def parser() -> argparse.ArgumentParser:
    """What ``make precision`` and ``make gpu`` can be told."""
    made = argparse.ArgumentParser(
        prog="python -m tests.speed.precision", description=__doc__.splitlines()[0]
    )
    made.add_argument("--data", type=Path, help="data root with imagenet/ and models/; BENCH_DATA, or data")
    made.add_argument("--images", type=int, default=96)
    made.add_argument("--lrp-images", type=int, default=16, help="for LRP and partial LRP")
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
    made_of = made_by("make precision", device)  # before anything changes the files
    measured, found, started = ways(device), [], time.monotonic()
    for row in rows(options, measured, device):
        found.append(row)
        took = time.monotonic() - started
        say(f"{took:4.0f} s: {row.reason or ' | '.join(c for c in row.cells(list(measured)) if c)}")
    title = "# How far maps in less than float64 are from those in float64"
    text = "\n\n".join([title, made_of, EXPLANATION, table(found, measured)])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    print(text)
    for complaint in missed(found):
        print(f"missed: {complaint}", file=sys.stderr)
    sys.exit(1 if missed(found) else 0)


if __name__ == "__main__":
    main()
