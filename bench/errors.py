"""The one error a user is meant to read, and what its messages have in common."""

from collections.abc import Iterable
from difflib import get_close_matches


class BenchError(Exception):
    """Something the user can mend: a path, a key, a file.

    The message names the file or configuration key, says what was expected and how to mend it.
    ``python -m bench`` prints it without a traceback and exits with code 2. It is one line, also where it
    quotes a library that writes several.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(line.strip() for line in message.splitlines() if line.strip()))


def first_line(error: Exception) -> str:
    """What an error says, in one line; its kind, where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The names that are alike, as a question, and else all of them: the end of a message."""
    known = list(known)
    return meant(word, known) or f"expected one of {', '.join(sorted(known))}"


def meant(word: str, known: Iterable[str]) -> str:
    """The names that are alike, as a question; nothing where none is."""
    alike = get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(alike)}?" if alike else ""
