"""A model: logits that are finite, the same in any batch, and classes that fit; which methods can explain it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from bench.check.findings import Findings, Prepared, prepared
from bench.errors import BenchError
from bench.runner.cell import dataset_of
from methods import PartialLRP, Rollout, TransformerAttribution, verify
from methods.verify import relative_difference

SAME = 1e-4  # relative difference of logits in a batch and alone, float32
TRIED = (Rollout, PartialLRP, TransformerAttribution)


@dataclass(frozen=True)
class _Unlabelled:
    """The samples of a data set, whose labels say nothing of the model's classes."""

    dataset: Any

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return replace(self.dataset[index], label=None)


def check_model(config: Mapping[str, Any], found: Findings) -> None:
    """Check the model of a configuration on the samples of its data set."""
    found.subject = f"model {config['model']['name']}"
    setting = None
    with found.attempt("made"):
        dataset = dataset_of(config)
        try:
            setting = prepared(config, dataset)
            found.expect("made", True, f"{len(setting.model.classes)} classes, those of the data set", "")
        except BenchError as e:
            if "classes" not in str(e):
                raise
            found.note(
                "classes", f"not those of {config['dataset']['name']}, whose labels are left out here: {e}"
            )
            setting = prepared(config, _Unlabelled(dataset))
    if setting is None:
        return
    with found.attempt("logits"):
        _logits(setting, found)
    for method in TRIED:
        with found.attempt(method.__name__, refusal_is_fine=True):
            verify(method(), setting.model.forward, setting.batch.inputs)
            found.expect(method.__name__, True, "explains it, and passes all its checks on it", "")


def _logits(setting: Prepared, found: Findings) -> None:
    model, inputs, count = setting.model, setting.batch.inputs, len(setting.batch.ids)
    with torch.inference_mode():
        logits, again = model.forward(inputs), model.forward(inputs)
        alone = torch.cat([model.forward(_one(inputs, place)) for place in range(count)])
    expected = (count, len(model.classes))
    if not found.expect(
        "logits", tuple(logits.shape) == expected, f"{expected}", f"{tuple(logits.shape)}, not {expected}"
    ):
        return
    found.expect("finite", bool(logits.isfinite().all()), "all logits are finite", "NaN or infinite logits")
    found.expect(
        "again",
        torch.equal(logits, again),
        "a second pass gives the same",
        "a second pass gives other logits",
    )
    difference = float(relative_difference(alone, logits).max())
    found.expect(
        "alone",
        difference <= SAME,
        f"samples one by one give the logits of the batch, to {difference:.0e}",
        f"the logits of a sample alone differ from those in a batch by {difference:.1e}; is it in eval mode?",
    )
    found.expect(
        "content", bool(model.content), "its weights have a digest", "content is empty: it has no identity"
    )


def _one(inputs: Any, place: int) -> Any:
    if isinstance(inputs, Mapping):
        return {name: t[place : place + 1] for name, t in inputs.items()}
    return inputs[place : place + 1]
