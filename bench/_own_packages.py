"""The packages ``methods`` and ``metrics`` are those beside this one, whatever else has these names.

Both names are ordinary words, and whoever evaluates a model is likely to have a ``metrics.py``. Python would take
that one where it is started in its folder.
"""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

NAMES = ("methods", "metrics")
ROOT = Path(__file__).resolve().parent.parent


class _Beside:
    """Finds the two packages beside this one; of the parts in them Python knows where they lie."""

    @staticmethod
    def find_spec(name: str, path=None, target=None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [str(ROOT)]) if name in NAMES else None


def import_from_beside() -> None:
    """Let ``import methods`` and ``import metrics`` find the packages beside this one.

    Raises:
        ImportError: if something else was imported under one of these names already.
    """
    for name in NAMES:
        file = getattr(sys.modules.get(name), "__file__", None)
        if name in sys.modules and (file is None or Path(file).resolve().parent != ROOT / name):
            raise ImportError(
                f"{name} was imported from {file} before bench, which has a package of this name; import bench "
                "first, or give that module another name"
            )
    if _Beside not in sys.meta_path:
        sys.meta_path.insert(0, _Beside)


def working_directory_last() -> None:
    """Let modules be imported from the working directory, but nothing in it take the place of what is installed.

    ``python -m`` puts it first.
    """
    here = os.getcwd()
    if sys.path and sys.path[0] in ("", here):
        del sys.path[0]
    if here not in sys.path:
        sys.path.append(here)
