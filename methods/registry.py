"""Rules for operations and modules that this package does not know: added by a name, in a line.

A rule for a torch function is a function ``rule(R, z, *arguments, **options)`` as in :mod:`methods.rules`: of
the relevance R of the output, the output z and the arguments of the call. One for a module is
``rule(R, z, x)`` of the module's output and its one input that carries relevance; what happens inside the
module is then not looked at. Either returns a tuple with one relevance for each argument that depends on the
model's input, in order.
"""

import re
from collections.abc import Callable

from torch import nn

from methods.rules import RuleSet

_added: dict[str, Callable | str] = {}

# Activations and normalisations that models spell out in several operations: one identity each, as those that
# torch has a single operation for.
_WHOLE = re.compile(r".*((GELU|SiLU|Swish|Mish|ReLU|Sigmoid|Tanh)(Tanh|Activation)?|RMSNorm|LayerNorm\w*)")


def register_rule(name: str, rule: Callable | str) -> None:
    """Add a rule, under every rule set, or replace the one there was.

    Args:
        name: of a torch function, as an error without the rule names it (``einsum``), or of a module's class
            (``MyNorm``).
        rule: a function, or the name of a kind of operation in :class:`methods.rules.RuleSet`, such as
            ``identity``.

    Raises:
        ValueError: if there is no such kind.
    """
    if isinstance(rule, str) and rule not in RuleSet.kinds():
        raise ValueError(f"rule={rule!r}: expected a function or one of {', '.join(RuleSet.kinds())}")
    _added[name] = rule


def rule_of_function(name: str) -> Callable | str | None:
    """What was registered for a torch function."""
    return _added.get(name)


def rule_of_module(module: nn.Module) -> Callable | str | None:
    """The rule of a module that is taken as a whole; None if what happens inside it counts."""
    name = type(module).__name__
    if name in _added:
        return _added[name]
    own = not type(module).__module__.startswith("torch.nn")
    return "identity" if own and not module._modules and _WHOLE.fullmatch(name) else None
