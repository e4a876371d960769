"""What is found out about a family: which methods explain it rightly, which refuse it, and whether one is wrong."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

import bench.runner.checks
from bench.catalogue import Catalogue
from bench.config import DESCRIPTION, build
from methods import Patches, Words, verify
from methods.relevance import PROPOSED, Tape
from methods.verify import Widened
from tests.families.family import END, PATCH, VOCABULARY, Example, Family

CHECKS = ("logits", "alone", "gradient", "conserved")  # of methods.verify, those whose figure is an error
VARIANTS, MIXED, DROPPED = "variants", "mixed", "dropped"
# The largest differences between maps of variants, and of maps in mixed precision from those in float64: beyond that
# the benchmark refuses mixed precision.
LIMITS = {VARIANTS: 1e-4, MIXED: bench.runner.checks.MIXED}
# Settings that say nothing in a model of a class token's own protocol: all blocks, and whatever row is read.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "transformer_attribution": {"start_layer": 0},
    "rollout": {"start_layer": 0},
    "gradcam": {"weights": "matrix"},
    # The authors' settings are for 12 blocks; these models have two.
    "tam": {"start_layer": 0},
    "beyond_intuition_head": {"start_layer": 0},
    "beyond_intuition_token": {"start_layer": 0},
}
EXPLAINED, EXPLAINED_IN_FLOAT64, REFUSED = "explained", "explained in float64", "refused"
WRONG, FAILED = "wrong", "failed"


@dataclass(frozen=True)
class Answer:
    """What a method does with a family.

    Attributes:
        kind: ``explained``; ``explained in float64``, where the benchmark refuses mixed precision, with how much
            that is off; ``refused``, with the reason; ``wrong``, a map that misses a check, with how; or
            ``failed``, with an error that is no refusal.
    """

    kind: str
    reason: str = ""


@dataclass
class Verdict:
    """What was found out about a family.

    Attributes:
        answers: by the title of the method.
        figures: the largest of each check, over the methods that explain the family; what a check did not
            concern is left out. ``variants``: of the maps of another variant from those of the first.
            ``mixed``: of maps in mixed precision from those in float64. ``dropped``: no error, but the share
            of relevance that position embeddings, masks and biases of scores take under the proposed rules.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def faults(self) -> dict[str, str]:
        """What must not be, by the title of the method."""
        return {title: a.reason for title, a in self.answers.items() if a.kind in (WRONG, FAILED)}

    @property
    def explaining(self) -> int:
        """How many methods explain the family."""
        return sum(a.kind in (EXPLAINED, EXPLAINED_IN_FLOAT64) for a in self.answers.values())

    def keep(self, name: str, value: float) -> None:
        """Remember a figure if it is the largest."""
        self.figures[name] = max(value, self.figures.get(name, 0.0))


def methods(names: set[str] | None = None) -> dict[str, Callable]:
    """The methods of ``conf/method`` by their titles, in the order of the tables; of each class the first.

    Settings that depend on a protocol are left at the class's own.

    Args:
        names: only these files.
    """
    catalogue, found, classes = Catalogue(), {}, set()
    for name in sorted(catalogue.names("method"), key=lambda name: catalogue.method(name).order):
        facts, section = catalogue.method(name), catalogue.read("method", name)
        target = str(section["_target_"])
        if facts.kind != "method" or not target.startswith("methods.") or target in classes:
            continue
        classes.add(target)
        if names is None or name in names:
            own = {key: value for key, value in section.items() if key not in DESCRIPTION and key != "dtype"}
            fixed = {key: value for key, value in own.items() if "${" not in str(value)}
            arguments = fixed | SETTINGS.get(name, {})
            found[facts.title] = build("method", {"_target_": target} | arguments)
    return found


def judge(family: Family, chosen: Mapping[str, Callable]) -> Verdict:
    """Try methods on a family; no error of one keeps the others from being tried."""
    found = Verdict()
    try:
        examples = {variant: family.build(variant) for variant in family.variants}
    except Exception as e:
        failed = Answer(FAILED, f"the model cannot be built: {_error(e)}")
        return Verdict(dict.fromkeys(chosen, failed))
    for title, method in chosen.items():
        try:
            found.answers[title] = _answer(examples, method, found)
        except Exception as e:
            found.answers[title] = Answer(FAILED, _error(e))
    if found.explaining:
        found.figures |= _dropped(next(iter(examples.values())))
    return found


def _answer(examples: Mapping[str, Example], method: Callable, found: Verdict) -> Answer:
    """Raises whatever is no refusal."""
    example = next(iter(examples.values()))
    method = told(method, example)
    try:
        figures = verify(method, example.forward, example.inputs).figures
        compared = _compared(list(examples.values()), method)
    except ValueError as e:  # a model or settings that the method cannot handle
        if re.search(r"misses the check '\w+'", str(e)):
            return Answer(WRONG, _sentence(str(e)))
        # An error of torch's, in a message of ours: nobody has decided to refuse this.
        return Answer(FAILED if isinstance(e.__cause__, RuntimeError) else REFUSED, _sentence(str(e)))
    for name in CHECKS:
        if isinstance(figures[name], float):
            found.keep(name, figures[name])
    kind, reason = EXPLAINED, ""
    for name, figure in compared.items():
        if figure <= LIMITS[name]:
            found.keep(name, figure)
            continue
        reason = f"{_COMPARED[name]} by {figure:.1e}, where {LIMITS[name]:.0e} is allowed"
        if name == VARIANTS:
            found.keep(name, figure)
            return Answer(WRONG, reason)
        kind = EXPLAINED_IN_FLOAT64
    return Answer(kind, reason)


_COMPARED = {
    VARIANTS: "the maps of two variants of the same model differ",
    MIXED: "the map in mixed precision differs from that in float64",
}


def _compared(examples: Sequence[Example], method: Callable) -> dict[str, float]:
    """How far maps of other variants, and in mixed precision, are from the map in float64."""
    if hasattr(method, "for_check"):
        method = method.for_check()
    first, *others = examples
    exact = _exact(method, first)
    found = {}
    if others and getattr(method, "reproducible", True):
        found[VARIANTS] = max(difference(_exact(method, other), exact) for other in others)
    if _has(method, "dtype"):
        # Of the model as it is: what it computes in a type of its own (tables of sines) stays what it is.
        mixed, whole = (replace(method, dtype=d)(first.forward, first.inputs) for d in ("mixed", "float64"))
        found[MIXED] = difference(mixed.double(), whole.double())
    else:
        method(first.forward, first.inputs)  # refused, if it is in the model's own type alone
    return found


def _exact(method: Callable, example: Example) -> Tensor:
    """The map with everything in float64, the model's weights included."""
    method = replace(method, dtype="float64") if _has(method, "dtype") else method
    with in_double(example) as double, Widened():
        return method(double.forward, double.inputs).double()


def _dropped(example: Example) -> dict[str, float]:
    try:
        tape = Tape.record(example.forward, example.inputs, dtype="float64")
        return {DROPPED: abs(tape.totals(None, PROPOSED)["dropped"])}
    except ValueError:  # no rules, or no attention: a method that needs neither explains it
        return {}


@contextmanager
def in_double(example: Example) -> Iterator[Example]:
    """The same example in double precision, for a while: its float32 weights are exactly the same afterwards."""
    inputs = example.inputs.double() if isinstance(example.inputs, Tensor) else example.inputs
    example.module.double()
    try:
        yield replace(example, inputs=inputs)
    finally:
        example.module.float()


def difference(ours: Tensor, expected: Tensor) -> float:
    """The largest ‖ours − expected‖ / ‖expected‖ of a sample, 0 where both are 0."""
    error = (ours - expected).flatten(1).norm(dim=1)
    return (error / expected.flatten(1).norm(dim=1).clamp(min=1e-300)).max().item()


def told(method: Callable, example: Example) -> Callable:
    """The method, told what it asks for of a model and of a batch, as the benchmark tells it.

    These are how many tokens the model has before its patches, if that is known, and which parts of an input are
    removed together: of images 16 squares, of texts each token but the last, which ends it.
    """
    if _has(method, "prefix_tokens"):
        tokens = _prefix_tokens(example)
        return method if tokens is None else replace(method, prefix_tokens=tokens)
    return replace(method, players=_players(example)) if _has(method, "players") else method


def _prefix_tokens(example: Example) -> int | None:
    """How many tokens stand before the patches: what timm's model says, else what is left of all; None: unknown."""
    tokens = getattr(example.module, "num_prefix_tokens", None)
    if isinstance(tokens, int) or not isinstance(example.inputs, Tensor):
        return tokens
    try:
        tape = Tape.record(example.forward, example.inputs, backward=False)
    except ValueError:  # the method will say so
        return None
    height, width = example.inputs.shape[-2:]
    left = tape.attentions[0].shape[-1] - (height // PATCH) * (width // PATCH)
    return left if left >= 0 else None


def _players(example: Example) -> Patches | Words:
    inputs = example.inputs
    if isinstance(inputs, Tensor):
        return Patches((4, 4), _prefix_tokens(example) or 0)  # divides all images of the families
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    removed = (mask == 1) & (ids != END)
    groups = torch.where(removed, torch.arange(ids.shape[1]), -1)
    return Words(groups, mask_id=VOCABULARY - 1, pad_id=0)


def _has(method: Callable, name: str) -> bool:
    return is_dataclass(method) and any(f.name == name for f in fields(method))


def _sentence(message: str) -> str:
    """The first sentence, in one line."""
    return re.split(r"(?<=[.!?]) (?=[A-Z])", " ".join(message.split()))[0][:400]


def _error(error: Exception) -> str:
    return f"{type(error).__name__}: {_sentence(str(error))}"
