"""A method's check of itself on a model: it computes the function that is meant, or it is refused.

Everything runs in float64 whatever type a method is used in, so that the function is tested and not its
rounding: for the check, and only as long as it takes, the model's weights are float64 and what it does to
round parts of itself to narrower types does nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import chain

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from methods.common import visible
from methods.relevance import Forward, Inputs, NoAttentionError, RefusedError, RuleSet, Tape
from methods.relevance.calls import CASTS, grouped_mm, name_of
from methods.relevance.modules import watched
from methods.relevance.tape import observed

NOT_APPLICABLE = "not applicable"

# The largest figure of each check, where the model runs in float64.
LIMITS = {"logits": 1e-9, "alone": 1e-6, "gradient": 1e-4, "conserved": 1e-3, "classes": 1e-6}
OWN_TYPE = {torch.float64: 0.0, torch.float32: 1e-3}  # where it cannot be cast; 5e-2 for half types
STEP = 1e-3  # of the central difference, along a direction whose norm is 1 for every sample, in float64

_FINDINGS = {
    "logits": "the logits on the tape differ from the model's own",
    "alone": "the map of a sample alone differs from its map in a batch",
    "gradient": "the gradient of attention differs from what the model's logits do when attention is changed",
    "conserved": "relevance is lost or gained between the logit and where tokens enter",
    "classes": "the maps of two classes are not what the method says of them",
}
_REMEDIES = {
    "logits": "write what the model does out of sight (in custom kernels, in Python numbers) in plain torch",
    "alone": "explain samples one by one; a method that draws by no seed declares reproducible = False",
    "gradient": "write custom autograd functions of the model in plain torch",
    "conserved": "see Tape.audit for the operation and register a rule for it; rules of your own that keep "
    "no total declare conserves=False",
    "classes": "let class_specific and distinguishes_classes say what the method does",
}


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` measured.

    Attributes:
        figures: by the name of a check. ``logits``: largest relative difference of the logits on the tape
            from the model's own. ``alone``: of the map of a sample alone from its map in a batch.
            ``gradient``: of the gradient of attention from a central difference. ``conserved``: relevance
            lost or gained, of 1. ``classes``: largest relative difference of the maps of two classes from
            each other. The words "not applicable" where a check does not concern the method.
        dtype: that the model ran in: ``float64``, or its own if it cannot be cast to that.
        warnings: what is no fault, but to be known.
    """

    figures: Mapping[str, float | str]
    dtype: str
    warnings: tuple[str, ...] = ()


def verify(method: Callable, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Verification:
    """Check a method on a model and two samples.

    ``logits``: those on the tape are those of the model. ``alone``: the map of a sample alone is its map in
    the batch; not for a method with ``reproducible = False``. ``gradient``: if the method reads gradients of
    attention, they agree with a central difference along one seeded direction. ``conserved``: if it
    propagates relevance by rules with ``conserves=True``, the total that arrives where tokens enter and at
    constants beside them (a class token), with what the rules drop at constants that are added (positions,
    masks, biases of scores), is 1. ``classes``: a method with ``class_specific = False`` gives one map for
    two classes; one whose maps are to differ and do not is warned of, and refused if it has
    ``distinguishes_classes = True``.

    Args:
        method: any method. Its ``for_check()``, where it has that, returns the same method with fewer draws.
        forward: as methods take it.
        inputs: of at least one sample; the first is taken, and another of another length if there is one.
        target: explained classes (batch,); the predicted ones if None.

    Raises:
        RefusedError: naming the check that was missed, by how much, and what to do; if a map is not finite.
        ValueError: whatever the method itself refuses.
    """
    method, inputs, target = two_samples(_in_float64(for_check(method)), inputs, target)
    with torch.inference_mode(False):
        with torch.no_grad(), _outermost(forward) as modules:
            own = forward(inputs)
        try:
            with _in_doubles(modules):
                doubled = _cast(inputs)
                with torch.no_grad():
                    logits = forward(doubled)
                checks = _Checks(method, forward, doubled, target, logits)
                figures = checks.figures()
        except (RuntimeError, TypeError):  # cannot be cast, or its device knows no float64
            checks = _Checks(method, forward, inputs, target, own)
            figures = checks.figures()
    dtype = checks.dtype
    found = Verification(figures, str(dtype).removeprefix("torch."), tuple(checks.warnings))
    for name in checks.binding:
        limit = max(LIMITS[name], OWN_TYPE.get(dtype, 5e-2))
        if not figures[name] <= limit:
            raise RefusedError(
                f"{type(method).__name__} misses the check '{name}' on this model: {_FINDINGS[name]} by "
                f"{figures[name]:.1e}, where {limit:.0e} is allowed; {_REMEDIES[name]}"
            )
    if checks.warnings and getattr(method, "distinguishes_classes", False):
        raise RefusedError(
            f"{type(method).__name__} misses the check 'classes' on this model: {checks.warnings[0]}; "
            f"{_REMEDIES['classes']}"
        )
    return found


class _Checks:
    """The checks of one method on a model and two samples.

    Attributes:
        dtype: that the model runs in.
        binding: the names of the checks whose figure has a limit, in the order of the checks.
        warnings: what is no fault, but to be known.
    """

    def __init__(
        self, method: Callable, forward: Forward, inputs: Inputs, target: Tensor | None, logits: Tensor
    ):
        self._method, self._forward, self._inputs, self._logits = method, forward, inputs, logits
        self._target = logits.argmax(dim=1) if target is None else target.to(logits.device)
        self.dtype = logits.dtype
        self.binding: list[str] = []
        self.warnings: list[str] = []

    def figures(self) -> dict[str, float | str]:
        """All figures by the names of their checks."""
        with observed() as uses:
            maps = self._method(self._forward, self._inputs, self._target)
        if not maps.isfinite().all():
            raise RefusedError(f"{type(self._method).__name__} gives a map that is not finite on this model")
        rules = [use.rules for use in uses if use.rules is not None]
        differs = any(use.what == "gradient" and use.at_attention for use in uses)
        try:
            tape = Tape.record(self._forward, self._inputs, dtype="float64")
        except NoAttentionError:  # a method that reads none explains such a model all the same
            tape = None
        except RefusedError:  # and so does one that has no use for a tape
            if uses:
                raise
            tape = None
        return {
            "logits": self._bound("logits", lambda: self._of_logits(tape), tape is not None),
            "alone": self._bound(
                "alone", lambda: self._of_batch(maps, tape), getattr(self._method, "reproducible", True)
            ),
            "gradient": self._bound("gradient", lambda: self._of_gradient(tape), differs),
            "conserved": self._bound(
                "conserved", lambda: self._of_rules(tape, rules), any(r.conserves for r in rules)
            ),
            "classes": self._of_classes(maps),
        }

    def _bound(self, name: str, figure: Callable[[], float], applies: bool) -> float | str:
        if not applies:
            return NOT_APPLICABLE
        self.binding.append(name)
        return figure()

    def _of_logits(self, tape: Tape) -> float:
        return float(relative_difference(tape.logits.detach(), self._logits).max())

    def _of_batch(self, maps: Tensor, tape: Tape | None) -> float:
        lengths = None
        if tape is not None and _has_tokens(self._inputs):
            seen = visible(tape, tape.readout())
            lengths = [int(row.nonzero().max()) + 1 for row in seen]
            tokens = seen.shape[1]
        found = []
        for i in range(len(maps)):
            one = _sample(self._inputs, i, None if lengths is None else (tokens, lengths[i]))
            method = _of_samples(self._method, torch.tensor([i]), None if lengths is None else lengths[i])
            alone = method(self._forward, one, self._target[i : i + 1])
            together = maps[i : i + 1, ..., : alone.shape[-1]] if lengths is not None else maps[i : i + 1]
            if together.shape != alone.shape:
                return float("inf")
            found.append(float(relative_difference(together, alone).max()))
        return max(found)

    def _of_gradient(self, tape: Tape) -> float:
        gradients = tape.gradient(self._target, tape.attentions)
        generator = torch.Generator().manual_seed(0)
        directions = [torch.randn(g.shape, generator=generator, dtype=torch.float64).to(g) for g in gradients]
        count = sum(d[0].numel() for d in directions)
        norm = _norm(directions)
        epsilon = torch.finfo(self._logits.dtype).eps
        step = max(STEP, epsilon ** (1 / 3))
        directions = [d / norm.view(-1, 1, 1, 1) for d in directions]
        derivative = sum((g * d).flatten(1).sum(1) for g, d in zip(gradients, directions, strict=True))
        at = torch.arange(len(self._target), device=self._target.device), self._target
        above, below = (
            tape.logits_with(self._forward, self._inputs, [sign * step * d for d in directions])[at]
            for sign in (1, -1)
        )
        # The derivative along a random direction is about as large as the gradient's norm over √n.
        error = ((above - below) / (2 * step) - derivative).abs()
        scale = torch.maximum(derivative.abs(), _norm(gradients) / count**0.5)
        rounding = 8 * epsilon * self._logits.abs().amax(dim=1) / step
        return float((error / scale).where(error > rounding, 0.0).max())

    def _of_rules(self, tape: Tape, rules: Sequence[RuleSet]) -> float:
        conserving = {id(r): r for r in rules if r.conserves}.values()
        return max(abs(sum(tape.totals(self._target, r).values()) - 1) for r in conserving)

    def _of_classes(self, maps: Tensor) -> float | str:
        classes, specific = self._logits.shape[1], getattr(self._method, "class_specific", True)
        if classes < 2 or not getattr(self._method, "reproducible", True):
            return NOT_APPLICABLE
        another = self._method(self._forward, self._inputs, (self._target + 1) % classes)
        found = relative_difference(another, maps)
        nonzero = maps.flatten(1).abs().sum(1) > 0
        if not specific:
            self.binding.append("classes")
        elif nonzero.any() and (found[nonzero] < 1e-9).all():
            self.warnings.append(
                "the maps of two classes are the same, of a method whose maps depend on the class"
            )
        return float(found.max())


def relative_difference(ours: Tensor, expected: Tensor) -> Tensor:
    """‖ours − expected‖ of each sample by the larger of the two norms, (batch,); 0 where both are 0.

    Args:
        ours: (batch, ...).
        expected: of the same shape.
    """
    expected, ours = expected.detach().double().flatten(1), ours.detach().double().flatten(1)
    difference, norm = (ours - expected).norm(dim=1), torch.maximum(ours.norm(dim=1), expected.norm(dim=1))
    return torch.where(difference == 0, 0.0, difference / norm)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([t.flatten(1).norm(dim=1) for t in tensors]).norm(dim=0)


# --- samples


def _has_tokens(inputs: Inputs) -> bool:
    return isinstance(inputs, Mapping) or not inputs.is_floating_point()


def _sample(inputs: Inputs, index: int, cut: tuple[int, int] | None) -> Inputs:
    """One sample alone; what is as long as there are tokens is cut to the sample's own length."""

    def one(t: Tensor) -> Tensor:
        t = t[index : index + 1]
        for dim in range(1, t.ndim):
            if cut is not None and t.shape[dim] == cut[0]:
                t = t.narrow(dim, 0, cut[1])
        return t

    return {name: one(t) for name, t in inputs.items()} if isinstance(inputs, Mapping) else one(inputs)


def for_check(method: Callable) -> Callable:
    """The method as it is checked: with fewer draws, if it offers that."""
    return method.for_check() if hasattr(method, "for_check") else method


def two_samples(
    method: Callable, inputs: Inputs, target: Tensor | None
) -> tuple[Callable, Inputs, Tensor | None]:
    """A method, inputs and classes for two samples of a batch: of texts with a mask, two of unequal length."""
    chosen = _two(inputs)
    target = None if target is None else target[chosen.to(target.device)]
    return _of_samples(method, chosen), _rows(inputs, chosen), target


def _two(inputs: Inputs) -> Tensor:
    """The places of two samples of a batch."""
    first = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
    second = min(1, len(first) - 1)
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    if mask is not None and mask.ndim == 2:
        lengths = mask.sum(dim=1)
        second = max(
            second, int((lengths - lengths[0]).abs().argmax()), key=lambda i: abs(lengths[i] - lengths[0])
        )
    return torch.tensor([0, second], device=first.device)


def _rows(inputs: Inputs, chosen: Tensor) -> Inputs:
    return {n: t[chosen] for n, t in inputs.items()} if isinstance(inputs, Mapping) else inputs[chosen]


def _of_samples(method: Callable, chosen: Tensor, tokens: int | None = None) -> Callable:
    """The method, told what it knows of a batch (:mod:`methods.players`) for some samples, cut to so many tokens."""
    players = getattr(method, "players", None)
    return method if players is None else replace(method, players=players.of_samples(chosen, tokens))


# --- float64


def _in_float64(method: Callable) -> Callable:
    has_type = is_dataclass(method) and any(field.name == "dtype" for field in fields(method))
    return replace(method, dtype="float64") if has_type else method


def _cast(inputs: Inputs) -> Inputs:
    def cast(t):
        return t.double() if isinstance(t, Tensor) and t.is_floating_point() else t

    return {name: cast(t) for name, t in inputs.items()} if isinstance(inputs, Mapping) else cast(inputs)


@contextmanager
def _outermost(forward: Forward) -> Iterator[list[nn.Module]]:
    """The modules that a forward function calls itself."""
    found: list[nn.Module] = []
    depth = 0

    def enter(module, arguments):
        nonlocal depth
        if depth == 0 and not any(module is known for known in found):
            found.append(module)
        depth += 1

    def leave(module, arguments, result):
        nonlocal depth
        depth -= 1

    with watched(enter, leave):
        yield found


@contextmanager
def _in_doubles(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Let modules have float64 weights, and let nothing be rounded to less."""
    tensors = chain.from_iterable(chain(m.parameters(), m.buffers()) for m in modules)
    kept = [(t, t.data) for t in tensors if t.is_floating_point() and t.dtype != torch.float64]
    default = torch.get_default_dtype()
    try:
        for t, data in kept:
            t.data = data.double()
        torch.set_default_dtype(torch.float64)
        with Widened():
            yield
    finally:
        torch.set_default_dtype(default)
        for t, data in kept:
            t.data = data


class Widened(TorchFunctionMode):
    """Turns casts to narrower types into casts to float64."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = name_of(function)
        if name in ("grouped_mm", "_grouped_mm"):  # whose kernels know no float64
            return grouped_mm(*args, **(kwargs or {}))
        if name in CASTS and len(args) == 1 and isinstance(args[0], Tensor):
            return args[0].double()
        kwargs = {key: self._wide(value) for key, value in (kwargs or {}).items()}
        return function(*map(self._wide, args), **kwargs)

    def _wide(self, value):
        is_narrow = isinstance(value, torch.dtype) and value.is_floating_point
        return torch.float64 if is_narrow else value
