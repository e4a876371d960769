"""Which model families the methods work on: ``python -m tests.families`` writes ``results/models.md``.

Every family of :mod:`tests.families.families` is built with random weights and explained by every method.
Nothing is downloaded. The times are those of the machine it runs on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from bench.cli import say
from bench.config import PROJECT
from methods import LRP, GradCAM, PartialLRP, RawAttention, Rollout, TransformerAttribution
from methods.relevance import PROPOSED, Tape
from tests.families.families import FAMILIES, SMALL, TINY, Example, Family
from tests.support.conservation import conservation

METHODS = {
    "transformer attribution": TransformerAttribution(start_layer=0),
    "raw attention": RawAttention(),
    "rollout": Rollout(start_layer=0),
    "GradCAM": GradCAM(weights="matrix"),
    "LRP": LRP(),
    "partial LRP": PartialLRP(),
}
SMALLER = ("float32", "bfloat16")


@dataclass(frozen=True)
class Verdict:
    """What was found out about a family.

    Attributes:
        refused: the methods that do not work on it, and why.
        logits_error: greatest difference of the logits under the tape from the model's own, relative.
        variants_error: greatest difference of transformer attribution between the variants, relative.
        conservation_error: relevance that the operations lose or gain on the way from a logit, where 1 is
            put, to the first block's attention; without what is dropped on purpose.
        deviation: relative difference of transformer attribution in a smaller type from that in float64.
        dropped: the relevance that constants take which are added on that way (biases of attention, masks,
            position embeddings): the rules give it to nobody.
    """

    refused: dict[str, str] = field(default_factory=dict)
    logits_error: float = float("nan")
    variants_error: float = float("nan")
    conservation_error: float = float("nan")
    dropped: float = float("nan")
    deviation: dict[str, float] = field(default_factory=dict)


def verdict(family: Family) -> Verdict:
    """Try every method on the tiny example of a family, in float64."""
    examples = [double(family.build(TINY, variant)) for variant in family.variants]
    example = examples[0]
    refused = {name: reason for name, method in METHODS.items() if (reason := refusal(method, example))}
    if "transformer attribution" in refused:
        return Verdict(refused)
    method = METHODS["transformer attribution"]
    maps = [method(e.forward, e.inputs) for e in examples]
    lost, dropped = conservation(
        Tape.record(example.forward, example.inputs, dtype="float64"), None, PROPOSED
    )
    smaller = {d: replace(method, dtype=d)(example.forward, example.inputs) for d in SMALLER}
    return Verdict(
        refused,
        logits_error=logits_error(example),
        variants_error=max(difference(other, maps[0]) for other in maps),
        conservation_error=lost,
        dropped=dropped,
        deviation={dtype: difference(relevance, maps[0]) for dtype, relevance in smaller.items()},
    )


def double(example: Example) -> Example:
    """The same in double precision."""
    example.module.double()
    inputs = example.inputs.double() if isinstance(example.inputs, Tensor) else example.inputs
    return Example(example.forward, inputs, example.module)


def refusal(method: Callable, example: Example) -> str | None:
    """Why a method does not explain an example; None if it does.

    Raises:
        ValueError: whatever is no refusal by the method.
    """
    try:
        relevance = method(example.forward, example.inputs)
    except ValueError as e:  # NoRuleError, NoAttentionError, RefusedError and maps that cannot be rolled up
        return str(e)
    return None if relevance.isfinite().all() else "the map is not finite"


def logits_error(example: Example) -> float:
    """How far the logits under the tape are from those of the model alone."""
    with torch.no_grad():
        expected = example.forward(example.inputs)
    return difference(Tape.record(example.forward, example.inputs, dtype="float64").logits, expected)


def difference(ours: Tensor, expected: Tensor) -> float:
    """‖ours − expected‖ / ‖expected‖, 0 where both are 0."""
    return ((ours - expected).norm() / expected.norm().clamp(min=1e-300)).item()


def cost(family: Family, repetitions: int = 3) -> float:
    """Time of transformer attribution in float64 over that of a plain forward pass in float32."""
    example = family.build(SMALL, family.variants[0])

    def seconds(call: Callable) -> float:
        times = []
        for _ in range(repetitions + 1):  # the first warms up
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        return min(times[1:])

    with torch.no_grad():
        forward = seconds(lambda: example.forward(example.inputs))
    return seconds(lambda: METHODS["transformer attribution"](example.forward, example.inputs)) / forward


def table(families: Sequence[Family]) -> str:
    """The table of families in markdown, with the reasons of refusals below it."""
    head = [
        "family",
        "example",
        *METHODS,
        "conservation error",
        "dropped at constants",
        "variants differ",
        *(f"{dtype} differs" for dtype in SMALLER),
        "cost",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + ":--|" * 2 + ":-:|" * len(METHODS) + "--:|" * 6]
    reasons: list[str] = []
    for family in families:
        say(family.name)
        found = verdict(family)
        marks = []
        for name in METHODS:
            reason = found.refused.get(name)
            if reason is not None and reason not in reasons:
                reasons.append(reason)
            marks.append("yes" if reason is None else f"no ({reasons.index(reason) + 1})")
        works = "transformer attribution" not in found.refused
        numbers = [
            f"{found.conservation_error:.0e}",
            f"{found.dropped:.2f}",
            f"{found.variants_error:.0e}" if len(family.variants) > 1 else "–",
            *(f"{found.deviation[dtype]:.0e}" for dtype in SMALLER if works),
            f"{cost(family):.1f} ×" if works else "–",
        ]
        numbers = numbers if works else ["–"] * 6
        lines.append("| " + " | ".join([family.name, f"`{family.example}`", *marks, *numbers]) + " |")
    listed = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join(["\n".join(lines), "", "Reasons:", "", *listed]) + "\n"


INTRODUCTION = """# Model families

Made by `make models` from unmodified classes of timm, transformers and torch with random weights
(`bench/families.py`), all methods in float64.

- *Conservation error*: relevance that operations lose or gain on the way from a logit, where 1 is put, to the
  first block's attention, under the proposed rules.
- *Dropped at constants*: the part that position embeddings, attention masks and biases of scores would get;
  the rules give it to nobody.
- *Variants differ*: transformer attribution with fused against unfused attention (timm), sdpa against eager
  (transformers), relative.
- *float32, bfloat16 differ*: transformer attribution in these types (`method.dtype`; bfloat16: forward pass
  under autocast, relevance in float32) from that in float64, relative.
- *Cost*: transformer attribution (float64) in plain forward passes (float32), at a width of {width} and
  {blocks} blocks, on {device}.

"""


def main() -> None:
    """Write the table."""
    device = f"{torch.get_num_threads()} CPU threads"
    text = INTRODUCTION.format(width=SMALL.width, blocks=SMALL.blocks, device=device) + table(FAMILIES)
    path = Path(PROJECT) / "results" / "models.md"
    path.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
