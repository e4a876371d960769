"""Methods that remove words, patches and segments: each against its definition, written out for one sample."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

from dataclasses import replace
from itertools import combinations, pairwise
from math import exp, factorial

import numpy as np
import pytest
import timm
import torch

from methods import (
    LIME,
    KernelSHAP,
    LeaveOneOut,
    Occlusion,
    PartitionSHAP,
    Patches,
    RawAttention,
    RefusedError,
    Segments,
    Words,
    verify,
)
from tests.support.small_models import IMAGES, LENGTHS, enlarged, make_bert, make_llama, make_vit, texts

pytestmark = pytest.mark.numerical

MASK, PAD = 7, 0
# Words of one to three tokens between two special tokens; the third text is padded inside the batch.
GROUPS = torch.tensor(
    [[-1, 0, 1, 1, 2, 3, 3, 3, -1], [-1, 0, 0, 1, -1, -1, -1, -1, -1], [-1, 0, 1, 2, 2, 3, -1, -1, -1]]
)
WORDS = Words(GROUPS, MASK, PAD)
SEGMENTS = Segments((torch.arange(32)[:, None] // 16 * 4 + torch.arange(32) // 8) % 8)  # 8 of 16 × 8 pixels
METHODS = [
    LeaveOneOut(),
    Occlusion(window=2),
    KernelSHAP(samples=30),
    LIME(samples=30),
    PartitionSHAP(max_evals=30),
]


def named(method):
    return type(method).__name__


class Layout:
    """A model with a batch, its players, and v(S) computed in the plainest way."""

    def __init__(self, name):
        self.name = name
        if name in ("bert", "llama"):
            module = (make_bert() if name == "bert" else make_llama()).double()
            self.inputs, self.players = texts(), WORDS
            # A decoder has no mask token, so its words are hidden from attention.
            self.fill = "mask" if name == "bert" else "attention"
            self.forward = lambda inputs: module(**inputs).logits
        else:
            module = make_vit().double()
            self.inputs, self.fill, self.forward = IMAGES.double(), "mask", module
            self.players = Patches((4, 4), prefix_tokens=1) if name == "vit" else SEGMENTS

    def method(self, method, **settings):
        return replace(method, players=self.players, fill=self.fill, **settings)

    def count(self, sample):
        return {"vit": 16, "segments": 8}.get(self.name) or int(GROUPS[sample].max()) + 1

    def value(self, sample, kept, target):
        """v(S): the logit when only some players are there."""
        if self.name in ("bert", "llama"):
            one = {name: t[sample : sample + 1].clone() for name, t in self.inputs.items()}
            for token, group in enumerate(GROUPS[sample].tolist()):
                if group >= 0 and group not in kept:
                    one["input_ids" if self.fill == "mask" else "attention_mask"][0, token] = (
                        MASK if self.fill == "mask" else 0
                    )
        else:
            patches = torch.arange(32)[:, None] // 8 * 4 + torch.arange(32) // 8
            players = patches if self.name == "vit" else SEGMENTS.groups
            one = self.inputs[sample : sample + 1] * torch.isin(players, torch.tensor(sorted(kept)))
        with torch.no_grad():
            return float(self.forward(one)[0, target])

    def of_players(self, maps, sample):
        """What the players of a sample have, from its map."""
        if self.name == "vit":
            assert maps.shape == (17,)
            assert maps[0] == 0
            return maps[1:].numpy()
        groups = GROUPS[sample] if self.name in ("bert", "llama") else SEGMENTS.groups
        assert maps.shape == groups.shape
        assert (maps[groups < 0] == 0).all()
        for player in range(self.count(sample)):  # each token, or pixel, has an equal share
            assert np.ptp(maps[groups == player].numpy()) < 1e-12
        return np.array([float(maps[groups == player].sum()) for player in range(self.count(sample))])


@pytest.fixture(scope="module", params=["bert", "llama", "vit", "segments"])
def layout(request):
    return Layout(request.param)


@pytest.fixture(scope="module", params=["bert", "llama", "segments"])
def small(request):
    """Layouts of at most 8 players, so that all coalitions can be listed."""
    return Layout(request.param)


def subsets(players):
    players = list(players)
    return [set(s) for size in range(len(players) + 1) for s in combinations(players, size)]


def shapley(value, count):
    found = np.zeros(count)
    for player in range(count):
        for s in subsets(set(range(count)) - {player}):
            weight = factorial(len(s)) * factorial(count - len(s) - 1) / factorial(count)
            found[player] += weight * (value(s | {player}) - value(s))
    return found


def owen(value, count):
    """Two children play a game of two in each context, all the way down a tree that halves the players."""
    found = np.zeros(count)

    def share(players, context, weight):
        if len(players) == 1:
            found[players[0]] += weight * (value(context | set(players)) - value(context))
            return
        left, right = players[: len(players) // 2], players[len(players) // 2 :]
        for own, other in ((left, right), (right, left)):
            share(own, context, weight / 2)
            share(own, context | set(other), weight / 2)

    share(list(range(count)), set(), 1.0)
    return found


def remembered(layout, sample, target):
    known = {}

    def value(kept):
        key = frozenset(kept)
        if key not in known:
            known[key] = layout.value(sample, key, target)
        return known[key]

    return value


TARGET = torch.tensor([1, 0, 1])


def test_leave_one_out_by_its_definition(layout):
    maps = layout.method(LeaveOneOut())(layout.forward, layout.inputs, TARGET)
    for sample in (0, 1):
        every, target = set(range(layout.count(sample))), int(TARGET[sample])
        value = remembered(layout, sample, target)
        expected = [value(every) - value(every - {player}) for player in sorted(every)]
        np.testing.assert_allclose(layout.of_players(maps[sample], sample), expected, atol=1e-10)


def test_shapley_values_by_their_definition(small):
    exact = small.method(KernelSHAP(sampling="all"))(small.forward, small.inputs, TARGET)
    as_many = small.method(KernelSHAP())(small.forward, small.inputs, TARGET)  # all that there are
    for sample in (0, 1):
        count, value = small.count(sample), remembered(small, sample, int(TARGET[sample]))
        expected = shapley(value, count)
        np.testing.assert_allclose(expected.sum(), value(set(range(count))) - value(set()), atol=1e-10)
        np.testing.assert_allclose(small.of_players(exact[sample], sample), expected, atol=1e-9)
        np.testing.assert_allclose(small.of_players(as_many[sample], sample), expected, atol=1e-9)


def test_owen_values_by_their_definition(small):
    maps = small.method(PartitionSHAP())(small.forward, small.inputs, TARGET)
    for sample in (0, 1):
        value = remembered(small, sample, int(TARGET[sample]))
        expected = owen(value, small.count(sample))
        np.testing.assert_allclose(small.of_players(maps[sample], sample), expected, atol=1e-10)


@pytest.mark.parametrize(
    "method",
    [KernelSHAP(samples=20), PartitionSHAP(max_evals=12), PartitionSHAP(max_evals=1)],
    ids=["KernelSHAP", "PartitionSHAP", "unopened"],
)
def test_values_sum_to_what_all_players_add(method, layout):
    maps = layout.method(method)(layout.forward, layout.inputs, TARGET)
    for sample in range(3):
        value = remembered(layout, sample, int(TARGET[sample]))
        total = value(set(range(layout.count(sample)))) - value(set())
        assert float(maps[sample].sum()) == pytest.approx(total, abs=1e-9)


def test_an_unopened_node_is_shared_out_evenly():
    layout = Layout("segments")
    maps = layout.method(PartitionSHAP(max_evals=2))(layout.forward, layout.inputs, TARGET)
    value = remembered(layout, 0, 1)
    left, right = {0, 1, 2, 3}, {4, 5, 6, 7}
    half = (value(left) - value(set()) + value(left | right) - value(right)) / 2
    np.testing.assert_allclose(layout.of_players(maps[0], 0)[:4], [half / 4] * 4, atol=1e-10)


def test_a_tree_of_ones_own():
    layout = Layout("segments")
    backwards = torch.tensor([[7, 6], [5, 4], [3, 2], [1, 0], [8, 9], [10, 11], [12, 13]])
    same = layout.method(PartitionSHAP(), tree=backwards)(layout.forward, layout.inputs, TARGET)
    expected = layout.method(PartitionSHAP())(layout.forward, layout.inputs, TARGET)
    torch.testing.assert_close(same, expected)
    uneven = torch.tensor([[0, 7], [8, 1], [9, 2], [10, 3], [11, 4], [12, 5], [13, 6]])
    other = layout.method(PartitionSHAP(max_evals=10**6), tree=uneven)(layout.forward, layout.inputs, TARGET)
    assert (other - expected).abs().max() > 1e-6
    for broken, message in ((uneven[:3], r"expected \(7, 2 or more\)"), (uneven.flip(0), "not below it")):
        with pytest.raises(ValueError, match=message):
            layout.method(PartitionSHAP(), tree=broken)(layout.forward, layout.inputs, TARGET)


def test_occlusion_of_words_by_its_definition():
    layout = Layout("bert")
    maps = layout.method(Occlusion(window=3, stride=2))(layout.forward, layout.inputs, TARGET)
    value = remembered(layout, 0, 1)
    first, second = (value(set(range(4))) - value(set(range(4)) - w) for w in ({0, 1, 2}, {2, 3}))
    expected = [first, first, (first + second) / 2, second]
    np.testing.assert_allclose(layout.of_players(maps[0], 0), expected, atol=1e-10)
    shorter = remembered(layout, 1, 0)  # than the window
    np.testing.assert_allclose(
        layout.of_players(maps[1], 1), [shorter({0, 1}) - shorter(set())] * 2, atol=1e-10
    )


def test_occlusion_of_patches_by_its_definition():
    layout = Layout("vit")
    maps = layout.method(Occlusion(window=3))(layout.forward, layout.inputs, TARGET)
    value, every = remembered(layout, 0, 1), set(range(16))
    total, covered = np.zeros(16), np.zeros(16)
    for top in range(2):
        for left in range(2):
            window = [4 * (top + i) + left + j for i in range(3) for j in range(3)]
            total[window] += value(every) - value(every - set(window))
            covered[window] += 1
    np.testing.assert_allclose(layout.of_players(maps[0], 0), total / covered, atol=1e-10)


def test_a_window_of_one_is_leave_one_out(layout):
    method = layout.method(Occlusion(window=1))
    if layout.name == "segments":
        with pytest.raises(RefusedError, match="segments have no order"):
            method(layout.forward, layout.inputs, TARGET)
    else:
        expected = layout.method(LeaveOneOut())(layout.forward, layout.inputs, TARGET)
        torch.testing.assert_close(method(layout.forward, layout.inputs, TARGET), expected)


def test_lime_is_a_ridge_regression():
    layout, generator = Layout("bert"), torch.Generator().manual_seed(0)
    given = torch.rand(30, 4, generator=generator) < 0.5
    given[0] = True
    one = {name: t[:1] for name, t in layout.inputs.items()}
    method = LIME(coalitions=given, quantity="logit", players=Words(GROUPS[:1], MASK))
    maps = method(layout.forward, one, TARGET[:1])
    rows, answers = [], []
    for z in given.tolist():
        distance = 100 * (1 - np.sqrt(sum(z) / 4))
        root = exp(-((distance / 25) ** 2)) ** 0.25  # of the weight, for least squares
        rows.append([root, *(root * kept for kept in z)])
        answers.append(root * layout.value(0, {i for i, kept in enumerate(z) if kept}, 1))
    rows += [[0.0] + [float(i == j) for j in range(4)] for i in range(4)]  # the ridge, but for the intercept
    expected = np.linalg.lstsq(np.array(rows), np.array(answers + [0.0] * 4), rcond=None)[0][1:]
    np.testing.assert_allclose(layout.of_players(maps[0], 0), expected, atol=1e-9)


def test_captums_regression_weighs_the_trivial_coalitions():
    layout = Layout("bert")
    given = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 0]])
    one = {name: t[:1] for name, t in layout.inputs.items()}
    method = KernelSHAP(sampling="captum", coalitions=given, players=Words(GROUPS[:1], MASK))
    maps = method(layout.forward, one, TARGET[:1])
    root = np.sqrt([1e6, 1e6, 1, 1, 1, 1])[:, None]
    design = np.hstack([np.ones((6, 1)), given.numpy()])
    answers = np.array([layout.value(0, set(np.flatnonzero(z)), 1) for z in given.numpy()])[:, None]
    expected = np.linalg.lstsq(root * design, root * answers, rcond=None)[0][1:, 0]
    np.testing.assert_allclose(layout.of_players(maps[0], 0), expected, atol=1e-8)


def additive(images):
    """A model whose logits are sums over patches, plus a constant: every player adds the same in any context."""
    weights = torch.randn(16, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    patches = images.mean(dim=1).unfold(1, 8, 8).unfold(2, 8, 8).sum(dim=(-2, -1)).flatten(1)
    return patches.double() @ weights + 3.0


@pytest.mark.parametrize(
    "method",
    [
        LeaveOneOut(),
        KernelSHAP(samples=60),
        KernelSHAP(sampling="captum", samples=60),
        LIME(samples=60, alpha=1e-9, quantity="logit"),
        LIME(samples=60, alpha=1e-9, quantity="logit", sampling="sizes"),
        PartitionSHAP(max_evals=10**4),
    ],
    ids=str,
)
def test_what_players_add_to_a_sum_is_found_from_few_coalitions(method):
    images = IMAGES.double()
    maps = replace(method, players=Patches((4, 4)))(additive, images, torch.tensor([0, 0, 0]))
    empty = additive(torch.zeros(1, 3, 32, 32))[0, 0]
    for image, own in zip(images, maps, strict=True):
        for patch in (0, 6, 15):
            alone = torch.zeros_like(image)
            rows, columns = (slice(8 * i, 8 * i + 8) for i in divmod(patch, 4))
            alone[:, rows, columns] = image[:, rows, columns]
            assert float(own[patch]) == pytest.approx(float(additive(alone[None])[0, 0] - empty), abs=1e-5)


def test_more_coalitions_come_nearer_to_the_shapley_values():
    layout = Layout("segments")
    exact = layout.method(KernelSHAP(sampling="all"))(layout.forward, layout.inputs, TARGET)

    def error(samples):
        drawn = [layout.method(KernelSHAP(samples=samples, seed=seed)) for seed in range(4)]
        return sum(float((m(layout.forward, layout.inputs, TARGET) - exact).norm()) for m in drawn)

    assert error(120) < 0.7 * error(30)


# --- what holds for all of them


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_batch_has_the_maps_of_its_samples_and_classes(method, layout):
    if isinstance(method, Occlusion) and layout.name == "segments":
        return
    method = layout.method(method)
    classes = torch.tensor([[1, 0], [0, 1], [1, 1]])
    together = method(layout.forward, layout.inputs, classes)
    assert together.dtype == torch.float64
    for sample, length in enumerate(LENGTHS):
        of_text = layout.name in ("bert", "llama")
        one = (
            {name: t[sample : sample + 1, :length] for name, t in layout.inputs.items()}
            if of_text
            else layout.inputs[sample : sample + 1]
        )
        alone_method = layout.method(method)
        if of_text:
            alone_method = replace(method, players=Words(GROUPS[sample : sample + 1, :length], MASK, PAD))
        for k in range(2):
            alone = alone_method(layout.forward, one, classes[sample, k : k + 1])
            padded = together[sample : sample + 1, k]
            if of_text:
                assert (padded[:, length:] == 0).all()
                padded = padded[:, :length]
            torch.testing.assert_close(padded, alone, rtol=1e-7, atol=1e-9)
    predicted = layout.forward(layout.inputs).argmax(dim=1)
    torch.testing.assert_close(
        method(layout.forward, layout.inputs), method(layout.forward, layout.inputs, predicted)
    )


@pytest.mark.parametrize(
    "method",
    [*METHODS, Occlusion(window=2, stride=2), KernelSHAP(samples=9), KernelSHAP(sampling="captum")],
    ids=str,
)
def test_the_passes_are_those_that_are_stated(method):
    layout, seen = Layout("bert"), []

    def forward(inputs):
        seen.append(len(inputs["input_ids"]))
        return layout.forward(inputs)

    ids = torch.tensor([[3, 14, 15, 9, 2, 6]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    method = replace(method, players=Words(torch.arange(6)[None], MASK), chunk=5)
    method(forward, inputs, torch.tensor([1]))
    assert sum(seen) == method.passes(6, 3).forward
    assert method.passes(6, 3).backward == 0
    assert max(seen) <= 5
    if not isinstance(method, PartitionSHAP):  # whose classes open nodes of their own
        alone = sum(seen)
        method(forward, inputs, torch.tensor([[0, 1]]))
        assert sum(seen) == 2 * alone


@pytest.mark.parametrize("method", METHODS, ids=named)
@pytest.mark.parametrize("name", ["bert", "vit"])
def test_each_passes_the_checks(method, name):
    layout = Layout(name)
    found = verify(layout.method(method), layout.forward, layout.inputs, TARGET)
    assert found.figures["alone"] <= 1e-6
    assert not found.warnings


def test_another_seed_draws_other_coalitions():
    layout = Layout("vit")
    for method in (KernelSHAP(samples=30), LIME(samples=30), KernelSHAP(sampling="captum", samples=30)):
        maps = [layout.method(method, seed=seed)(layout.forward, layout.inputs, TARGET) for seed in (0, 0, 1)]
        assert torch.equal(maps[0], maps[1])
        assert (maps[0] - maps[2]).abs().max() > 1e-6


def test_the_probability_is_that_of_the_softmax():
    layout = Layout("bert")
    maps = layout.method(LeaveOneOut(), quantity="probability")(layout.forward, layout.inputs, TARGET)
    both = [remembered(layout, 0, target) for target in (0, 1)]

    def probability(kept):
        other, own = (exp(value(kept)) for value in both)
        return own / (own + other)

    expected = [probability({0, 1, 2, 3}) - probability({0, 1, 2, 3} - {player}) for player in range(4)]
    np.testing.assert_allclose(layout.of_players(maps[0], 0), expected, atol=1e-10)


def test_deleted_words_leave_a_shorter_text():
    for name in ("bert", "llama"):
        layout = Layout(name)
        layout.fill = "delete"
        maps = layout.method(LeaveOneOut())(layout.forward, layout.inputs, TARGET)
        whole = layout.forward(layout.inputs)[0, 1].detach()
        for player in range(4):
            left = layout.inputs["input_ids"][:1, GROUPS[0] != player]
            shorter = layout.forward({"input_ids": left, "attention_mask": torch.ones_like(left)})[
                0, 1
            ].detach()
            ours = maps[0, GROUPS[0] == player].sum()
            assert float(ours) == pytest.approx(float(whole - shorter), abs=1e-9)


def test_texts_that_are_padded_on_the_left_close_up_to_the_right():
    layout, order = Layout("llama"), torch.tensor([8, 7, 6, 5, 4, 0, 1, 2, 3])
    inputs = {
        name: t[1:2, order] for name, t in layout.inputs.items()
    }  # 4 paddings, then four of five tokens
    inputs["attention_mask"][0, 4] = 0
    inputs["input_ids"][0, 4] = 0
    groups = torch.tensor([[-1, -1, -1, -1, -1, 0, 1, 2, 3]])
    method = LeaveOneOut(fill="delete", players=Words(groups, None, PAD))
    maps = method(layout.forward, inputs, torch.tensor([1]))
    tokens = inputs["input_ids"][:, 5:]
    for player in range(4):
        left = torch.cat([torch.zeros(1, 6, dtype=torch.long), tokens[:, torch.arange(4) != player]], dim=1)
        shorter = layout.forward({"input_ids": left, "attention_mask": (left != 0).long()})[0, 1].detach()
        assert float(maps[0, 5 + player]) == pytest.approx(
            float(layout.forward(inputs)[0, 1].detach() - shorter), abs=1e-9
        )


def test_neighbours_are_put_together():
    layout = Layout("bert")
    maps = layout.method(LeaveOneOut(), most_players=2)(layout.forward, layout.inputs, TARGET)
    value = remembered(layout, 0, 1)
    lost = value({0, 1, 2, 3}) - value({2, 3})
    assert float(maps[0, 1:4].sum()) == pytest.approx(lost, abs=1e-10)  # words 0 and 1
    assert np.ptp(maps[0, 1:4].numpy()) < 1e-12
    layout = Layout("vit")
    maps = layout.method(LeaveOneOut(), most_players=4)(layout.forward, layout.inputs, TARGET)
    value, every = remembered(layout, 0, 1), set(range(16))
    assert float(maps[0, 1]) == pytest.approx((value(every) - value(every - {0, 1, 4, 5})) / 4, abs=1e-10)


def test_the_grid_is_halved_along_its_longer_side():
    assert Patches((1, 4)).tree(4) == [(0, 1), (2, 3), (4, 5)]
    assert Patches((4, 1)).tree(4) == [(0, 1), (2, 3), (4, 5)]
    assert Patches((2, 3)).tree(6) == [(0, 3), (1, 4), (2, 5), (7, 8), (6, 9)]
    assert Patches((1, 1)).tree(1) == []


def test_a_text_without_players_has_a_map_of_zeros():
    layout = Layout("bert")
    for method in METHODS:
        nobody = replace(method, players=Words(torch.full_like(GROUPS, -1), MASK))
        assert (nobody(layout.forward, layout.inputs, TARGET) == 0).all()


def test_one_player_has_all():
    layout = Layout("bert")
    one = Words(torch.where(GROUPS >= 0, 5, -1), MASK)
    value = remembered(layout, 0, 1)
    total = value({0, 1, 2, 3}) - value(set())
    for method in (LeaveOneOut(), Occlusion(), KernelSHAP(), PartitionSHAP(), KernelSHAP(sampling="captum")):
        maps = replace(method, players=one)(layout.forward, layout.inputs, TARGET)
        assert float(maps[0].sum()) == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (LeaveOneOut(), "has to be told which: give it players=Words"),
        (LeaveOneOut(players=Words(GROUPS)), "the model has no mask token .* choose another fill"),
        (LeaveOneOut(players=Words(GROUPS), fill="delete"), "the model has no pad token"),
        (LeaveOneOut(players=Patches((4, 4))), "are of images"),
        (LeaveOneOut(players=Words(GROUPS[:, :4], MASK)), "expected one number for each token"),
        (LeaveOneOut(players=Words(torch.zeros_like(GROUPS), MASK)), "has padding in it"),
        (LIME(coalitions=torch.ones(3, 9), players=WORDS), r"expected \(coalitions, 4\)"),
    ],
)
def test_what_cannot_be_done_is_refused(method, message):
    layout = Layout("bert")
    with pytest.raises(ValueError, match=message):
        method(layout.forward, layout.inputs, TARGET)


def test_images_that_cannot_be_cut_so_are_refused():
    layout = Layout("vit")
    for players, message in (
        (WORDS, "are of texts"),
        (Patches((3, 4)), "do not divide images"),
        (Segments(torch.zeros(8, 8, dtype=torch.long)), "expected one number for each pixel"),
    ):
        with pytest.raises(ValueError, match=message):
            LeaveOneOut(players=players)(layout.forward, layout.inputs, TARGET)
    with pytest.raises(ValueError, match="segments are not put together"):
        LeaveOneOut(players=SEGMENTS, most_players=2)(layout.forward, layout.inputs, TARGET)
    every = KernelSHAP(sampling="all", players=Patches((8, 8)))
    with pytest.raises(RefusedError, match=r"64 players have 2\^64 coalitions"):
        every(layout.forward, layout.inputs, TARGET)


def test_ids_alone_can_be_masked_but_not_hidden():
    layout = Layout("bert")
    ids = layout.inputs["input_ids"][:1, : LENGTHS[0]]
    only = Words(GROUPS[:1], MASK, PAD)
    forward = lambda ids: layout.forward({"input_ids": ids})  # noqa: E731
    maps = LeaveOneOut(players=only)(forward, ids, TARGET[:1])
    same = LeaveOneOut(players=only)(
        layout.forward, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, TARGET[:1]
    )
    torch.testing.assert_close(maps, same)
    with pytest.raises(RefusedError, match="needs an attention_mask"):
        LeaveOneOut(players=only, fill="attention")(forward, ids, TARGET[:1])


def test_logits_that_are_not_finite_are_refused():
    layout = Layout("bert")

    def forward(inputs):
        return layout.forward(inputs) / (inputs["input_ids"] != MASK).all(dim=1, keepdim=True)

    with pytest.raises(RefusedError, match="logits of an input from which parts were removed are not finite"):
        LeaveOneOut(players=WORDS)(forward, layout.inputs, TARGET)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeaveOneOut(fill="drop"), "fill='drop': expected one of mask, pad, delete, attention"),
        (lambda: LeaveOneOut(quantity="p"), "quantity='p'"),
        (lambda: LeaveOneOut(chunk=0), "chunk=0: expected a whole number, 1 or more"),
        (lambda: LeaveOneOut(most_players=True), "most_players=True"),
        (lambda: LeaveOneOut(players=GROUPS), "expected Words, Patches or Segments"),
        (lambda: Occlusion(stride=4), "longer than window=3"),
        (lambda: KernelSHAP(sampling="lime"), "sampling='lime'"),
        (lambda: KernelSHAP(samples=1), "samples=1: expected a whole number, 2 or more"),
        (lambda: KernelSHAP(coalitions=torch.ones(2, 2)), "given to 'captum' alone"),
        (lambda: LIME(kernel_width=0), "kernel_width=0"),
        (lambda: PartitionSHAP(max_evals=0), "max_evals=0"),
        (lambda: Words(torch.tensor([[0.5]])), "expected whole numbers of −1 or more"),
        (lambda: Words(torch.tensor([[-2]])), "expected whole numbers of −1 or more"),
        (lambda: Patches((0, 4)), "expected a grid"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_sizes_are_drawn_as_the_kernel_says():
    """Of captum's sampling: the share of each size k is that of (M − 1) / (k (M − k))."""
    from methods.kernel_shap import _by_kernel

    kernel = _by_kernel(8) / _by_kernel(8).sum()
    assert all(a > b for a, b in pairwise(kernel[:4].tolist()))
    layout, sizes = Layout("segments"), []

    def forward(images):
        grid = images[:, 0, ::16, ::8].flatten(1)
        sizes.extend((grid != 0).sum(dim=1).tolist())
        return torch.stack([images.sum(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3))], dim=1)

    method = KernelSHAP(sampling="captum", samples=2002, players=SEGMENTS)
    method(forward, layout.inputs[:1], TARGET[:1])
    drawn = np.bincount(sizes, minlength=9)[1:8]
    np.testing.assert_allclose(drawn / drawn.sum(), kernel.numpy(), atol=0.04)


@pytest.mark.parametrize("architecture", ["swin", "none"])
def test_models_without_attention_between_all_tokens_are_explained(architecture):
    """These methods have no use for a tape, so what it refuses does not keep them from being checked."""
    if architecture == "swin":
        sizes = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 8}
        depths = {"depths": (1, 1), "num_heads": (2, 2), "num_classes": 5}
        model = timm.create_model("swin_tiny_patch4_window7_224", **sizes, **depths)
    else:
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 5))
    found = verify(LeaveOneOut(players=Patches((2, 2))), enlarged(model), IMAGES)
    assert found.figures["alone"] <= 1e-6
    assert found.figures["logits"] == "not applicable"
    with pytest.raises(ValueError, match=r"windowed attention|no attention was seen"):
        verify(RawAttention(), model, IMAGES)
