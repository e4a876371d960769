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


def make(name: str, settings: Mapping[str, Any], common: Mapping[str, Any] | None = None) -> Callable:
    """A method in float64.

    Args:
        common: settings of all classes that have them, such as ``prefix_tokens``.

    Raises:
        NotOfferedError: if there is no such class.
        TypeError, ValueError: if the class does not have these settings.
    """
    kind = offered(name)
    common = {"dtype": "float64"} | dict(common or {})
    known = {field.name for field in fields(kind)} if is_dataclass(kind) else set()
    given = {n: value for n, value in common.items() if n in known}
    for n, value in settings.items():
        given[n] = make(value.method, value.settings, common) if isinstance(value, Nested) else value
    return kind(**given)


def described(settings: Mapping[str, Any]) -> str:
    """Settings as they are shown; of tensors only that they were given."""
    return ", ".join(
        f"{n}={v if isinstance(v, (int, float, str, Nested)) else '…'}" for n, v in settings.items()
    )
