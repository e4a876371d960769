"""A model some layers of which are random: what parameter randomisation explains."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from bench.errors import BenchError

STAGES = ("head", "last_block", "half", "blocks", "all")  # each with what the ones before have


def parameters_of(module: nn.Module, stage: str) -> list[str]:
    """The names of the parameters that are random at a stage, from the head down.

    ``head``: all that comes after the blocks, such as the final norm, a pooler and the classifier;
    ``last_block``: and the last block, whole; ``half``: and the upper half of the blocks; ``blocks``: and all
    of them; ``all``: and what stands
    before them: the embedding of patches or words, class and register tokens and position embeddings.

    Raises:
        BenchError: for another stage, or a model whose blocks cannot be told.
    """
    if stage not in STAGES:
        raise BenchError(f"stage={stage!r}: expected one of {', '.join(STAGES)}")
    prefix, count = _blocks(module)
    names = [name for name, _ in module.named_parameters()]
    of_blocks = [name for name in names if name.startswith(f"{prefix}.")]
    before, after = names[: names.index(of_blocks[0])], names[names.index(of_blocks[-1]) + 1 :]
    blocks = {"head": 0, "last_block": 1, "half": count - count // 2, "blocks": count, "all": count}[stage]
    random = {str(number) for number in range(count - blocks, count)}
    chosen = [name for name in of_blocks if name[len(prefix) + 1 :].partition(".")[0] in random]
    return [*after, *chosen, *(before if stage == "all" else ())]


def _blocks(module: nn.Module) -> tuple[str, int]:
    """The name of the longest list of like submodules, and how many these are."""
    found = [
        (len(part), name)
        for name, part in module.named_modules()
        if isinstance(part, (nn.ModuleList, nn.Sequential))
        and len(part) > 1
        and len({type(child) for child in part}) == 1
    ]
    if not found:
        raise BenchError(
            f"model: {type(module).__name__} has no list of blocks, so nobody could say which layers come first; leave "
            "parameter randomisation out"
        )
    count, name = max(found, key=lambda entry: (entry[0], -len(entry[1])))
    return name, count


@contextmanager
def randomised(module: nn.Module, stage: str, seed: int) -> Iterator[None]:
    """Let the parameters of a stage be random, and restore them at the end, whatever happens.

    Layers that know how to initialise themselves do so (``reset_parameters``); other tensors, such as class
    tokens and position embeddings, are drawn from N(0, std of the trained tensor).

    Raises:
        BenchError: as :func:`parameters_of`.
    """
    names = parameters_of(module, stage)
    chosen = dict(module.named_parameters())
    kept = {name: chosen[name].detach().clone() for name in names}
    devices = [chosen[names[0]].device] if names and chosen[names[0]].is_cuda else []
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(seed)
            _draw(module, names)
        yield
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                chosen[name].copy_(value)


def _draw(module: nn.Module, names: Sequence[str]) -> None:
    left = dict.fromkeys(names)
    parameters = dict(module.named_parameters())
    for name, part in module.named_modules():
        own = [f"{name}.{key}" if name else key for key, _ in part.named_parameters(recurse=False)]
        if own and all(key in left for key in own) and hasattr(part, "reset_parameters"):
            part.reset_parameters()
            for key in own:
                del left[key]
    for key in left:
        parameters[key].normal_(0, float(parameters[key].std()) if parameters[key].numel() > 1 else 1.0)
