"""Command lines that differ in the folder of their results alone are composed once."""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

from omegaconf import DictConfig

RESULTS = re.compile(r"paths\.results=(/[\w./-]+|'/(?:[^'\\]|\\.)*')")  # in quotes where a path needs them
ELSEWHERE = "paths.results=/a/folder/of/results"  # composed in the place of that of each test


def composing_once(compose: Callable) -> Callable:
    """What ``bench.config`` composes with, but remembering.

    Composing takes half a second, of some tasks several, and most tests ask for the same with a folder of their own,
    to which nothing else of a configuration refers. Under folders of choices, which tests fill, it remembers nothing.
    """

    @lru_cache(maxsize=64)
    def remembered(others: tuple[str, ...]) -> DictConfig:
        return compose((ELSEWHERE, *others), ())

    @lru_cache(maxsize=64)  # as many as bench.config remembers itself
    def composed(overrides: tuple[str, ...], dirs: tuple[Path, ...]) -> DictConfig:
        results = [given[1] for given in map(RESULTS.fullmatch, overrides) if given]
        others = tuple(override for override in overrides if not RESULTS.fullmatch(override))
        if not results or dirs or any("paths.results" in other or "hydra" in other for other in others):
            return compose(overrides, dirs)
        config = deepcopy(remembered(others))
        config.paths.results = re.sub(r"\\(.)", r"\1", results[-1].removeprefix("'").removesuffix("'"))
        return config

    return composed
