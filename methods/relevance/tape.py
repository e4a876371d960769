"""The engine: one forward pass of an unmodified model that can be read backwards in several ways."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.relevance.attentions import reaching
from methods.relevance.blocks import Activation, Block, Constant, Graph, Linear, Norm, constants, head
from methods.relevance.functions import LedgerEntry, of_g
from methods.relevance.modules import RefusedError, check, failed, watched
from methods.relevance.program import Trace
from methods.relevance.recorder import Inputs, Recorder
from methods.relevance.rules import RuleSet
from methods.relevance.writes import MultipleViews

Forward = Callable[[Inputs], Tensor]

# What relevance is computed in, and the type that operations of the forward pass run in where it is another.
DTYPES = {
    "float64": (torch.float64, None),
    "mixed": (torch.float32, None),
    "float32": (torch.float32, None),
    "bfloat16": (torch.float32, torch.bfloat16),
    "float16": (torch.float32, torch.float16),
}


class NoAttentionError(ValueError):
    """No attention probabilities were seen in a model's forward pass."""


class Use(NamedTuple):
    """That a tape was recorded or read: for what, whether at attentions, and under which rules."""

    what: Literal["record", "gradient", "relevance"]
    at_attention: bool
    rules: RuleSet | None


_observers: list[list[Use]] = []


@contextmanager
def observed() -> Iterator[list[Use]]:
    """Note how tapes are read; by :meth:`Tape.readout`, which every method may ask for, not counted."""
    _observers.append([])
    try:
        yield _observers[-1]
    finally:
        _observers.pop()


_modified: list[RuleSet] = []


@contextmanager
def modified_gradients(rules: RuleSet) -> Iterator[None]:
    """Inside of it :meth:`Tape.gradient` is the modified gradient of a rule set, where it is asked for without one.

    Args:
        rules: in gradient form.

    Raises:
        ValueError: for a rule set in another form.
    """
    _check_form(rules)
    _modified.append(rules)
    try:
        yield
    finally:
        _modified.pop()


def _check_form(rules: RuleSet) -> None:
    if rules.form != "gradient":
        raise ValueError(f"the rule set '{rules}' is one of relevance: it defines no modified gradient")


class Tape:
    """What one forward pass left behind.

    Attributes:
        logits: (batch, classes).
        attentions: for each block the (batch, heads, queries, keys) probabilities A after the softmax, in the
            order in which they were used; those that no logit depends on are left out.
        entry: where the tokens enter the network: the pixels, or for text the (batch, tokens, hidden)
            sum of embeddings that the first layer receives. None on a tape that cannot be read backwards.
        chained: for each of ``attentions``, whether it is between what the one before it left: whether all
            that it multiplies, and what its probabilities were computed from, depends on that.
        crossed: for each of ``attentions``, whether its queries have seen an attention that its values have
            not: whether these are other tokens than those, as in a decoder that reads an encoder.
    """

    def __init__(self, logits: Tensor, recorder: Recorder, backward: bool):
        self.logits, self._entries, self._mode = logits, recorder.entries, recorder.mode
        self.attentions, self._numbers = recorder.found.attentions, recorder.found.numbers
        self.chained = [True] * len(self.attentions)
        self.crossed = [False] * len(self.attentions)
        self._program, self._samples, self._batch = recorder.program, recorder.samples, recorder.batch
        self._products = recorder.found.products
        if backward:
            self._read_graph(recorder.found.values)

    @property
    def entry(self) -> Tensor | None:
        """Where the tokens enter; raises RefusedError if they do in several places."""
        return self.entry_at(None)

    def entry_at(self, name: str | None) -> Tensor | None:
        """One of the places where tokens may be said to enter the network.

        Args:
            name: ``word``, the look-up of token ids; ``sum``, with what is added before the first
                normalisation or layer, such as positions; ``embeddings``, after a normalisation of that sum
                which the first layer reads; None for ``sum``. Pixels have one place whatever the name.

        Raises:
            ValueError: for another name.
            RefusedError: if tokens are looked up in several places.
        """
        return self._entries.at(name)

    def _read_graph(self, values: list) -> None:
        """Leave out the attentions that no logit depends on, and see which depends on which."""
        below = reaching([self.logits.grad_fn], [a.grad_fn for a in self.attentions])
        used = [i for i, a in enumerate(self.attentions) if a.grad_fn in below]
        before = {i: below[self.attentions[i].grad_fn] & ~(1 << i) for i in used}
        last = {i: max((j for j in used if before[i] >> j & 1), default=None) for i in used}
        reached = {i: {j for j in used if below.get(values[i], 0) >> j & 1} for i in used}
        previous = dict(zip(used, [None, *used], strict=False))
        self.chained = [last[i] == previous[i] and (last[i] is None or last[i] in reached[i]) for i in used]
        self.crossed = [last[i] is not None and last[i] not in reached[i] for i in used]
        self.attentions = [self.attentions[i] for i in used]
        self._numbers = [self._numbers[i] for i in used]
        self._products = [self._products[i] for i in used]

    @cached_property
    def _graph(self) -> Graph:
        return Graph(Trace(self._program), self._products, self._samples, self._batch)

    @cached_property
    def blocks(self) -> list[Block]:
        """What lies around each of :attr:`attentions`: tokens, scores, values, layers.

        They are found as they are asked for, so what a model lacks is refused only then.
        """
        return [Block(self._graph, number) for number in range(len(self.attentions))]

    @cached_property
    def constants(self) -> list[Constant]:
        """What is added on the way to the logits that does not depend on the input, in order.

        Biases of layers and normalisations, and what is added to tokens such as positions; what is added to scores,
        such as masks, is left out.

        Raises:
            RefusedError: if the blocks cannot be found, by which they are sorted.
        """
        return constants(self._graph, self.blocks, self._graph.trace.step_of(self.logits))

    @cached_property
    def head(self) -> list[Linear | Norm | Activation]:
        """The layers between the last block and the logits, in order.

        Raises:
            RefusedError: if they are no chain of layers, normalisations and activations.
        """
        return head(self._graph, self.blocks[-1], self._graph.trace.step_of(self.logits))

    def rerun(
        self, replaced: Mapping[Tensor, Tensor | Callable[[], Tensor]], until: Tensor | None = None
    ) -> Tensor:
        """The logits, or another tensor, as they would be if others had been what they were not.

        Only what depends on these is computed, by plain torch calls, so the result can be differentiated: with
        respect to what replaces a tensor, or to any tensor of the tape (:meth:`gradient` with ``logits``).

        Args:
            replaced: for tensors of the tape what stands in the place of each, of the same shape; or a function that
                computes that, which is called with gradients enabled.
            until: the tensor of the tape that is wanted; None for the logits.

        Raises:
            ValueError: for a tensor of another shape.
            RefusedError: if the model writes into tensors in place, or a tensor is not on the tape.
        """
        pairs = []
        with torch.inference_mode(False), torch.enable_grad():
            for t, value in replaced.items():
                value = value() if callable(value) and not isinstance(value, Tensor) else value
                if value.shape != t.shape:
                    raise ValueError(f"expected a tensor of shape {tuple(t.shape)}, not {tuple(value.shape)}")
                point = self._graph.point(t)
                pairs.append((point.raw, point.order[1](value.to(t.dtype))))
            point = self._graph.point(self.logits if until is None else until)
            self._mode.rules = None
            return point.order[0](self._graph.trace.rerun(pairs, point.raw))

    @classmethod
    def record(
        cls,
        forward: Forward,
        inputs: Inputs,
        backward: bool = True,
        dtype: str | None = None,
        words: Tensor | None = None,
    ) -> "Tape":
        """Run ``forward(inputs)`` and remember it.

        Args:
            forward: any callable around an unmodified model in eval mode.
            inputs: a tensor or a mapping of tensors, batch first.
            backward: keep what reading the tape backwards needs; without it only the attentions are kept.
            dtype: ``float64`` or ``float32``: what everything computed from the input is computed in,
                whatever the type of the model's weights; ``mixed``: the forward pass in float64, and what is
                read backwards in float32, rounded from that; ``bfloat16`` or ``float16``: the forward pass
                under autocast to that type, relevance in float32; None leaves it to the model. Needs
                ``backward``.
            words: (batch, tokens, width), to stand in the place of what token ids are looked up as: a point on
                the way from a baseline, or with noise. Positions and types are added by the model as ever.

        Raises:
            ValueError: if ``words`` has another shape, or no token ids are looked up; if the result is not a
                (batch, classes) tensor, or does not depend on ``inputs`` in a way that can be differentiated.
            RefusedError: if the model is in train mode, quantised, compiled or scripted, or has attention
                that is not between the tokens of one sample; or if a torch call fails.
            NoAttentionError: if no attention was seen.
        """
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r}: expected one of {', '.join(DTYPES)}")
        if dtype in ("float64", "mixed") and "mps" in _devices(inputs):
            raise RefusedError(
                f"dtype={dtype}: this device (mps) has no float64; use the CPU, or accept rounding with dtype=float32"
            )
        if isinstance(forward, nn.Module):
            check(forward)
        for uses in _observers:
            uses.append(Use("record", False, None))
        types, precise = DTYPES.get(dtype, (None, None)), dtype == "mixed"
        with torch.inference_mode(False), torch.set_grad_enabled(backward), _no_fast_path():
            try:
                options = {"precise": precise, "words": words}
                recorder, logits = _run(forward, Recorder(inputs, *types, backward, **options))
            except MultipleViews:
                again = Recorder(inputs, *types, backward, single_views=True, **options)
                recorder, logits = _run(forward, again)
        if words is not None and not recorder.entries.lookups:
            raise ValueError("words were given, but the model looks up no token ids")
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits)
            raise ValueError(f"{_describe(forward)} must return (batch, classes) logits, not {shape}")
        if backward and not recorder.carries(logits):
            raise ValueError(
                f"the logits of {_describe(forward)} cannot be traced back to its inputs: give a tensor of "
                "pixels or of vectors (inputs_embeds), or a mapping with token ids that the model looks up in an "
                "embedding; and call nothing of the model under torch.no_grad"
            )
        if logits.shape[1] == 0:
            raise ValueError(f"{_describe(forward)} returns no logit at all: it has no class to explain")
        recorder.found.check()
        tape = cls(recorder.seen(logits), recorder, backward)
        if not tape.attentions:
            raise NoAttentionError(
                f"no attention was seen in {_describe(forward)}: it never multiplies a softmax with values "
                "in Python-visible torch calls (as linear attention and compiled models do not), so methods "
                "that read attention cannot explain it"
            )
        return tape

    def gradient(
        self,
        target: Tensor | None,
        of: Sequence[Tensor],
        rules: RuleSet | None = None,
        logits: Tensor | None = None,
    ) -> list[Tensor]:
        """The gradient of the explained logit with respect to tensors on the tape.

        Args:
            target: the explained classes, (batch,), or None for the predicted ones.
            of: tensors on the tape.
            rules: a rule set in gradient form, for the modified gradient that it defines; None for the true one,
                or that of :func:`modified_gradients`.
            logits: to differentiate in the place of the tape's own; of :meth:`rerun`, whose own calls have their
                true gradient whatever the rules.

        Raises:
            ValueError: for a rule set in another form.
            RefusedError: for other logits inside of :func:`modified_gradients`.
            NoRuleError: if a modified gradient meets an operation without a rule.
        """
        if rules is not None:
            _check_form(rules)
        elif _modified:
            rules = _modified[-1]
            if logits is not None:
                raise RefusedError(
                    f"the gradient of another run of the network cannot be modified by '{rules}': choose a method "
                    "that reads the gradients of one run"
                )
        self._note("gradient", of, rules)
        return self._carry(rules, target, of, logits=logits)

    def relevance(self, target: Tensor | None, of: Sequence[Tensor], rules: RuleSet) -> list[Tensor]:
        """The relevance that reaches tensors on the tape when 1, or y_t, is put on the explained logit.

        Args:
            target: the explained classes, (batch,), or None for the predicted ones.
            of: tensors on the tape.
            rules: how it is propagated, and what it starts with (``rules.start``).

        Raises:
            NoRuleError: if relevance meets an operation without a rule.
        """
        self._note("relevance", of, rules)
        return self._relevance(rules, target, of)

    def readout(self) -> Tensor:
        """How the rows of the last block's attention are read: (batch, 1, queries), weights that sum to 1.

        A row that no logit depends on has no gradient at all. So a class token's row has the weight 1, a
        decoder's that of its last token, and rows that are averaged, by pooling or by several heads, share it
        evenly.
        """
        # The gradient of any logit reaches the same rows, so that of the predicted class will do.
        (gradient,) = self._carry(None, None, self.attentions[-1:])
        read = (gradient != 0).any(dim=-1).any(dim=1)
        read[:, 0] |= ~read.any(dim=1)  # a constant logit reads nothing
        return (read / read.sum(dim=1, keepdim=True)).to(gradient.dtype)[:, None]

    def audit(self, target: Tensor | None, of: Sequence[Tensor], rules: RuleSet) -> list[LedgerEntry]:
        """What each operation on the way to tensors on the tape received and handed on, from the logits down.

        Raises:
            NoRuleError: as :meth:`relevance`.
        """
        self._mode.ledger = []
        try:
            self._relevance(rules, target, of)
            return self._mode.ledger
        finally:
            self._mode.ledger = None

    def totals(self, target: Tensor | None, rules: RuleSet) -> dict[str, float]:
        """Where the 1 that is put on the logit goes, per sample.

        Returns:
            ``entry``, what arrives at the input itself or at the look-up of tokens; ``beside``, at constants
            that were put beside that, such as a class token; ``dropped``, what the rules give to nobody:
            the share of what was added, such as positions, masks and biases of scores.

        Raises:
            NoRuleError: as :meth:`relevance`.
        """
        entered = self._entries.leaves
        self._mode.ledger = []
        try:
            found = self._relevance(rules, target, [*entered, *self._entries.beside])
            ledger = self._mode.ledger
        finally:
            self._mode.ledger = None
        sums = [r.sum().item() / len(self.logits) for r in found]
        dropped = sum(e.received - e.handed_on for e in ledger if e.kind == "shift") / len(self.logits)
        at = len(entered)
        return {"entry": sum(sums[:at]), "beside": sum(sums[at:]), "dropped": dropped}

    def logits_with(self, forward: Forward, inputs: Inputs, changes: Sequence[Tensor]) -> Tensor:
        """The logits of another run, without a tape, in which something is added to the attentions.

        Args:
            forward: as it was recorded, and ``inputs``.
            changes: for each of :attr:`attentions`, (batch, heads, queries, keys).
        """
        with torch.inference_mode(False), torch.no_grad(), _no_fast_path():
            by_number = dict(zip(self._numbers, changes, strict=True))
            return _run(forward, Recorder(inputs, None, None, False, changes=by_number))[1]

    def _note(self, what: str, of: Sequence[Tensor], rules: RuleSet | None) -> None:
        for uses in _observers:
            uses.append(Use(what, any(t is a for t in of for a in self.attentions), rules))

    def _check_reached(self, of: Sequence[Tensor]) -> None:
        """Raises RefusedError for tensors that no logit depends on, by whatever rules."""
        ours = [*self._entries.leaves, *self._entries.beside]
        others = [t for t in of if not any(t is known for known in ours)]
        below = reaching([self.logits.grad_fn], []) if others else {}
        if any(t.grad_fn not in below for t in others):
            raise RefusedError(
                "reading the tape backwards failed: no logit depends on a tensor that was asked for; "
                "ask for tensors of the same tape"
            )

    def _relevance(self, rules: RuleSet, target: Tensor | None, of: Sequence[Tensor]) -> list[Tensor]:
        is_gradient, start = rules.form == "gradient", None
        if is_gradient != (rules.start == "logit"):  # of relevance y_t, or a gradient of 1 / y_t
            logits = self.logits.detach()
            start = _divided_by_itself(logits) if is_gradient else logits
        found = self._carry(rules, target, of, start)
        return [of_g(g, x) for g, x in zip(found, of, strict=True)] if is_gradient else found

    def _carry(
        self,
        rules: RuleSet | None,
        target: Tensor | None,
        of: Sequence[Tensor],
        start: Tensor | None = None,
        logits: Tensor | None = None,
    ) -> list[Tensor]:
        """What arrives at tensors when ``start`` (batch, classes), or 1, is put on the explained logit."""
        if target is None:
            target = self.logits.argmax(dim=1)
        classes = self.logits.shape[1]
        if target.numel() and (int(target.min()) < 0 or int(target.max()) >= classes):
            raise ValueError(f"target={target.tolist()}: the model has {classes} classes, counted from 0")
        one_hot = F.one_hot(target.to(self.logits.device), classes).to(self.logits.dtype)
        arriving = one_hot if start is None else one_hot * start
        if rules is not None and rules.attention_linear is not None:
            for block in self.blocks:
                block.mark_linears()
        points = [self._graph.point(t) for t in of]
        raw = [point.raw for point in points]
        self._mode.rules = rules
        with torch.inference_mode(False):
            try:
                options = {"retain_graph": True, "allow_unused": rules is not None}
                outputs = self.logits if logits is None else logits
                found = torch.autograd.grad(outputs, raw, arriving, **options)
            except RuntimeError as e:
                raise failed(e, "reading the tape backwards") from e
            self._check_reached([t for t, g in zip(raw, found, strict=True) if g is None])
            # What a rule set cuts off gets nothing.
            return [
                torch.zeros_like(p.shown) if g is None else p.order[0](g)
                for g, p in zip(found, points, strict=True)
            ]


def _divided_by_itself(logits: Tensor) -> Tensor:
    """1 / y, and 0 where y = 0."""
    return torch.where(logits == 0, 0, 1 / torch.where(logits == 0, 1, logits))


def _run(forward: Forward, recorder: Recorder) -> tuple[Recorder, Tensor]:
    with recorder, watched(recorder.enter, recorder.leave):
        try:
            logits = forward(recorder.inputs)
        except RuntimeError as e:
            raise failed(e, _describe(forward)) from e
    recorder.release()
    return recorder, logits


@contextmanager
def _no_fast_path():
    """Keep ``nn.TransformerEncoderLayer`` and ``nn.MultiheadAttention`` from their inference kernels."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _devices(inputs: Inputs) -> set[str]:
    tensors = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    return {t.device.type for t in tensors if isinstance(t, Tensor)}


def _describe(forward: Forward) -> str:
    return type(forward).__name__ if isinstance(forward, nn.Module) else repr(forward)
