"""What a map costs, method by method; several classes together; memory."""

import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from bench.runner.resources import RESERVE, Memory, keep_freed_memory
from methods import LRP, GradCAM, PartialLRP, RawAttention, Rollout, TransformerAttribution
from tests.speed.timing import Line, ratios, tf32

UNIT_BATCH = 8
BOUNDED = "vit_base_patch16_224"
PASS = "plain forward pass"
METHODS: dict[str, Callable] = {
    "transformer attribution": TransformerAttribution(),
    "LRP": LRP(),
    "partial LRP": PartialLRP(),
    "GradCAM": GradCAM(),
    "raw attention": RawAttention(),
    "rollout": Rollout(),
}
# Of ViT-B/16 on the CPU at batch 8: relevance in mixed precision, all others in the model's own.
BOUNDS = {
    "transformer attribution": 6.0,
    "LRP": 6.5,
    "partial LRP": 2.5,
    "GradCAM": 1.6,
    "raw attention": 1.1,
    "rollout": 1.1,
}
MIXED = "mixed"
MEMORY_SHARE = 0.6  # of the peak in float64, at most, in mixed precision
# In this order: what mixed precision costs at least follows from float32 and float64.
TYPES = {
    "cpu": ("float32", "float64", MIXED),
    "cuda": ("float32", "tf32", "bfloat16", "float64", MIXED, "mixed, tf32"),
}


def create(architecture: str, device: torch.device) -> nn.Module:
    """A model of random weights: the time does not depend on them."""
    import timm

    torch.manual_seed(0)
    return timm.create_model(architecture).eval().requires_grad_(False).to(device)


def pixels(model: nn.Module, batch: int, device: torch.device) -> Tensor:
    """Random images of the model's size."""
    height, width = model.patch_embed.img_size
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1)).to(device)


class Plain:
    """A plain forward pass without gradients, in a floating point type; in float32 it is the unit, F."""

    def __init__(self, model: nn.Module, images: Tensor, type_: str = "float32"):
        dtype = torch.float64 if type_ == "float64" else torch.float32
        self.model = deepcopy(model).to(dtype) if type_ == "float64" else model
        self.images, self.type = images.to(dtype), type_

    @torch.inference_mode()
    def __call__(self) -> Tensor:
        enabled = self.type == "bfloat16"
        with tf32(self.type == "tf32"), torch.autocast(self.images.device.type, torch.bfloat16, enabled):
            return self.model(self.images)


def of_type(method: Callable, type_: str) -> Callable | None:
    """The method in a floating point type; None if it has no choice of one and this is not the model's."""
    if hasattr(method, "dtype"):
        return replace(method, dtype={"tf32": "float32", "mixed, tf32": MIXED}.get(type_, type_))
    return method if type_ in ("float32", "tf32") else None


def explaining(
    architecture: str,
    batches: list[int],
    repetitions: int,
    device: torch.device,
    unit_batch: int = UNIT_BATCH,
) -> Iterator[Line]:
    """The cost of a map by each method, in each type, at each batch size.

    Args:
        unit_batch: images of the float32 pass in which all is told; 8 would leave a large GPU idle.
    """
    model = create(architecture, device)
    unit = Plain(model, pixels(model, unit_batch, device))
    lines: dict[tuple[str, str, int], Line] = {}
    for type_ in TYPES[device.type]:
        for batch in batches:
            images = pixels(model, batch, device)
            if not type_.startswith(MIXED):
                plain = _plain(architecture, Plain(model, images, type_), unit, repetitions)
                lines[PASS, type_, batch] = plain
                yield plain
            for name, method in METHODS.items():
                if (method := of_type(method, type_)) is None:
                    continue

                def explain(method=method, images=images, type_=type_):
                    with tf32(type_.endswith("tf32")):
                        return method(model, images)

                values, per_batch = ratios(explain, unit, repetitions, device)
                values = [v * unit_batch / batch for v in values]
                usual = type_ == (MIXED if hasattr(method, "dtype") else "float32")
                bounded = usual and (architecture, device.type, batch) == (BOUNDED, "cpu", UNIT_BATCH)
                note = f"{batch / per_batch:.3g} maps per second"
                if type_ == MIXED:
                    least = floor(lines, name, batch)
                    note += f"; floor {least:.2f} F, {statistics.median(values) - least:+.2f} F"
                line = Line(
                    what=name,
                    values=values,
                    model=architecture,
                    type=type_,
                    batch=batch,
                    bound=BOUNDS[name] if bounded else None,
                    seconds=per_batch / batch,
                    note=note,
                )
                lines[name, type_, batch] = line
                yield line


def floor(lines: Mapping[tuple[str, str, int], Line], name: str, batch: int) -> float:
    """What a method costs in mixed precision at least: as in float32, with the forward pass of float64."""
    dearer = lines[PASS, "float64", batch].median - lines[PASS, "float32", batch].median
    return lines[name, "float32", batch].median + dearer


def _plain(architecture: str, subject: "Plain", unit: "Plain", repetitions: int) -> Line:
    """A plain forward pass in another type or at another batch size."""
    batch, device = len(subject.images), subject.images.device
    values, per_batch = ratios(subject, unit, repetitions, device)
    per_image = len(unit.images) / batch
    return Line(
        what=PASS,
        values=[v * per_image for v in values],
        model=architecture,
        type=subject.type,
        batch=batch,
        seconds=per_batch / batch,
        note=f"{batch / per_batch:.3g} images per second",
    )


def hours(lines: Sequence[Line]) -> Iterator[Line]:
    """What the perturbation test of the paper's suite would take at these speeds.

    50,000 images: 19 passes in float32 for each of the 11 cells that differ, and the maps, two of each image
    by the methods that depend on the class, one by the others; no loading, no start.
    """
    cost = {(line.what, line.type, line.batch): line.seconds for line in lines}
    for type_, batch in dict.fromkeys((line.type, line.batch) for line in lines):
        fast = "tf32" if type_.endswith("tf32") else "float32"
        passes = cost[PASS, fast, batch]
        maps = 0.0
        for name, method in METHODS.items():
            per_map = cost[name, type_ if hasattr(method, "dtype") else fast, batch]
            maps += per_map * (2 if getattr(method, "class_specific", True) else 1)
        total = 50_000 * (11 * 19 * passes + maps + passes) / 3600  # the random map takes one pass
        what = "Table 1 of the paper, estimated"
        note = f"{100 * (1 - 11 * 19 * passes * 50_000 / 3600 / total):.0f} % of it maps"
        yield Line(what, [total], "hours", lines[0].model, type_, batch, note=note)


def several_classes(architecture: str, repetitions: int, device: torch.device) -> Line:
    """Ten classes of one image together, in maps of one class."""
    model = create(architecture, device)
    images, method = pixels(model, 1, device), METHODS["transformer attribution"]
    method = of_type(method, MIXED) or method
    values, _ = ratios(
        lambda: method(model, images, torch.arange(10, device=device)[None]),
        lambda: method(model, images),
        repetitions,
        device,
    )
    return Line(
        "ten classes of an image together",
        values,
        "maps of one",
        architecture,
        getattr(method, "dtype", ""),
        1,
        10.0,
    )


def memory(architecture: str, batches: Sequence[int], device: torch.device) -> Iterator[Line]:
    """The most memory that transformer attribution takes, beyond the model, in a process of its own."""
    first = min(batches)
    per_image: dict[tuple[str, int], float] = {}
    for type_ in ("float64", MIXED, "float32"):
        for batch in sorted(batches):
            expected = per_image.get((type_, first), 0.0) * batch
            if expected > RESERVE * Memory(device).free():
                note = f"not tried: it would take about {expected / 1e9:.0f} GB"
                yield Line("peak memory", [float("nan")], "GB", architecture, type_, batch, note=note)
                continue
            peak = _in_a_process(_peak, architecture, batch, type_, str(device))
            per_image[type_, batch] = peak / batch
            note = f"{peak / batch / 1e6:.0f} MB per image, beyond the model"
            yield Line("peak memory", [peak / 1e9], "GB", architecture, type_, batch, note=note)
    share = per_image[MIXED, first] / per_image["float64", first]
    bound = MEMORY_SHARE if (architecture, device.type) == (BOUNDED, "cpu") else None
    yield Line("peak memory of mixed precision", [share], "of float64's", architecture, MIXED, first, bound)


def _in_a_process(function: Callable, *arguments) -> float:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _peak(architecture: str, batch: int, type_: str, device: str) -> float:
    keep_freed_memory()
    model = create(architecture, torch.device(device))
    images = pixels(model, batch, torch.device(device))
    used = Memory(torch.device(device))
    replace(METHODS["transformer attribution"], dtype=type_)(model, images)
    return used.peak() - used.before
