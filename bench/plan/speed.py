"""How large the models of a plan are, and how fast they run here."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from bench.config import build
from bench.data import ImageSample, TextSample
from bench.errors import BenchError, first_line
from bench.models import Model
from bench.models.base import Inputs
from bench.models.build import build_model
from bench.runner.costs import Shape, of_map
from bench.runner.explain import explain, with_prefix_tokens
from bench.runner.resources import Memory, device_of
from methods.relevance import Tape
from methods.verify import for_check

SECONDS = 10.0  # that plain passes are timed for
TEXT_WORDS = 600  # more than models take
BATCH = 8  # samples in a pass, where the setting is auto


@dataclass
class Machine:
    """A model as it runs here.

    Attributes:
        shape: its size.
        model: itself; None where its weights are not at hand.
        rate: plain forward passes per second.
        memory: bytes of the process at its peak, with what a batch keeps for a backward pass; None if nothing was run.
        batch_size: of these passes.
        device: where.
        note: what else a reader must know.
    """

    shape: Shape
    model: Model | None
    rate: float
    memory: int | None
    batch_size: int
    device: str
    note: str = ""


def machine_of(config: Mapping[str, Any], rate: float | None) -> Machine:
    """The model of a configuration as it runs here; one that is not at hand is stood in for by one of its size.

    Args:
        rate: plain passes per second, if they are not to be measured.

    Raises:
        BenchError: if it is not at hand, and nobody says how large it is.
    """
    section, device = config["model"], device_of(config["device"])
    size = BATCH if config["batch_size"] == "auto" else config["batch_size"]
    stated, settings = section.get("expected_shape"), config["task"]["inputs"]
    if stated is not None and rate is not None:
        return Machine(_stated(stated, config), None, rate, None, size, "given")
    try:
        model = build_model(section).to(device)
    except BenchError as e:
        if stated is None:
            raise BenchError(
                f"{e}. To plan without the model, say how large it is: "
                "'+model.expected_shape={tokens: 197, blocks: 12, width: 768}'"
            ) from e
        note = f"{section['title']} is not at hand: timed on an encoder of the same size with random weights"
        shape = _stated(stated, config)
        module = _stand_in(shape).to(device)
        inputs = torch.zeros(size, shape.tokens, shape.width, device=device)
        return Machine(shape, None, *_timed(module, inputs, size, device, rate), size, str(device), note)
    model.check(settings)
    sample = sample_for(model)
    batch = model.batch([model.preparation(settings)(sample)] * size, settings)
    shape = shape_of(model, batch, stated)
    return Machine(shape, model, *_timed(model.forward, batch.inputs, size, device, rate), size, str(device))


def sample_for(model: Model) -> ImageSample | TextSample:
    """A sample of a model's kind that says nothing: a grey image, or a text of more words than it takes."""
    if model.modality == "image":
        return ImageSample("grey", Image.new("RGB", (256, 256), (128, 128, 128)), 0, None)
    return TextSample("words", ["word"] * TEXT_WORDS, 0, np.zeros(TEXT_WORDS, dtype=bool))


def shape_of(model: Model, batch: Any, stated: Mapping[str, int] | None) -> Shape:
    """How large a model is, found by running it on a batch."""
    one = _first(batch.inputs)
    width = stated["width"] if stated else None
    try:
        attentions = Tape.record(model.forward, one, backward=False).attentions
        blocks = len(attentions)
    except ValueError as e:
        if stated is None:
            raise BenchError(f"model: its blocks cannot be counted ({first_line(e)})") from e
        blocks = stated["blocks"]
    if batch.words is None:
        (rows, columns), (height, width_of_image) = model.grid, batch.inputs.shape[-2:]
        tokens = model.prefix_tokens + rows * columns
        return Shape(tokens, blocks, width, int(height * width_of_image), model.prefix_tokens)
    return Shape(int(batch.words.shape[1]), blocks, width, prefix=int((batch.words[0] < 0).sum()))


def _first(inputs: Inputs) -> Inputs:
    return {k: v[:1] for k, v in inputs.items()} if isinstance(inputs, Mapping) else inputs[:1]


def _stated(stated: Mapping[str, int], config: Mapping[str, Any]) -> Shape:
    of_images = config["task"]["modality"] == "image"
    pixels = config["task"]["inputs"]["size"] ** 2 if of_images else 0
    return Shape(stated["tokens"], stated["blocks"], stated["width"], pixels, 1 if of_images else 2)


def _stand_in(shape: Shape) -> nn.Module:
    """An encoder as large as a model, with heads of 64 numbers, which takes its tokens."""
    heads = max(1, shape.width // 64)
    layer = nn.TransformerEncoderLayer(
        shape.width, heads, 4 * shape.width, activation="gelu", batch_first=True
    )
    return nn.TransformerEncoder(layer, shape.blocks, enable_nested_tensor=False).eval()


def _timed(
    forward: Callable, inputs: Inputs, size: int, device: torch.device, rate: float | None
) -> tuple[float, int]:
    """Plain passes per second, measured unless they are given, and the peak memory of one that keeps what it needs."""
    memory = Memory(device)
    with torch.enable_grad():
        forward(inputs)
    peak = memory.peak()
    if rate is not None:
        return rate, peak
    with torch.inference_mode():
        forward(inputs)  # the first is slower
        started, done, spent = _now(device), 0, 0.0
        while spent < SECONDS:
            forward(inputs)
            done, spent = done + size, _now(device) - started
    return done / spent, peak


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def factor_of(machine: Machine, config: Mapping[str, Any], backward: float) -> float | None:
    """How many times longer a map takes than the passes that its method states, timed with few draws.

    Args:
        backward: plain passes that a backward pass counts for.

    Returns:
        None where no map can be made here: the weights are not at hand, or the method refuses.
    """
    if machine.model is None:
        return None
    model, settings = machine.model, config["task"]["inputs"]
    sample = model.preparation(settings)(sample_for(model))
    batch = model.batch([sample] * machine.batch_size, settings)
    method = for_check(with_prefix_tokens(build("method", config["method"]), model, config["method"]))
    target = torch.zeros(machine.batch_size, dtype=torch.long, device=model.device)
    plain = of_map(method, machine.shape).plain(backward)
    if not plain:
        return None
    try:
        explain(method, model, batch, target, range(len(model.classes)))
        started = _now(model.device)
        explain(method, model, batch, target, range(len(model.classes)))
        spent = _now(model.device) - started
    except BenchError:
        return None
    return spent / machine.batch_size * machine.rate / plain
