"""What a map costs, method by method; several classes together; memory."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
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
# Of ViT-B/16 on the CPU, by batch size, in the type that a method takes unless told otherwise.
BOUNDS = {
    "transformer attribution": {8: 4.5, 1: 5.5},
    "LRP": {8: 6.0},
    "partial LRP": {8: 2.0},
    "GradCAM": {8: 1.6},
    "raw attention": {8: 1.1},
    "rollout": {8: 1.1},
}
TYPES = {"cpu": ("float64", "float32"), "cuda": ("float64", "float32", "tf32", "bfloat16")}


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
    """The unit: a plain forward pass without gradients, in a floating point type."""

    def __init__(self, model: nn.Module, images: Tensor, type_: str):
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
        return replace(method, dtype="float32" if type_ == "tf32" else type_)
    return method if type_ in ("float32", "tf32") else None


def explaining(
    architecture: str, batches: list[int], repetitions: int, device: torch.device
) -> Iterator[Line]:
    """The cost of a map by each method, in each type, at each batch size."""
    model = create(architecture, device)
    for type_ in TYPES[device.type]:
        unit = Plain(model, pixels(model, UNIT_BATCH, device), type_)
        for batch in batches:
            yield _plain(architecture, Plain(model, pixels(model, batch, device), type_), unit, repetitions)
            for name, method in METHODS.items():
                if (method := of_type(method, type_)) is None:
                    continue
                forward, images = unit.model, pixels(model, batch, device).to(unit.images.dtype)

                def explain(method=method, forward=forward, images=images, type_=type_):
                    with tf32(type_ == "tf32"):
                        return method(forward, images)

                values, per_batch = ratios(explain, unit, repetitions, device)
                usual = getattr(METHODS[name], "dtype", "float32") == type_
                bounded = architecture == BOUNDED and device.type == "cpu" and usual
                note = f"{batch / per_batch:.3g} maps per second"
                if hasattr(method, "dtype") and type_ != "float64":
                    exact = replace(method, dtype="float64")(model, images).double().flatten(1)
                    off = (explain().double().flatten(1) - exact).norm(dim=1) / exact.norm(dim=1)
                    note += f"; off by {100 * off.max():.2g} % of float64"
                yield Line(
                    what=name,
                    values=[v * UNIT_BATCH / batch for v in values],
                    model=architecture,
                    type=type_,
                    batch=batch,
                    bound=BOUNDS[name].get(batch) if bounded else None,
                    seconds=per_batch / batch,
                    note=note,
                )


def _plain(architecture: str, subject: "Plain", unit: "Plain", repetitions: int) -> Line:
    """A plain forward pass at another batch size."""
    batch, device = len(subject.images), subject.images.device
    values, per_batch = ratios(subject, unit, repetitions, device)
    return Line(
        what=PASS,
        values=[v * UNIT_BATCH / batch for v in values],
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
        fast = "tf32" if type_ == "tf32" else "float32"
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
    values, _ = ratios(
        lambda: method(model, images, torch.arange(10, device=device)[None]),
        lambda: method(model, images),
        repetitions,
        device,
    )
    return Line("ten classes of an image together", values, "maps of one", architecture, "float64", 1, 10.0)


def memory(architecture: str, batches: Sequence[int], device: torch.device) -> Iterator[Line]:
    """The most memory that transformer attribution takes, beyond the model, in a process of its own."""
    for type_ in ("float64", "float32"):
        per_image = 0.0
        for batch in sorted(batches):
            if per_image * batch > RESERVE * Memory(device).free():
                note = f"not tried: it would take about {per_image * batch / 1e9:.0f} GB"
                yield Line("peak memory", [float("nan")], "GB", architecture, type_, batch, note=note)
                continue
            peak = _in_a_process(_peak, architecture, batch, type_, str(device))
            per_image = peak / batch
            note = f"{per_image / 1e6:.0f} MB per image, beyond the model"
            yield Line("peak memory", [peak / 1e9], "GB", architecture, type_, batch, note=note)


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
