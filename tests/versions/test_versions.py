"""Whoever changes what something computes raises its version: results are told apart by it."""

import pytest

from tests.versions import golden as module
from tests.versions import numbers
from tests.versions.golden import complaint, golden, write


@pytest.mark.parametrize("name", numbers.names())
def test_numbers_move_only_with_the_version(name):
    assert (complaint(name, golden()) or "") == ""


def test_nothing_is_kept_that_is_gone():
    assert set(golden()) == set(numbers.names())


NAME = "metrics.segmentation.PixelAccuracy"


def test_a_change_without_a_new_version_is_told(monkeypatch):
    known, own = golden(), numbers.numbers_of(NAME)
    monkeypatch.setattr(module, "numbers_of", lambda name: [number * (1 + 1e-5) for number in own])
    assert "moved by 1e-05" in complaint(NAME, known)
    assert "raise the version" in complaint(NAME, known)
    monkeypatch.setattr(module, "numbers_of", lambda name: [number * (1 + 1e-9) for number in own])
    assert complaint(NAME, known) is None
    monkeypatch.setattr(module, "numbers_of", lambda name: [*own, 0.0])
    assert "in number" in complaint(NAME, known)


def test_new_versions_are_added_and_known_ones_never_overwritten(monkeypatch, tmp_path):
    own = {NAME: numbers.numbers_of(NAME)}
    monkeypatch.setattr(module, "FILE", tmp_path / "golden.json")
    monkeypatch.setattr(module, "names", lambda: [NAME])
    monkeypatch.setattr(module, "numbers_of", own.get)
    assert write() == []
    own[NAME] = [number + 1 for number in own[NAME]]
    assert "moved" in write()[0]
    monkeypatch.setattr(module, "version_of", lambda name: "1, 2")
    assert "python -m tests.versions" in complaint(NAME, golden())
    assert write() == []
    assert set(golden()[NAME]) == {numbers.version_of(NAME), "1, 2"}
