"""Modules of a user's own, which tests write, import and edit."""

import importlib
import sys
from pathlib import Path

import pytest


class Modules:
    """A folder of modules that can be imported; what is written over is imported anew, as by a new process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        folder.mkdir()
        self._folder, self._patch = folder, monkeypatch
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit within a second might not be seen

    def write(self, name: str, source: str) -> None:
        """Write a module, and forget all modules of the folder."""
        (self._folder / f"{name}.py").write_text(source)
        for file in self._folder.glob("*.py"):
            if file.stem in sys.modules:
                self._patch.delitem(sys.modules, file.stem)
        importlib.invalidate_caches()

    def edit_while_it_runs(self, name: str, source: str) -> None:
        """Write a module that stays imported as it was."""
        (self._folder / f"{name}.py").write_text(source)
