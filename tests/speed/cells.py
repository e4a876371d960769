"""What whole cells cost: the perturbation test beside its forward passes, long against short, the start."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from bench.config import PROJECT, configuration, quoted
from bench.data import ImageNet, ImageSample
from bench.report.page import write
from bench.runner.cell import run
from bench.store.cells import cells_folder, results
from tests.speed.explaining import UNIT_BATCH, Plain, create, pixels
from tests.speed.timing import Line, seconds
from tests.support.many_methods import COUNT, fill

PASSES = 19
REPORTED = 300  # samples of each cell on the page
START = """
import bench
from bench.config import configuration
from bench.runner.cell import run
run(configuration(["task={task}", "method=rollout", "limit=1", "paths.results={results}"]))
print("ready", flush=True)
"""
# The libraries without which neither model nor command line works.
LIBRARIES = {
    "perturbation": "import bench, timm, hydra, pandas",
    "token_f1": "import bench, hydra, pandas\nfrom transformers import AutoTokenizer, BertForSequenceClassification",
}


def brightness(forward, inputs: Tensor, target: Tensor) -> Tensor:
    """A map that costs nothing, (batch, height, width): what is left of a cell is the test itself."""
    return inputs.mean(dim=1)


def brightness_method():
    """For ``method._target_``."""
    return brightness


class Repeated:
    """The embedded images, again and again.

    Args:
        path: of an ImageNet-like folder.
        count: how many samples.
    """

    def __init__(self, path: str | Path, count: int):
        self.dataset, self.count = ImageNet(path), count
        self.classes, self.files = self.dataset.classes, self.dataset.files
        self.ids = [f"{index:06d}" for index in range(count)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> ImageSample:
        sample = self.dataset[index % len(self.dataset)]
        return replace(sample, id=self.ids[index])


class _Photographs:
    """Noise, stored as JPEG files of a photograph's size."""

    classes = None

    def __init__(self, path: str | Path):
        self.files = sorted(Path(path).glob("*.jpg"))
        self.ids = [file.stem for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> ImageSample:
        return ImageSample(self.ids[index], Image.open(self.files[index]).convert("RGB"), 0, None)


def photographs(folder: Path, count: int) -> str:
    """Writes ``count`` of them."""
    random = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (25, 33, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{i:04d}.jpg", quality=90)
    return str(folder)


def perturbation(
    architecture: str, images: int, batch: int, repetitions: int, device: torch.device, scratch: Path
) -> Line:
    """A whole perturbation cell in the plain forward passes it must do: 19 per image.

    Reading, decoding, resizing, ranking, masking, scoring: all but explaining.
    """
    model = create(architecture, device)
    folder = scratch / f"photographs{images}"
    folder.mkdir(exist_ok=True)
    checkpoint = scratch / f"{architecture}.safetensors"
    save_file({name: t.cpu() for name, t in model.state_dict().items()}, checkpoint)
    config = configuration(
        [
            "task=perturbation",
            "method=custom",
            "method._target_=tests.speed.cells.brightness_method",
            "dataset._target_=tests.speed.cells._Photographs",
            f"dataset.path={photographs(folder, images)}",
            "~dataset.split",
            "model=timm",
            f"model.architecture={architecture}",
            f"model.checkpoint={checkpoint}",
            f"paths.results={scratch / architecture}",
            f"batch_size={batch}",
            f"num_workers={0 if device.type == 'cpu' else 8}",
            f"device={device}",
            "rerun=true",
        ]
    )
    unit, values = Plain(model, pixels(model, batch, device)), []
    unit()
    for _ in range(repetitions):
        before = min(seconds(unit, device) for _ in range(3))
        run(config)
        after = min(seconds(unit, device) for _ in range(3))
        must = PASSES * images / batch * (before + after) / 2
        values.append(seconds_of(config) / must)
    note = f"{images / (must * values[-1]):.3g} images per second"
    what = "perturbation cell"
    return Line(what, values, "of its passes", architecture, "float32", batch, bound=1.10, note=note)


def seconds_of(config: Mapping[str, Any]) -> float:
    """How long the only cell of masking in the store of a configuration took."""
    (result,) = results(cells_folder(config), "masking")
    return result.record["seconds"]


def scaling(repetitions: int, counts: tuple[int, int], scratch: Path) -> Line:
    """Cost per image of one long cell in that of short ones: the embedded model on embedded images."""

    def per_image(count: int) -> float:
        config = configuration(
            [
                "task=perturbation",
                "method=raw_attention",
                "dataset._target_=tests.speed.cells.Repeated",
                f"+dataset.count={count}",
                "~dataset.split",
                "protocol.perturbation.steps=[0,0.5]",
                f"paths.results={scratch / str(count)}",
                "device=cpu",
                "rerun=true",
            ]
        )
        run(config)
        return seconds_of(config) / count

    short, long = counts
    before = [per_image(short) for _ in range(repetitions)]
    longs = per_image(long)
    after = [per_image(short) for _ in range(repetitions)]
    values = [longs / ((a + b) / 2) for a, b in zip(before, after, strict=True)]
    what = f"an image of {long:,} against one of {short:,}"
    note = f"{1000 * longs:.1f} ms per image"
    return Line(what, values, "×", "vit_digits", "float32", UNIT_BATCH, bound=1.1, note=note)


def report(repetitions: int, scratch: Path) -> Line:
    """The page of three tasks of 25 methods each, of its tables, figures and cells, without a gallery."""
    results, page = scratch / "report", scratch / "page.html"
    fill(results, REPORTED)
    values = []
    for _ in range(repetitions):
        started = time.process_time()
        write([f"paths.results={quoted(results)}"], 0, 0, output=str(page))
        values.append(time.process_time() - started)
    note = f"{page.stat().st_size / 1e6:.1f} MB; {REPORTED} samples a cell"
    return Line(f"report of {COUNT} methods, 3 tasks, no gallery", values, "s of CPU", bound=60.0, note=note)


def start(repetitions: int, scratch: Path) -> Iterator[Line]:
    """From the start of a program to its first sample, on the embedded suite, in imports of its libraries."""
    for task, libraries in LIBRARIES.items():
        values = []
        for i in range(repetitions + 1):
            imports = _until_ready(f"{libraries}\nprint('ready', flush=True)")
            whole = _until_ready(START.format(task=task, results=scratch / f"start{i}"))
            values.append(whole / imports)
        # The first one reads files that no later one has to read again.
        note = f"imports alone: {imports:.2f} s"
        yield Line(f"start to the first sample, {task}", values[1:], "× the imports", bound=2.0, note=note)


def _until_ready(code: str) -> float:
    """Seconds until a program says so."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=PROJECT
    ) as process:
        if not any(line.strip() == b"ready" for line in process.stdout):
            raise RuntimeError(f"this program does not get ready:\n{code}")
        return time.perf_counter() - started
