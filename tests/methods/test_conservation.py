"""What every rule, and a whole network, keeps of the total relevance, and where the rest goes.

The proposed rules lose what the stabiliser ε costs, exactly a factor Z / (Z + ε) for each output, and what an
output without a positive contribution had. Biases take no share. What is added to the tokens from outside,
the position embedding and the class token, takes its share with it: pixels get the rest.
"""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.relevance import OLDER, PROPOSED, Tape, rules
from tests.support.small_models import enlarged, make_bert, make_vit, rand, texts

pytestmark = pytest.mark.numerical

EPS = 1e-9
BATCH = 4

# Nearly every draw differs, so a seed is all that there is to shrink.
draws = settings(max_examples=30, deadline=None)
seeds = given(seed=st.integers(0, 2**30))


def total(relevance):
    return relevance.flatten(1).sum(1)


def kept(R, z):
    """R less what the stabiliser takes: R · z / (z + ε)."""
    return R * z / (z + EPS)


def close(a, b, atol=1e-9):
    torch.testing.assert_close(a, b, rtol=1e-7, atol=atol)


# --- single rules


@draws
@seeds
def test_linear_keeps_the_total_but_for_outputs_without_positive_contribution(seed):
    x, w, R = rand(3, 5, seed=seed), rand(4, 5, seed=seed + 1), rand(3, 4, seed=seed + 2)
    bias = 10 * rand(4, seed=seed + 3)
    Z = (x[:, None] * w).clamp(min=0).sum(-1)  # 0 where no contribution is positive
    (ours,) = rules.linear_positive(R, F.linear(x, w, bias), x, w, bias)
    close(total(ours), kept(R, Z).sum(1))


@draws
@seeds
def test_the_older_linear_rule_hands_out_once_for_each_sign_that_is_present(seed):
    x, w, R = rand(3, 5, seed=seed), rand(4, 5, seed=seed + 1), rand(3, 4, seed=seed + 2)
    (ours,) = rules.linear_parts(R, x @ w.T, x, w)
    parts = [(x.clamp(**side)[:, None] * w.clamp(**side)).sum(-1) for side in ({"min": 0}, {"max": 0})]
    close(total(ours), sum(kept(R, Z).sum(1) for Z in parts))


def test_so_the_older_linear_rule_doubles_the_total_of_wide_layers():
    x, w = rand(3, 20, zeros=False), rand(4, 20, seed=1, zeros=False)
    R = rand(3, 4, seed=2)
    (ours,) = rules.linear_parts(R, x @ w.T, x, w)
    close(total(ours), 2 * total(R), atol=1e-7)


@draws
@seeds
def test_matmul_gives_half_of_the_total_to_each_factor(seed):
    u, v = rand(3, 4, 5, seed=seed, zeros=False), rand(3, 5, 2, seed=seed + 1, zeros=False)
    R = rand(3, 4, 2, seed=seed + 2)
    for share in PROPOSED.matmul(R, u @ v, u, v):
        close(total(share), total(kept(R, u @ v)) / 2)


@draws
@seeds
def test_add_keeps_the_total_of_each_sample_and_the_ratio_of_the_shares(seed):
    u, v = rand(3, 2, 4, seed=seed, zeros=False), rand(3, 2, 4, seed=seed + 1, zeros=False)
    R = rand(3, 2, 4, seed=seed + 2)
    R_u, R_v = rules.add_normalised(R, u + v, u, v)
    torch.testing.assert_close(total(R_u) + total(R_v), total(R), rtol=1e-6, atol=1e-8)
    a, b = rules.add_proportional(R, u + v, u, v)
    ratio = total(a).abs() / total(b).abs()
    torch.testing.assert_close(total(R_u).abs(), ratio * total(R_v).abs(), rtol=1e-6, atol=1e-8)


@draws
@seeds
def test_the_older_add_keeps_the_total_too_but_with_shares_of_any_size(seed):
    u, v, R = (rand(3, 2, 4, seed=seed + i, zeros=False) for i in range(3))
    R_u, R_v = OLDER.add(R, u + v, u, v)
    # Twice: the sum itself counts as a tensor used twice.
    close(total(R_u) + total(R_v), total(kept(kept(R, u + v), u + v)))


@draws
@seeds
def test_shift_loses_the_share_of_the_constant_and_no_more(seed):
    x, constant, R = (rand(3, 2, 4, seed=seed + i, zeros=False) for i in range(3))
    (ours,) = PROPOSED.shift(R, x + constant, x, constant)
    (dropped,) = PROPOSED.shift(R, x + constant, constant, x)
    z = x + constant
    close(ours + dropped, kept(kept(R, z), z))
    close(dropped, kept(R, z) * constant / (z + EPS))


@draws
@seeds
def test_pixels_keep_the_total(seed):
    x, w = rand(2, 3, 6, 6, seed=seed), rand(4, 3, 2, 2, seed=seed + 1, zeros=False)
    z = F.conv2d(x, w, stride=2)
    R = rand(*z.shape, seed=seed + 2)
    (ours,) = PROPOSED.pixels(R, z, x, w, None, 2)
    low, high = (bound(x, (1, 2, 3))[:, None, None, None].expand_as(x) for bound in (torch.amin, torch.amax))
    Z = z - F.conv2d(low, w.clamp(min=0), stride=2) - F.conv2d(high, w.clamp(max=0), stride=2)
    close(total(ours), total(kept(R, Z)))


# --- whole networks


@pytest.fixture(scope="module")
def vit_relevance():
    """Relevance of what enters each block, of A·V, A, patches and pixels; these tensors; and the ViT."""
    model = enlarged(make_vit(), std=0.3).double()
    seen = {"inputs": [], "products": [], "patches": []}
    for block in model.blocks:
        block.register_forward_pre_hook(lambda _, args: seen["inputs"].append(args[0]))
        block.attn.proj.register_forward_pre_hook(lambda _, args: seen["products"].append(args[0]))
    model.patch_embed.register_forward_hook(lambda _, __, output: seen["patches"].append(output))
    tape = Tape.record(model, rand(BATCH, 3, 32, 32, zeros=False))
    seen |= {"attentions": tape.attentions, "pixels": [tape.entry]}

    def relevance(rule_set):
        flat = [t for tensors in seen.values() for t in tensors]
        found = iter(tape.relevance(None, flat, rule_set))
        return {name: [next(found) for _ in tensors] for name, tensors in seen.items()}

    return relevance, seen, model


def test_proposed_rules_keep_the_total_through_the_blocks(vit_relevance):
    relevance, _, _ = vit_relevance
    for at_block in relevance(PROPOSED)["inputs"]:
        close(total(at_block), torch.ones(BATCH).double(), atol=1e-6)


def test_attention_gets_half_of_what_reaches_its_product_with_the_values(vit_relevance):
    # So the R^(b) of a block do not sum to 1: the values have the other half, the skip connection the rest.
    found = vit_relevance[0](PROPOSED)
    for attention, product in zip(found["attentions"], found["products"], strict=True):
        close(total(attention), total(product) / 2, atol=1e-6)
        assert (total(attention).abs() < 0.5 + 1e-6).all()


def test_class_token_and_position_embedding_take_what_the_pixels_do_not_get(vit_relevance):
    relevance, seen, model = vit_relevance
    found, tokens, positions = relevance(PROPOSED), seen["inputs"][0], model.pos_embed.detach()
    at_tokens = found["inputs"][0]
    class_token = total(at_tokens[:, :1])
    position_embedding = total((positions * at_tokens / tokens)[:, 1:])
    close(total(found["patches"][0]), 1 - class_token - position_embedding, atol=1e-5)
    close(total(found["pixels"][0]), total(found["patches"][0]), atol=1e-6)
    for lost in (class_token, position_embedding):
        assert (lost.abs() > 1e-3).all()


@pytest.mark.parametrize("size", [0, 10])
def test_biases_take_no_share_whatever_their_size(size):
    model = make_vit().double()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data *= size
    entering = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    tape = Tape.record(model, rand(BATCH, 3, 32, 32, zeros=False))
    (relevance,) = tape.relevance(None, entering, PROPOSED)
    close(total(relevance), torch.ones(BATCH).double(), atol=1e-6)


def test_older_rules_do_not_keep_the_total(vit_relevance):
    assert ((total(vit_relevance[0](OLDER)["inputs"][0]) - 1).abs() > 0.5).all()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_proposed_rules_keep_the_total_down_to_the_embeddings_of_a_padded_text(attention):
    # The entry is the sum of word, position and type embeddings, so none of them has taken a share yet.
    model, inputs, entering = make_bert(attention).double(), texts(), []
    for layer in model.bert.encoder.layer:
        layer.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    tape = Tape.record(lambda batch: model(**batch).logits, inputs)
    for relevance in tape.relevance(None, [tape.entry, *entering], PROPOSED):
        close(total(relevance), torch.ones(3).double(), atol=1e-6)
        assert (relevance[inputs["attention_mask"] == 0] == 0).all()
