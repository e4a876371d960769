"""Where the code of a method is that is not the project's own: a package at a commit, or a distribution."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.store.code import OWN

COMMIT = re.compile(r"[0-9a-f]{7,64}")
FOREIGN_MAPS = "bench.runner.foreign.ForeignMaps"
REMEDY = "commit and push its code and name it with --source URL@COMMIT"


def is_own(target: str) -> bool:
    """Whether a ``_target_`` is the project's own method; maps from a file are somebody else's."""
    return target.partition(".")[0] in OWN and target != FOREIGN_MAPS


def source_of(made_of: Mapping[str, Any], given: str | None = None) -> dict[str, str] | None:
    """Where the code of a method is: ``url`` and ``commit``, or a ``distribution``; None for the project's own.

    Args:
        made_of: its part of a cell's identity.
        given: ``URL@COMMIT``; None looks at the repository that its file lies in.

    Raises:
        BenchError: if it is not known, or the sources that the cells were made with are not those of the commit.
    """
    target = made_of["target"]
    if is_own(target):
        return None
    if given is not None:
        url, _, commit = given.rpartition("@")
        if not url or not COMMIT.fullmatch(commit):
            raise BenchError(f"--source {given}: expected URL@COMMIT, the commit in hexadecimal digits")
        return {"url": public(url), "commit": commit}
    described = [one for one in (made_of.get("code") or {}).values() if isinstance(one, Mapping)]
    if distributions := [one["distribution"] for one in described if "distribution" in one]:
        return {"distribution": distributions[-1]}
    folder = _folder(target)
    commit, url = (
        _git(folder, *command) for command in (("rev-parse", "HEAD"), ("remote", "get-url", "origin"))
    )
    if not commit or not url:
        lacking = "the commit" if not commit else "the remote origin"
        raise BenchError(f"method {target}: {lacking} of its repository is not known ({folder}); {REMEDY}")
    for one in described:
        for name, digest in one.get("sources", {}).items():
            if _committed(folder, commit, name) != digest:
                raise BenchError(
                    f"method {target}: {name} as it was run is not that of the last commit of {folder}; "
                    "commit it, and run the cells again if it was changed since"
                )
    return {"url": public(url), "commit": commit}


def public(url: str) -> str:
    """A URL without the name and password that it may hold."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def _folder(target: str) -> Path:
    """The folder that the names of a method's sources are relative to."""
    module = target.rpartition(".")[0]
    try:
        while find_spec(module) is None:  # the target may be a class in a class
            module = module.rpartition(".")[0]
        file = Path(sys.modules[module].__file__ if module in sys.modules else find_spec(module).origin)
    except (ImportError, ValueError, AttributeError, TypeError) as e:
        raise BenchError(f"method {target}: its file is not found from here; {REMEDY}") from e
    depth = len(module.split(".")) - (0 if file.name == "__init__.py" else 1)
    return file.resolve().parents[depth]


def _committed(folder: Path, commit: str, name: str) -> str | None:
    """The SHA-256 of a file of a folder at a commit; None if it is not there."""
    command = ["git", "-C", str(folder), "show", f"{commit}:./{Path(name).as_posix()}"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    return hashlib.sha256(done.stdout).hexdigest() if done.returncode == 0 else None


def _git(folder: Path, *arguments: str) -> str:
    """What git prints in a folder; nothing where it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
