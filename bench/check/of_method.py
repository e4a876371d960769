"""A method: maps that are finite and of the right shape, the same in any batch, a model left as it was, its cost."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.check.findings import Findings, Prepared, prepared
from bench.config import build
from bench.models.base import Inputs
from bench.runner.explain import with_prefix_tokens
from bench.store.code import code_of
from methods.verify import NOT_APPLICABLE, for_check, relative_difference, verify

SAME = 1e-5  # relative difference of two maps that ought to be equal, in the method's own precision
MEANT = {
    "logits": "the logits it explains are the model's own",
    "alone": "a batch gives the maps that its samples give one by one",
    "gradient": "the gradient of attention agrees with a central difference",
    "conserved": "relevance is conserved",
    "classes": "maps of two classes",
}


def check_method(config: Mapping[str, Any], found: Findings) -> None:
    """Check the method of a configuration on its model and the samples of its data set."""
    found.subject = f"method {config['method']['name']} on {config['task']['modality']}s"
    setting = prepared(config)
    method = None
    with found.attempt("made"):
        method = with_prefix_tokens(build("method", config["method"]), setting.model, config["method"])
        code_of(method, "method")
    if method is None or not _maps(method, setting, found):
        return
    _verified(method, setting, found)
    _mistakes(method, setting, found)


def _maps(method: Callable, setting: Prepared, found: Findings) -> bool:
    """Check the maps of a batch, and that nothing else changed; returns whether there are maps."""
    model, inputs = setting.model, setting.batch.inputs
    module = _module_of(model)
    target = _target(setting)
    before, given = _state(module), _copied(inputs)
    calls: list[int] = []

    def forward(x: Inputs) -> Tensor:
        logits = model.forward(x)
        calls.append(len(logits))
        return logits

    took = None
    started = time.perf_counter()
    with found.attempt("maps", refusal_is_fine=True):
        relevance = method(forward, inputs, target)
        took = time.perf_counter() - started
    if took is None:  # it raised something
        return False
    if not isinstance(relevance, Tensor):
        return found.expect(
            "maps", False, "", f"it returned {type(relevance).__name__}; expected a torch.Tensor"
        )
    if not found.expect(
        "finite", bool(relevance.isfinite().all()), "all numbers are", "NaN or infinity in a map"
    ):
        return False
    with found.attempt("shape"):
        maps = model.maps(relevance, setting.batch, target)
        found.expect("shape", True, f"{tuple(relevance.shape)} for {len(target)} samples", "")
        empty = [name for name, m in zip(setting.batch.ids, maps.values, strict=True) if not m.any()]
        if empty:
            found.note("not empty", f"the map of {', '.join(map(str, empty))} is 0 everywhere")
    found.expect(
        "leaves the model",
        _same(before, _state(module)),
        "weights, gradients, hooks and mode are as before",
        "it changed the model's weights, gradients, hooks or mode; undo it in the method, also when it fails",
    )
    unchanged = all(torch.equal(a, b) for a, b in zip(_tensors(given), _tensors(inputs), strict=True))
    found.expect(
        "leaves the inputs", unchanged, "as before", "it changed the inputs in place; work on a copy"
    )
    if getattr(method, "reproducible", True):
        with found.attempt("again"):
            again = method(model.forward, inputs, target).detach()
            difference = float(relative_difference(again, relevance.detach()).max())
            found.expect(
                "again",
                difference <= SAME,
                "a second call gives the same maps",
                f"a second call gives other maps, by {difference:.1e} of their norm; draw from a seed of its own, or "
                "declare reproducible = False",
            )
    _cost(method, setting, calls, took, found)
    return relevance.ndim >= 2 and len(relevance) == len(target)


def _cost(method: Callable, setting: Prepared, calls: list[int], took: float, found: Findings) -> None:
    samples = len(setting.batch.ids)
    with torch.inference_mode():
        setting.model.forward(setting.batch.inputs)  # the first is slower
        started = time.perf_counter()
        setting.model.forward(setting.batch.inputs)
        plain = time.perf_counter() - started
    stated = ""
    if hasattr(method, "passes"):
        stated = "; it states its passes in passes(tokens, blocks)"
    found.note(
        "cost",
        f"{sum(calls) / samples:.4g} forward passes per sample in calls of forward; {took / max(plain, 1e-9):.1f} "
        f"times the time of a plain pass, once{stated}",
    )


def _verified(method: Callable, setting: Prepared, found: Findings) -> None:
    with found.attempt("verified"):
        result = verify(method, setting.model.forward, setting.batch.inputs, _target(setting))
        for name, figure in result.figures.items():
            if figure == NOT_APPLICABLE:
                found.note(name, f"{MEANT.get(name, name)}: not applicable")
            elif name == "classes" and getattr(method, "class_specific", True):
                found.note(name, f"{MEANT[name]} differ by {figure:.1e} of their norm")
            else:
                found.expect(
                    name, True, f"{MEANT.get(name, name)}: off by {figure:.1e} in {result.dtype}", ""
                )
        for text in result.warnings:
            found.note("warning", text)


def _mistakes(method: Callable, setting: Prepared, found: Findings) -> None:
    """A class that there is not must not give a map without a word."""
    if not getattr(method, "class_specific", True):
        return
    classes = len(setting.model.classes)
    target = torch.full_like(_target(setting), classes)
    try:
        for_check(method)(setting.model.forward, setting.batch.inputs, target)
    except Exception as e:  # any error is a refusal here
        found.expect("wrong class", True, f"class {classes} of {classes} is refused ({type(e).__name__})", "")
    else:
        found.expect(
            "wrong class",
            False,
            "",
            f"class {classes} of {classes} classes gives a map; index the logits with the target as it is, or say "
            "class_specific = False",
        )


def _target(setting: Prepared) -> Tensor:
    """The predicted classes, as logits are numbered."""
    with torch.inference_mode():
        logits = setting.model.forward(setting.batch.inputs)
    return logits.argmax(dim=1).clone()


def _module_of(model: Any) -> nn.Module | None:
    return next((value for value in vars(model).values() if isinstance(value, nn.Module)), None)


def _state(module: nn.Module | None) -> list[Any]:
    """All of a module that a method might leave changed."""
    if module is None:
        return []
    weights = [t.detach().clone() for t in (*module.parameters(), *module.buffers())]
    flags = [(p.requires_grad, p.grad is None) for p in module.parameters()]
    modes = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()]
    return [weights, flags, modes]


def _same(before: list[Any], after: list[Any]) -> bool:
    if not before:
        return True
    return before[1:] == after[1:] and all(map(torch.equal, before[0], after[0]))


def _tensors(inputs: Inputs) -> list[Tensor]:
    return list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]


def _copied(inputs: Inputs) -> Inputs:
    return {name: t.clone() for name, t in inputs.items()} if isinstance(inputs, Mapping) else inputs.clone()
