"""What code a stored number comes from: versions of the project's own, sources of everybody else's."""

import ast
import hashlib
import inspect
import sys
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from bench.errors import BenchError

OWN = ("bench", "methods", "metrics")


def code_of(made: Any, section: str) -> dict[str, Any]:
    """What identifies the code behind an object, a class or a function.

    Its ``version`` where it states one; for what lies outside the project also the SHA-256 of the sources: of the
    module that defines it and those that it imports from the same folder, or the name and version of the
    distribution that it is installed from. For a class, also what identifies its bases.

    Args:
        section: of the configuration, for messages.

    Raises:
        BenchError: if the source cannot be read and no version is stated.
    """
    thing = made if inspect.isclass(made) or inspect.isroutine(made) else type(made)
    described: dict[str, Any] = {}
    for base in reversed(thing.__mro__) if inspect.isclass(thing) else [thing]:
        if base.__module__ in ("builtins", "abc", "typing", "collections.abc") or base is object:
            continue
        found = _own_code(base, section)
        if found:
            described[f"{base.__module__}.{base.__qualname__}" if _is_own(base) else base.__qualname__] = (
                found
            )
    return described


def _own_code(thing: Any, section: str) -> Any:
    stated = vars(thing).get("version") if inspect.isclass(thing) else getattr(thing, "version", None)
    if _is_own(thing):
        return stated
    module = sys.modules.get(thing.__module__)
    file = Path(getattr(module, "__file__", None) or "")
    if file.suffix == ".py" and file.is_file():
        name = _distribution(thing.__module__.partition(".")[0], file)
        source = {"distribution": name} if name else {"sources": _sources_when_met(thing, module)}
    else:
        try:
            source = {"source": _sha256(inspect.getsource(thing).encode())}
        except (OSError, TypeError) as e:
            if stated is None:
                raise BenchError(
                    f"{section}: the source of {thing.__qualname__} cannot be read, so nobody could tell whether "
                    f"it was changed; state a version in it (version = 1) or put it into a file"
                ) from e
            source = {}
    return source if stated is None else source | {"version": stated}


def _is_own(thing: Any) -> bool:
    return thing.__module__.partition(".")[0] in OWN


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _distribution(package: str, file: Path) -> str | None:
    """The installed distribution, with its version, that a module's file belongs to; None for a local file."""
    if not {"site-packages", "dist-packages"} & set(file.parts):
        return None
    names = _distributions().get(package)
    return f"{names[0]} {version(names[0])}" if names else None


_met: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()


def _sources_when_met(thing: Any, module: ModuleType) -> dict[str, str]:
    """The sources when this class or function was met first in this process.

    What runs is what was imported: a file that is edited while a sweep goes on changes nothing in it.
    """
    if thing not in _met:
        _met[thing] = _sources(module)
    return _met[thing]


def _sources(module: ModuleType) -> dict[str, str]:
    """SHA-256 of a module's file and of those it imports from its folder, by their names there."""
    file = Path(module.__file__)
    # Of a package: the folder that holds the outermost one.
    root = file.parents[len(module.__name__.split(".")) - (0 if file.name == "__init__.py" else 1)]
    root = file.parent if module.__name__ == "__main__" else root
    found: dict[str, str] = {}
    _read(file, root, found)
    return dict(sorted(found.items()))


def _read(file: Path, root: Path, found: dict[str, str]) -> None:
    name = str(file.relative_to(root))
    if name in found:
        return
    content = file.read_bytes()
    found[name] = _sha256(content)
    package = file.parent.relative_to(root).parts
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            wanted = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = list(package[: len(package) - node.level + 1]) if node.level else []
            base = above + (node.module.split(".") if node.module else [])
            wanted = [base, *([*base, alias.name] for alias in node.names)]
        else:
            continue
        for parts in wanted:
            if parts and parts[0] in OWN:  # which state versions, wherever the user's file lies
                continue
            for path in _files(root, parts):
                _read(path, root, found)


def _files(root: Path, parts: list[str]) -> list[Path]:
    """The files below a folder that importing a dotted name runs."""
    inits = [root.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    module = root.joinpath(*parts[:-1], f"{parts[-1]}.py") if parts else root / "none"
    return [path for path in (*inits, module) if path.is_file()]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
