"""The one error a user is meant to read."""


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
