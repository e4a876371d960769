"""The page of many methods has a bounded size, which is counted in bytes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bench  # noqa: F401
from bench.data import TextSample
from bench.models import Batch, Maps
from bench.report.__main__ import main
from bench.report.page import LARGEST
from bench.report.shown import Seen
from tests.support.many_methods import COUNT, fill

WORDS, SIDE = 400, 224


class Noise:
    """In the place of :class:`bench.report.shown.Shown`: images, texts and maps of noise, which hardly compress."""

    def __init__(self, selection, methods, named=()):
        self.config, self.task = selection.config, selection.task
        self.labels = [one.label for one in methods]
        self.ids, self.left_out = sorted(selection.results[0].rows["id"]), {}
        self.of_text = self.task.modality == "text"
        self.classes = [SimpleNamespace(name="no"), SimpleNamespace(name="yes")]
        self.generator = torch.Generator().manual_seed(0)

    def knows_classes(self, label: str) -> bool:
        return label != "rollout"

    def see(self, name: str) -> Seen:
        sample = SimpleNamespace(
            id=name, label=1, mask=None, image=torch.rand(3, SIDE, SIDE, generator=self.generator)
        )
        if not self.of_text:
            return Seen(Batch([sample], torch.zeros(1, 3, SIDE, SIDE)), [1, 0], [0.9, 0.1])
        sample = TextSample(name, ["incomprehensible"] * WORDS, 1, np.arange(WORDS) % 3 == 0)
        return Seen(Batch([sample], torch.zeros(1, WORDS), torch.arange(WORDS)[None]), [1, 0], [0.9, 0.1])

    def maps(self, label: str, seen: Seen, number: int) -> Maps:
        shape = (1, WORDS) if self.of_text else (1, SIDE, SIDE)
        return Maps(torch.rand(shape, generator=self.generator), torch.zeros(1, 0), torch.tensor([number]))


@pytest.fixture
def page(tmp_path, monkeypatch) -> str:
    """Of 25 methods in three tasks."""
    fill(tmp_path, samples=40)
    monkeypatch.setattr("bench.report.page.Shown", Noise)
    main([f"paths.results={tmp_path}", "samples=4", "curves=0"])
    return Path(tmp_path, "embedded", "report", "index.html").read_text()


@pytest.mark.slow
def test_25_methods_fit_and_what_does_not_is_said(page):
    assert page.count("data-caption=") > 3 * 2 * COUNT  # a sample of each task at least
    assert LARGEST / 2 < len(page.encode()) < LARGEST == 15_000_000
    assert "the page has no room for more" in page
    # The words of a text stand there once, whatever the number of methods.
    assert page.count("<template>") == page.count('class="sample of-text"') == 16
