"""Every method written out for one sample: from its attention, gradient and relevance to its map."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import numpy as np
import pytest
import torch

from methods import LRP, GradCAM, PartialLRP, RawAttention, Rollout, TransformerAttribution
from methods.relevance import OLDER, PROPOSED, Tape
from tests.support.small_models import IMAGES, LENGTHS, make_bert, make_vit, texts

pytestmark = pytest.mark.numerical


def head_mean(maps):
    return sum(maps) / len(maps)


def positive(x):
    return np.maximum(x, 0)


def scaled(x):
    return np.zeros_like(x) if x.max() == x.min() else (x - x.min()) / (x.max() - x.min())


def rolled_up(maps, normalise):
    """Row 0 of (I + M_B) · … · (I + M_1), as whole matrices."""
    product = np.eye(len(maps[0]))
    for m in maps:
        m = m + np.eye(len(m))
        product = (m / m.sum(1, keepdims=True) if normalise else m) @ product
    return product[0]


def attributed(start, normalise=False, gradient=True):
    def definition(A, G, R, *_):
        parts = [g * r if gradient else r for g, r in zip(G[start:], R[start:], strict=True)]
        return rolled_up([head_mean(positive(part)) for part in parts], normalise)

    return definition


def rollout(start):
    return lambda A, *_: rolled_up([head_mean(a) for a in A[start:]], normalise=True)


def gradcam_row(A, G, *_):
    maps = [g[0, 1:].mean() * a[0, 1:] for a, g in zip(A[-1], G[-1], strict=True)]
    return np.concatenate([[0], scaled(positive(head_mean(maps)))])


def gradcam_matrix(A, G, *_):
    maps = [g.mean() * a for a, g in zip(A[-1], G[-1], strict=True)]
    return scaled(positive(head_mean(maps)))[0]


def raw_attention(A, *_):
    return head_mean(A[-1])[0]


def partial_lrp(A, G, R, older, entry):
    return head_mean(positive(older[-1]))[0]


DEFINITIONS = {
    "image": [
        (TransformerAttribution(), attributed(1)),
        (TransformerAttribution(use_gradient=False), attributed(1, gradient=False)),
        (TransformerAttribution(start_layer=-1), attributed(2)),
        (Rollout(), rollout(1)),
        (GradCAM(), gradcam_row),
        (RawAttention(), raw_attention),
        (PartialLRP(), partial_lrp),
        (LRP(), lambda *arrays: arrays[-1].sum(0)),  # over the channels
    ],
    "text": [
        (TransformerAttribution(start_layer=0, normalise_rows=True), attributed(0, normalise=True)),
        (TransformerAttribution(start_layer=-1, normalise_rows=True), attributed(2, normalise=True)),
        (Rollout(start_layer=0), rollout(0)),
        (GradCAM(weights="matrix"), gradcam_matrix),
        (RawAttention(), raw_attention),
        (PartialLRP(), partial_lrp),
        (LRP(), lambda *arrays: arrays[-1].sum(1)),  # over the hidden dimension
    ],
}
TARGETS = {"image": torch.tensor([3, 0, 1]), "text": torch.tensor([1, 0, 1])}


def case(modality):
    """Model, inputs of one batch, and each sample by itself, without padding."""
    if modality == "image":
        images = IMAGES.double()
        return make_vit().double(), images, [images[i : i + 1] for i in range(3)]
    bert, inputs = make_bert().double(), texts()
    alone = [
        {key: value[i : i + 1, :length] for key, value in inputs.items()} for i, length in enumerate(LENGTHS)
    ]
    return lambda batch: bert(**batch).logits, inputs, alone


def arrays_of(forward, inputs, target):
    """A, ∇A and R of every block, R under the older rules, and LRP of the entry, of one sample."""
    tape = Tape.record(forward, inputs)
    *older, entry = tape.relevance(target, [*tape.attentions, tape.entry], OLDER)
    of_blocks = (
        tape.attentions,
        tape.gradient(target, tape.attentions),
        tape.relevance(target, tape.attentions, PROPOSED),
        older,
    )
    return *([t[0].detach().numpy() for t in each] for each in of_blocks), entry[0].numpy()


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_batch_gives_the_maps_of_the_definitions(modality):
    forward, inputs, alone = case(modality)
    targets = TARGETS[modality]
    arrays = [arrays_of(forward, x, targets[i : i + 1]) for i, x in enumerate(alone)]
    for method, definition in DEFINITIONS[modality]:
        maps = method(forward, inputs, targets).numpy()
        for ours, each in zip(maps, arrays, strict=True):
            expected = definition(*each)
            ours, padding = ours[: len(expected)], ours[len(expected) :]
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-8, err_msg=str(method))
            assert (padding == 0).all()
