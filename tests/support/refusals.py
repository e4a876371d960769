"""What every refusal of a user's input has in common."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.errors import BenchError


@contextmanager
def refused(expected: str) -> Iterator[pytest.ExceptionInfo]:
    """What is done in it has to end in a BenchError of one readable line that matches ``expected``."""
    with pytest.raises(BenchError, match=expected) as raised:
        yield raised
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 1000


def read_all(dataset) -> None:
    """Read every sample of a data set."""
    for index in range(len(dataset)):
        dataset[index]
