"""What this installation offers of methods and metrics, looked up by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import methods
import metrics


class NotOfferedError(Exception):
    """There is nothing of this name; the message is the name."""


@dataclass(frozen=True)
class Nested:
    """A method that is a setting of another one.

    Attributes:
        method: the name of its class.
        settings: of that class.
    """

    method: str
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.method}({described(self.settings)})"


def offered(name: str) -> type:
    """The class of a method; raises NotOfferedError if there is none."""
    kind = getattr(methods, name, None)
    if not isinstance(kind, type):
        raise NotOfferedError(f"methods.{name}")
    return kind


def metric(name: str) -> Any:
    """A function or class of ``metrics``; raises NotOfferedError if there is none."""
    if (found := getattr(metrics, name, None)) is None:
        raise NotOfferedError(f"metrics.{name}")
    return found


def make(name: str, settings: Mapping[str, Any]) -> Callable:
    """A method in float64.

    Raises:
        NotOfferedError: if there is no such class.
        TypeError, ValueError: if the class does not have these settings.
    """
    kind = offered(name)
    given = {n: make(v.method, v.settings) if isinstance(v, Nested) else v for n, v in settings.items()}
    if is_dataclass(kind) and any(field.name == "dtype" for field in fields(kind)):
        given = {"dtype": "float64"} | given
    return kind(**given)


def described(settings: Mapping[str, Any]) -> str:
    """Settings as they are shown; of tensors only that they were given."""
    return ", ".join(f"{n}={v if isinstance(v, (int, float, str, Nested)) else '…'}" for n, v in settings.items())
