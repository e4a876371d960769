"""What the files of ``conf`` say about methods, tasks and protocols, without composing a configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

PACKAGE = Path(__file__).resolve().parent
# In a checkout the choices and the published numbers lie beside the package, and data and results belong there
# too; where the package is installed, these two lie in it, and everything else below the working directory.
INSTALLED = (PACKAGE / "conf").is_dir()
PROJECT = PACKAGE.parent
CONF = PACKAGE / "conf" if INSTALLED else PROJECT / "conf"
REFERENCE = PACKAGE / "reference" if INSTALLED else PROJECT / "results" / "reference"

UNKNOWN_ORDER = 500  # the place of methods without a file: behind those with one, before floor and ceiling


@dataclass(frozen=True)
class MethodFacts:
    """What tables, figures and pages need to know of a method.

    Attributes:
        name: in tables and files.
        title: for readers.
        kind: ``method``, ``ablation`` (a part of another), ``floor`` or ``ceiling``: the last two are rows to
            read the others by, and compete with none.
        order: its place among all.
        family: of methods that work alike, which figures give one colour.
    """

    name: str
    title: str
    kind: str
    order: int
    family: str = "other"

    @property
    def competes(self) -> bool:
        """Whether it can be the best."""
        return self.kind not in ("floor", "ceiling")


class Catalogue:
    """The choices in the project's folder of configurations and in those that a command line adds.

    Args:
        folders: the added ones.
    """

    def __init__(self, folders: Sequence[str | Path] = ()):
        self.folders = (CONF, *map(Path, folders))

    def names(self, group: str) -> list[str]:
        """The choices of a group, such as ``task``, in the order of their names and of the folders."""
        files = [file for folder in self.folders for file in sorted((folder / group).glob("*.yaml"))]
        return list(dict.fromkeys(file.stem for file in files))

    def file(self, group: str, name: str) -> Path | None:
        """The file of a choice; None if there is none."""
        files = (folder / group / f"{name}.yaml" for folder in self.folders)
        return next((file for file in files if file.exists()), None)

    def read(self, group: str, name: str) -> dict[str, Any]:
        """The plain content of a file, with those of the same group that its defaults name; {} if there is none."""
        return _read(self, group, name)

    def method(self, name: str) -> MethodFacts:
        """What is known of a method; one without a file is an ordinary one."""
        found = self.read("method", name)
        return MethodFacts(
            name,
            str(found.get("title") or name.replace("_", " ")),
            str(found.get("kind", "method")),
            int(found.get("order", UNKNOWN_ORDER)),
            str(found.get("family", "other")),
        )

    def methods(self) -> list[MethodFacts]:
        """All that have a file."""
        return [self.method(name) for name in self.names("method")]

    def known_targets(self) -> set[str]:
        """The ``_target_`` of every method that has a file."""
        return {str(self.read("method", name).get("_target_")) for name in self.names("method")} - {"???"}

    def tables(self) -> dict[str, dict[str, Any]]:
        """The sections ``task`` of all tasks, by name, in the order of the paper's and then of names."""
        tasks = {name: self.read("task", name).get("task", {}) for name in self.names("task")}
        return dict(
            sorted(tasks.items(), key=lambda item: (item[1].get("table", {}).get("order", 99), item[0]))
        )

    def __hash__(self) -> int:
        return hash(self.folders)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalogue) and self.folders == other.folders


@lru_cache(maxsize=512)
def _read(catalogue: Catalogue, group: str, name: str) -> dict[str, Any]:
    file = catalogue.file(group, name)
    if file is None:
        return {}
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False) or {}
    merged: dict[str, Any] = {}
    for parent in content.pop("defaults", []):
        if isinstance(parent, str) and parent != "_self_":
            merged |= catalogue.read(group, parent)
    return merged | content


def base_name(label: str) -> str:
    """The name of a method, from its label in a table, which may go on with settings in brackets."""
    return label.partition(" (")[0]


def catalogue_of(config: Mapping[str, Any]) -> Catalogue:
    """The catalogue under which a configuration was composed."""
    return Catalogue(tuple(config.get("config_dirs", ())))
