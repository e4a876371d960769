"""What the programs that read the result store have in common on the command line."""

import sys
from collections.abc import Callable, Iterable, Sequence

from bench.console import say
from bench.errors import BenchError


def choices(kind: str, known: Iterable[str], arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What to make (all that is known, if none is chosen) and the overrides it is made under.

    Raises:
        BenchError: for a choice that is not known, or several protocols.
    """
    names = [a.partition("=")[2] for a in arguments if a.startswith((f"{kind}=", "task="))] or list(known)
    if unknown := [name for name in names if name not in known]:
        raise BenchError(f"{kind}={unknown[0]}: expected one of {', '.join(known)}")
    # All methods are shown together, so a choice among these means nothing here.
    others = [a for a in arguments if not a.startswith((f"{kind}=", "task=", "method", "+method"))]
    if any(a.startswith("protocol=") and "," in a for a in others):
        raise BenchError(f"a {kind} is of one protocol; make one for each, e.g. with protocol=clean")
    return names, others


def command_line(program: Callable[[Sequence[str]], None]) -> None:
    """Run a program on its arguments; a user's mistake ends it with a message and exit code 2."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(sys.modules["__main__"].__doc__)
        return
    try:
        program(sys.argv[1:])
    except BenchError as e:
        say(f"error: {e}")
        sys.exit(2)
