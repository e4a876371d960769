"""Let the checkout run under a Python that has torch and lacks some pure-Python packages, and cannot fetch them."""

import importlib
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

PROJECT = Path(__file__).resolve().parents[2]


def carry(wheels: Path, scratch: Path) -> list[str]:
    """Make what is missing importable, behind all that is installed.

    Args:
        wheels: a folder of ``*-none-any.whl`` files; what is installed is left as it is, and so are wheels
            with compiled code. It need not exist.
        scratch: an empty folder, which must last as long as the process.

    Returns:
        The names of the packages that were taken from there.
    """
    taken = []
    for wheel in sorted(wheels.glob("*-none-any.whl")):
        name = wheel.name.partition("-")[0]
        if not _is_installed(name):
            with ZipFile(wheel) as archive:
                archive.extractall(scratch)
            taken.append(name)
    _describe_checkout(scratch)
    sys.path.append(str(scratch))
    importlib.invalidate_caches()
    return taken


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _describe_checkout(scratch: Path) -> None:
    """Give the project itself a version, which records ask for, where it runs without being installed."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    if _is_installed(project["name"]):
        return
    folder = scratch / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    folder.mkdir()
    text = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (folder / "METADATA").write_text(text)
