"""One batch through one method."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.data.samples import Subset
from bench.errors import BenchError
from bench.models import Batch, Maps, Model
from bench.models.base import Inputs
from bench.runner.checks import Checks
from bench.runner.foreign import ForeignMaps
from bench.runner.resources import is_out_of_memory
from bench.tasks import MeanAnnotation, Oracle
from methods import DocumentFrequencies, NoAttentionError, NoRuleError, Patches, RefusedError, Words

REFUSALS = (NoAttentionError, NoRuleError, RefusedError)


def with_prefix_tokens(method: Callable, model: Model, given: Mapping[str, Any]) -> Callable:
    """The method, told how many tokens before the patches the model has, if it asks and was not told.

    Args:
        given: the section ``method`` of the configuration.

    Raises:
        BenchError: if it was told another number.
    """
    tokens = getattr(model, "prefix_tokens", None)
    if tokens is None or not hasattr(method, "prefix_tokens"):
        return method
    if "prefix_tokens" not in given and is_dataclass(method):
        return replace(method, prefix_tokens=tokens)
    if method.prefix_tokens != tokens:
        raise BenchError(f"method.prefix_tokens={method.prefix_tokens}: the model has {tokens}")
    return method


def with_players(method: Callable, model: Model, batch: Batch) -> Callable:
    """The method, told which tokens make the words of a batch, or the model's patches, if it asks and was not told.

    It asks by a field ``players`` that is None (:mod:`methods.players`).
    """
    asks = is_dataclass(method) and hasattr(method, "players")
    if not asks or method.players is not None:
        return method
    if batch.words is not None:
        texts = [sample.document for sample in batch.samples] or None
        return replace(method, players=Words(batch.words, model.mask_id, model.pad_id, texts))
    return replace(method, players=Patches(model.grid, model.prefix_tokens))


def with_frequencies(method: Callable, dataset: Any) -> Callable:
    """The method, told in how many texts of a data set each word occurs, if it asks and was not told.

    It asks by a field ``frequencies`` that is None (:mod:`methods.text_floors`). Queries are left out, as their words
    are never explained.
    """
    if not is_dataclass(method) or getattr(method, "frequencies", method) is not None:
        return method
    texts = _of_the_whole(dataset, lambda sample: sample.document)
    return replace(method, frequencies=DocumentFrequencies.of(texts))


def with_masks(method: Callable, model: Model, dataset: Any, settings: Mapping[str, Any]) -> Callable:
    """The mean mask of the other samples, told the sum of the masks of a data set, if it is that floor.

    Samples without a mask are left out.
    """
    if not isinstance(method, MeanAnnotation) or method.total is not None:
        return method
    prepare, total, samples = model.preparation(settings), None, 0
    for mask in _of_the_whole(dataset, lambda sample: prepare(sample).mask):
        if mask is not None:
            total, samples = mask.double() if total is None else total + mask, samples + 1
    return replace(method, total=total, samples=samples)


def _of_the_whole(dataset: Any, take: Callable[[Any], Any]) -> Iterator[Any]:
    """Something of each sample of a data set; of a nested subset of the whole, so that its maps are those of the whole.

    Samples that cannot be read, of which the run itself speaks, are left out.
    """
    whole = dataset.dataset if isinstance(dataset, Subset) else dataset
    for index in range(len(whole)):
        with suppress(BenchError):
            yield take(whole[index])


def explain(
    method: Callable,
    model: Model,
    batch: Batch,
    target: Tensor,
    numbers: tuple[int, ...] | range,
    inputs: Inputs | None = None,
    checks: Checks | None = None,
) -> Maps:
    """Call a method on a batch, and check what it returns. Nothing else calls a method.

    Args:
        target: the classes to explain, numbered as by the data set, (batch,).
        numbers: the index of the logit of each of these classes.
        inputs: what to explain in the place of the batch's own inputs.
        checks: begun with the first batch, and shown the method, what it was called with and what it returned.

    Raises:
        BenchError: if the method refuses, or naming the samples whose relevance is not finite.
    """
    if isinstance(method, Oracle):
        annotation = batch.annotation()
        if annotation is None:
            raise BenchError(
                "method: the samples of this data set have no annotation of what is relevant, of which "
                f"{type(method).__name__} is made; choose task=segmentation or task=token_f1"
            )
        return model.maps(method.map(annotation), batch, target)
    if isinstance(method, ForeignMaps):
        return method.maps(batch, target, model)
    logits = torch.tensor(list(numbers), device=target.device)[target]
    inputs, method = batch.inputs if inputs is None else inputs, with_players(method, model, batch)
    with _refusals(method):
        relevance = method(model.forward, inputs, logits)
    _check_form(method, relevance, batch)
    if checks is not None:
        # After the form: what is no map, or not finite, is said of samples by name, and not as a missed check.
        with _refusals(method):
            checks.begin(method, model.forward, inputs, logits)
        checks.look(method, model.forward, inputs, logits, relevance)
    return replace(model.maps(relevance, batch, target), word_score=getattr(method, "word_score", None))


@contextmanager
def _refusals(method: Callable) -> Iterator[None]:
    """What a method refuses meanwhile becomes a BenchError."""
    try:
        yield
    except ValueError as e:
        if isinstance(e.__cause__, RuntimeError) and _is_not_of_the_model(e.__cause__):
            raise e.__cause__ from None
        # The project's methods raise it for settings and models they cannot handle. A user's own may have a bug.
        if not type(method).__module__.startswith("methods.") and not isinstance(e, REFUSALS):
            raise
        raise BenchError(f"method: {e}") from e


def _check_form(method: Callable, relevance: object, batch: Batch) -> None:
    """Whether a method returned finite maps, one for each sample of a batch.

    Raises:
        BenchError: if not, naming the samples whose relevance is not finite.
    """
    name, count = getattr(method, "__name__", type(method).__name__), len(batch.ids)
    if not isinstance(relevance, Tensor) or relevance.ndim < 2 or len(relevance) != count:
        found = tuple(relevance.shape) if isinstance(relevance, Tensor) else type(relevance).__name__
        raise BenchError(
            f"method: {name} returned {found} for {count} samples; expected a tensor, (batch, tokens) or "
            "(batch, height, width)"
        )
    finite = relevance.flatten(1).isfinite().all(dim=1)
    if not finite.all():
        bad = [sample_id for sample_id, ok in zip(batch.ids, finite.tolist(), strict=True) if not ok]
        raise BenchError(
            f"method: {name} returned NaN or infinite relevance for {', '.join(bad)}; "
            "a map must be finite to be ranked"
        )


def _is_not_of_the_model(error: RuntimeError) -> bool:
    """Whether an error that a method reports of the model's operations comes from elsewhere.

    Those who halve batches and watch the processes that read samples know what to do with it.
    """
    return is_out_of_memory(error) or "DataLoader worker" in str(error)
