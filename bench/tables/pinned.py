"""The versions that the project pins, and how those that something was computed with differ."""

from collections.abc import Iterable, Mapping
from functools import cache

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from bench.catalogue import PACKAGE

FILE = PACKAGE / "constraints.txt"
# Those that may move a number in its last digits.
NUMERICAL = (
    *("torch", "torchvision", "timm", "transformers", "tokenizers"),
    *("numpy", "scipy", "scikit-learn", "pillow"),
)


@cache
def pinned(python: str) -> dict[str, str]:
    """The pinned version of each package, by name, under a version of Python (``3.11.7``)."""
    environment = {"python_full_version": python, "python_version": ".".join(python.split(".")[:2])}
    found = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate(environment):
                (specifier,) = one.specifier
                found[one.name.lower()] = specifier.version
    return found


def other_versions(records: Iterable[Mapping[str, str]]) -> str | None:
    """A sentence that names the versions which are not the pinned ones; None if all are.

    Args:
        records: versions by package, ``python`` among them. Builds do not count: 2.13.0+cpu is 2.13.0.
    """
    differing: dict[str, None] = {}
    for versions in records:
        known = pinned(versions["python"]) if "python" in versions else {}
        for package in NUMERICAL:
            own, expected = versions.get(package), known.get(package)
            if own is not None and expected is not None and _public(own) != _public(expected):
                differing[f"{package} {own} instead of {expected}"] = None
    if not differing:
        return None
    return (
        f"Computed with other versions than the pinned ones (bench/constraints.txt): {'; '.join(differing)}."
    )


def _public(version: str) -> str:
    try:
        return Version(version).public
    except InvalidVersion:  # of somebody's own build
        return version
