"""The parts of ``make gpu``: each yields lines of markdown as it finds them, and adds to a list what must not be."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import torch
from torch import Tensor

from tests.speed.explaining import MIXED, UNIT_BATCH, Plain, create, explaining, pixels
from tests.speed.timing import Line, ratios, seconds, tf32, written

SLOW = 8.0  # times float32, from which on float64 is slow
PER_IMAGE = 0.8e9  # bytes of ViT-B/16 in float64, the dearest
PRODUCT = 4096  # rows and columns of the matrices that are multiplied


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + ":--|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


# --- goldens


def goldens(options: argparse.Namespace, device: torch.device, missed: list[str]) -> Iterator[str]:
    """The small models of ``tests/golden``, whose weights are float32, with what the CPU's tests allow.

    ViT has its images in float64. Mixed precision with TF32 is measured with the methods that have a choice.
    """
    from tests.support import goldens as known

    ways = {"float64": ("float64", False), MIXED: (MIXED, False)}
    if device.type == "cuda":
        ways["mixed, tf32"] = (MIXED, True)
    vit, golden = known.vit().to(device), known.vit_golden()
    bert, texts = known.bert().to(device), known.bert_golden()

    def of_vit(name, method):
        images = golden["images"][: len(golden[name])].to(device)
        return known.error(known.vit_map(name, method, vit, images, golden["targets"]), golden[name])

    def of_bert(name, method, target):
        return max(known.bert_errors(name, method, target, bert, texts))

    cases = [(f"ViT, {name}", method, (of_vit, name)) for name, method in known.VIT_CASES]
    cases += [(f"BERT, {n}", method, (of_bert, n, target)) for n, method, target in known.BERT_CASES]

    def rows():
        for title, method, (error, name, *target) in cases:
            cells = []
            for way, (dtype, rounded) in ways.items():
                if known.in_models_precision(method):
                    cells.append("–")
                    continue
                with tf32(rounded):
                    found = error(name, replace(method, dtype=dtype), *target)
                cells.append(f"{found:.0e}")
                allowed = known.FLOAT32 if rounded else known.FLOAT64
                if not found <= allowed:
                    missed.append(f"{title}, {way}: off by {found:.1e}, {allowed:.0e} is allowed")
            if known.in_models_precision(method):
                with tf32(False):
                    found = error(name, method, *target)
                if not found <= known.FLOAT32:
                    missed.append(f"{title}: off by {found:.1e}, {known.FLOAT32:.0e} is allowed")
            cells.append(f"{found:.0e}" if known.in_models_precision(method) else "–")
            yield [title, *cells]

    yield (
        "Largest ‖map − reference‖ / ‖reference‖ of the maps. Allowed: "
        f"{known.FLOAT64:.0e} in float64 and mixed precision, {known.FLOAT32:.0e} with TF32 and in float32."
    )
    yield ""
    yield from _table(["golden", *ways, "float32 (methods without a type)"], rows())


# --- deviations


def deviations(options: argparse.Namespace, device: torch.device, missed: list[str]) -> Iterator[str]:
    """The table of ``make precision``, on this device."""
    from tests.speed import precision

    ways = precision.ways(device)
    chosen = SimpleNamespace(
        data=options.data, images=options.images, lrp_images=options.images, checkpoint=None
    )
    found = []

    def rows():
        for row in precision.rows(chosen, ways, device):
            found.append(row)
            yield row.cells(list(ways)) if not row.reason else [row.model, row.data, row.reason]

    yield precision.EXPLANATION
    yield from _table(precision.head(ways), rows())
    missed += precision.missed(found)


# --- speed


def maps(options: argparse.Namespace, device: torch.device, missed: list[str]) -> Iterator[str]:
    """Maps per second by each method, in plain forward passes in float32; weights are random."""
    yield _factor(device)
    batch = _batch(options, device)
    yield (
        f"F is a plain forward pass in float32 per image at batch {batch}, without gradients. Random weights: they "
        "serve for speed alone. *mixed, tf32*: the products that are read backwards round their factors to 10 bits."
    )
    yield ""
    found = explaining(options.model, [batch], options.repetitions, device, unit_batch=batch)
    yield from written(found)


def _factor(device: torch.device) -> str:
    """How much dearer float64 is than float32, and what to do if it is much."""

    def product(dtype: torch.dtype) -> float:
        size = PRODUCT if device.type == "cuda" else PRODUCT // 8
        matrix = torch.randn(size, size, dtype=dtype, device=device)
        with tf32(False):
            matrix @ matrix
            return min(seconds(lambda: matrix @ matrix, device) for _ in range(3))

    factor = product(torch.float64) / product(torch.float32)
    text = f"A product of matrices takes {factor:.1f} times as long in float64 as in float32."
    if factor > SLOW:
        text += (
            " Float64 is slow on this card, and so is mixed precision, whose forward pass is in float64: "
            "`method.dtype=float32` is the way out, at the deviations above."
        )
    return text


def _batch(options: argparse.Namespace, device: torch.device) -> int:
    if options.batch is not None:
        return options.batch
    if device.type != "cuda":
        return UNIT_BATCH
    free = torch.cuda.mem_get_info(device)[0]
    return max(1, min(64, 1 << max(0, int(free * 0.8 / PER_IMAGE).bit_length() - 1)))


# --- perturbation


def perturbation(options: argparse.Namespace, device: torch.device, missed: list[str]) -> Iterator[str]:
    """Masking and scoring on the device, in the plain forward passes that it must do; no map, no reading."""
    batch = _batch(options, device)
    yield (
        f"Ranking, masking, normalising and {PASSES} forward passes of each image at batch {batch}, in as many plain "
        "forward passes of the same type: 1.00 if all else were free. Images are random, and nothing is read."
    )
    yield ""
    yield from written(_masking(options, batch, device))


PASSES = 18  # nine in each direction; the clean image's is done before


def _masking(options: argparse.Namespace, batch: int, device: torch.device) -> Iterator[Line]:
    from bench.models import Batch, ImageClassifier, Maps
    from bench.tasks import Explanations, Masking

    module = create(options.model, torch.device("cpu"))
    images = pixels(module, batch, device)
    size = tuple(images.shape[-2:])

    class Typed(ImageClassifier):
        """Runs its forward pass in one of the types of :class:`Plain`."""

        def forward(self, inputs: Tensor) -> Tensor:
            bfloat16 = torch.autocast(device.type, torch.bfloat16) if type_ == "bfloat16" else nullcontext()
            with tf32(type_ == "tf32"), bfloat16:
                return self.module(inputs).float()

    classes = [str(i) for i in range(module.num_classes)]
    mean = std = (0.5, 0.5, 0.5)
    model = Typed(module, "random weights", size, module.patch_embed.grid_size, 1, classes, mean, std).to(
        device
    )
    samples = [SimpleNamespace(id=str(i), image=image) for i, image in enumerate(images.sigmoid())]
    patches = torch.rand(batch, *model.grid, generator=torch.Generator().manual_seed(0)).to(device)
    none = torch.zeros(batch, dtype=torch.long, device=device)
    explanations = Explanations(
        model=model,
        batch=Batch(samples, model.normalise(torch.stack([s.image for s in samples]))),
        numbers=range(len(classes)),
        predictions=none,
        maps=Maps(patches, patches.new_zeros(batch, 0), none),
    )
    masking = Masking(steps=[i / 10 for i in range(1 + PASSES // 2)], fill="black")
    for type_ in ("float32", "tf32", "bfloat16") if device.type == "cuda" else ("float32", "bfloat16"):
        plain = Plain(module, images, type_)
        values, took = ratios(lambda: masking.measure(explanations), plain, options.repetitions, device)
        values = [v / PASSES for v in values]
        note = f"{batch / took:.3g} images per second"
        yield Line("perturbation test", values, "of its passes", options.model, type_, batch, note=note)
