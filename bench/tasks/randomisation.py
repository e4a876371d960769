"""Do maps change when the model forgets what it learned? Model parameter randomisation."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from bench.errors import BenchError
from bench.models import Model
from bench.models.randomised import STAGES, parameters_of, randomised
from bench.tasks.base import Explanations, Variant
from metrics import spearman


@dataclass(frozen=True)
class RandomisedModel(Variant):
    """The model with random parameters from the head down, for the same class.

    Args:
        stage: how far down: one of :data:`bench.models.randomised.STAGES`.
        seed: of the parameters.
    """

    stage: str
    seed: int

    def model(self, model: Model) -> AbstractContextManager:
        """While it is entered, the model has these parameters."""
        return randomised(model.module, self.stage, self.seed)


@dataclass(frozen=True)
class ParameterRandomisation:
    """Spearman's correlation of the map with those of ever more random models, on patches or tokens.

    Adebayo et al., NeurIPS 2018; layers are randomised cumulatively from the head down. Columns:
    ``similarities``, a number for each stage, the mean over seeds; ``similarity``, their mean;
    ``similarity_random``, that with the wholly random model. None where a map is constant.

    Args:
        seeds: of the random parameters.

    Raises:
        BenchError: for settings out of range.
    """

    name: ClassVar[str] = "parameter_randomisation"
    version: ClassVar[int] = 1
    modality: ClassVar[None] = None
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False

    seeds: Sequence[int] = (0, 1, 2)

    def __post_init__(self):
        if (
            not isinstance(self.seeds, (list, tuple))
            or not self.seeds
            or any(type(s) is not int for s in self.seeds)
        ):
            raise BenchError(f"protocol.sanity.seeds={self.seeds}: expected a list of whole numbers")

    @cached_property
    def variants(self) -> Sequence[Variant]:
        """An explanation of each random model."""
        return tuple(RandomisedModel(stage, seed) for stage in STAGES for seed in self.seeds)

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for a model whose blocks cannot be told."""
        parameters_of(model.module, "all")

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The similarities of each sample."""
        words = explanations.batch.words
        valid = None if words is None else words >= 0
        plain = explanations.maps.values.flatten(1)
        found = [spearman(plain, explanations.others[v].values.flatten(1), valid) for v in self.variants]
        by_stage = (
            torch.stack(found, dim=1).unflatten(1, (len(STAGES), len(self.seeds))).mean(dim=2).cpu().numpy()
        )
        whole = by_stage.mean(axis=1)
        return {
            "similarities": [None if np.isnan(row).any() else row for row in by_stage],
            "similarity": [None if value != value else float(value) for value in whole],
            "similarity_random": [None if value != value else float(value) for value in by_stage[:, -1]],
        }
