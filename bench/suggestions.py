"""What a command line may have meant by a choice or a setting that there is not."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bench.catalogue import Catalogue
from bench.errors import BenchError, did_you_mean

GROUPS = ("task", "method", "metric", "dataset", "model", "suite", "protocol", "experiment", "measurement")
NOTHING = ("null", "none")


class UnknownSettingError(BenchError):
    """A command line sets what a configuration has not."""


def choices(facts: Catalogue, group: str) -> list[str]:
    """The names of the files of a group, those in folders as ``small_real/image``."""
    files = [(file, folder / group) for folder in facts.folders for file in (folder / group).rglob("*.yaml")]
    return list(dict.fromkeys(str(Path(file).relative_to(base).with_suffix("")) for file, base in files))


def check_form(overrides: Sequence[str], sweeping: bool = False) -> None:
    """Look at how overrides are written, before hydra does in words of its own.

    Args:
        sweeping: whether one may have several values, as method=rollout,lrp.

    Raises:
        BenchError: for the first that cannot be read, or has several values where there can be one.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser  # --help needs nothing of it
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    for override in overrides:
        key, equals, value = override.partition("=")
        if override.startswith("-"):
            raise BenchError(f"{override}: there is no such option; --help says what there is")
        if not equals and not override.startswith("~"):
            raise BenchError(f"{override}: expected NAME=VALUE, as method=rollout")
        if key in GROUPS and not value:
            raise BenchError(f"{override} has no value: tebench list {key}s shows what there is")
        try:
            several = parser.parse_override(override).is_sweep_override()
        except HydraException as e:
            reason = str(e).splitlines()[0]
            raise BenchError(
                f"{override}: cannot be read ({reason}); put quotes around a value with special characters, "
                f"as in \"{key or 'NAME'}='a, b'\""
            ) from e
        if several and not sweeping:
            raise BenchError(
                f"{override}: several values need -m, as in tebench run -m {override}; one value with a comma "
                f"in it needs quotes, as in \"{key}='a, b'\""
            )


def check_choices(overrides: Sequence[str], facts: Catalogue) -> None:
    """Look at the choices of methods, tasks, suites and the like; one of a sweep may list several.

    Raises:
        BenchError: for the first that there is not, with those that are alike.
    """
    for override in overrides:
        key, equals, value = override.partition("=")
        group = key.lstrip("+").partition("@")[0].strip("/")
        if not equals or group not in GROUPS or not re.fullmatch(r"[\w/., -]+", value):
            continue  # what is quoted or computed is left to hydra
        known = choices(facts, group)
        for name in (name.strip() for name in value.split(",")):
            if name not in (*known, *NOTHING):
                raise BenchError(f"{group}={name}: there is no such {group}; {did_you_mean(name, known)}")


def unknown_setting(key: str, settings: Mapping[str, Any]) -> str:
    """What to say of a setting that a configuration has not.

    Args:
        key: dotted.
        settings: all that there are, under dotted names.
    """
    sections = {name.rpartition(".")[0] for name in settings} - {""}
    section, _, last = key.rpartition(".")
    own = {name.removeprefix(f"{section}."): name for name in settings if name.startswith(f"{section}.")}
    alike = [own[name] for name in get_close_matches(last, own, n=3)] if section else []
    alike = alike or get_close_matches(key, [*settings, *sections], n=3)
    meant = f"did you mean {' or '.join(alike)}? " if alike else ""
    return f"{key}: there is no such setting; {meant}+{key}=… adds one, for a method or model of your own that takes it"
