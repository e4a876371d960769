"""What a stored thing is made of: never where it lies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.config import DESCRIPTION, fingerprint

LONGEST = 40  # characters of a name in a file's name; the fingerprint tells the files apart
PATHS = {"path", "checkpoint"}  # settings that say where something lies
ANY = "any"  # the explained class of what does not depend on it
MAPS = "maps"  # the folder of explanations


def component(section: Mapping[str, Any], code: Any = None, content: Any = None) -> dict[str, Any]:
    """A section of a configuration as part of an identity.

    Args:
        section: with its ``_target_``. Names, titles and places do not count.
        code: :func:`bench.store.code.code_of` it.
        content: digests of the files behind it.
    """
    left_out = DESCRIPTION | PATHS
    settings = {key: value for key, value in section.items() if key not in left_out}
    return {"target": section["_target_"], "settings": settings, "code": code, "content": content}


def chosen_samples(config: Mapping[str, Any]) -> dict[str, Any]:
    """Which samples of its data set a configuration asks for, as part of an identity."""
    chosen = {"limit": config["limit"], "seed": config["seed"]}
    # Cells of all samples are known without it.
    return chosen if config.get("subset") is None else {**chosen, "subset": config["subset"]}


def recipe(identity: Any) -> Any:
    """An identity without code and content: what a command line can say without data, weights or sources."""
    if isinstance(identity, Mapping):
        return {key: recipe(value) for key, value in identity.items() if key not in ("code", "content")}
    return identity


@dataclass(frozen=True)
class CellId:
    """What a cell is.

    A cell holds one table with a row per sample: the maps of an explanation, or the columns of a measurement.

    Attributes:
        kind: the folder of its files: ``maps``, or the name of a measurement.
        identity: everything that its rows are made of, as plain data.
        names: of data set, model, method and explained class, for people.
    """

    kind: str
    identity: Mapping[str, Any] = field(repr=False)
    names: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Digits that change with anything in the identity."""
        return fingerprint(self.identity)

    @property
    def stem(self) -> str:
        """The name of its files, without suffixes."""
        names = (re.sub(r"[^\w-]+", "_", name, flags=re.ASCII)[:LONGEST] for name in self.names)
        return "--".join((*names, self.fingerprint))

    def __str__(self) -> str:
        return f"{self.kind}: {', '.join(self.names)}"


def differences(one: Any, other: Any, prefix: str = "") -> list[str]:
    """The dotted keys at which two identities differ, with both values."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = [*one, *(key for key in other if key not in one)]
        return [
            line
            for key in keys
            for line in differences(one.get(key), other.get(key), f"{prefix}.{key}" if prefix else str(key))
        ]
    return [] if one == other else [f"{prefix}: {_short(one)} and {_short(other)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:12]}…"
