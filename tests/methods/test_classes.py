"""Several classes of one sample explained together.

Equal to the bit on one machine: for each class the same operations run on tensors of the same shapes.
"""

import pytest
import torch

from methods import LRP, GradCAM, PartialLRP, RandomMap, RawAttention, Rollout, TransformerAttribution
from tests.support.small_models import make_bert

pytestmark = pytest.mark.numerical

METHODS = [TransformerAttribution(), LRP(), PartialLRP(), GradCAM(), RawAttention(), Rollout(), RandomMap()]
CLASSES = torch.tensor([[1, 0, 2], [2, 2, 1]])


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_several_classes_give_the_maps_of_one_by_one(method, vit, images):
    images = images[:2]
    together = method(vit, images, CLASSES)
    one_by_one = torch.stack([method(vit, images, c) for c in CLASSES.unbind(1)], dim=1)
    assert together.shape == one_by_one.shape
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=0)
    if getattr(method, "class_specific", True):
        assert not torch.equal(together[0, 0], together[0, 1])


@pytest.mark.parametrize(
    "method",
    [TransformerAttribution(start_layer=-1), LRP(), GradCAM(weights="matrix")],
    ids=lambda method: type(method).__name__,
)
def test_several_classes_of_a_text(method):
    bert = make_bert("sdpa")
    inputs = {
        "input_ids": torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
    }

    def forward(inputs):
        return bert(**inputs).logits

    both = method(forward, inputs, torch.tensor([[0, 1], [1, 0]]))
    assert both.shape == (2, 2, 4)
    torch.testing.assert_close(both[:, 0], method(forward, inputs, torch.tensor([0, 1])), rtol=0, atol=0)


def test_the_model_runs_once_for_all_classes(vit, images):
    calls = []

    def forward(inputs):
        calls.append(len(inputs))
        return vit(inputs)

    TransformerAttribution()(forward, images[:2], CLASSES)
    assert calls == [2]


@pytest.mark.parametrize("shape", [(2, 0), (2, 1, 1)])
def test_a_target_of_another_shape_is_refused(shape, vit, images):
    with pytest.raises(ValueError, match=r"expected \(batch,\), or \(batch, classes\)"):
        TransformerAttribution()(vit, images[:2], torch.zeros(shape, dtype=torch.long))
