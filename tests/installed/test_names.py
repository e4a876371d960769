"""The names methods and metrics belong to the packages beside bench; the working directory comes last."""

import os
import sys
from types import ModuleType

import pytest

from bench import _own_packages
from bench._own_packages import import_from_beside, working_directory_last


def test_what_was_imported_from_elsewhere_is_named(monkeypatch, tmp_path):
    theirs = ModuleType("metrics")
    theirs.__file__ = str(tmp_path / "metrics.py")
    monkeypatch.setitem(sys.modules, "metrics", theirs)
    with pytest.raises(ImportError, match=r"metrics was imported from .*metrics\.py before bench"):
        import_from_beside()


def test_a_package_is_found_beside_bench_whatever_the_path(monkeypatch, tmp_path):
    (tmp_path / "metrics.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = _own_packages._Beside.find_spec("metrics")
    assert found.origin == str(_own_packages.ROOT / "metrics" / "__init__.py")
    assert _own_packages._Beside.find_spec("mine") is None


def test_it_is_asked_once(monkeypatch):
    before = list(sys.meta_path)
    import_from_beside()
    assert sys.meta_path == before


@pytest.mark.parametrize("first", ["", None])
def test_the_working_directory_is_last(monkeypatch, tmp_path, first):
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    monkeypatch.setattr(sys, "path", [here if first is None else first, "/a", "/b"])
    working_directory_last()
    working_directory_last()
    assert sys.path == ["/a", "/b", here]
