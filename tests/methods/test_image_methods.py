"""Methods for images on the layouts that they claim: a batch, several classes, cost, and what they refuse."""

import bench  # noqa: F401  isort: skip  (lets timm be imported)

from dataclasses import replace

import pytest
import torch

from methods import (
    AGCAM,
    ALTI,
    GAE,
    IIA,
    LRP,
    PALRP,
    RISE,
    AttCAT,
    AttnLRP,
    BeyondIntuition,
    DifferenceXGradient,
    ExpectedGradients,
    FullGradPlus,
    GradCAM,
    Gradient,
    GradSAM,
    InputXGradient,
    IntegratedGradients,
    LeGrad,
    LibraGrad,
    PartialLRP,
    RandomMap,
    RawAttention,
    RefusedError,
    Rollout,
    SmoothGrad,
    Tape,
    TokenCAM,
    TokenTM,
    TransformerAttribution,
    TransitionAttention,
    ViTCX,
)
from methods.common import drawing
from tests.support.small_models import IMAGES, TOKENS, Model, make_vit, texts

pytestmark = pytest.mark.numerical

LAYOUTS = {  # and how many tokens stand before the patches
    "class token": ({}, 1),
    "registers": ({"reg_tokens": 2}, 3),
    "mean pooling": ({"class_token": False, "global_pool": "avg"}, 0),
}
PIXELS = [
    Gradient(),
    InputXGradient(),
    IntegratedGradients(points=3),
    IntegratedGradients(points=3, rule="trapezoid", reduce="l2"),
    ExpectedGradients(samples=2),
    DifferenceXGradient(),
    SmoothGrad(samples=2),
    SmoothGrad(samples=2, of="input_x_gradient", statistic="variance", reduce="l1"),
    RISE(count=5, cells=4, chunk=2),
    ViTCX(chunk=3),
    AttnLRP(),
    AttnLRP("constant", gamma=0.05, gamma_conv=0.25, linear="outside_attention"),
    PALRP("without"),
    PALRP(),
    LibraGrad(InputXGradient()),
]
TOKEN_MAPS = [
    GAE(),
    GradSAM(),
    AGCAM(),
    TransitionAttention(start_layer=0, points=2),
    BeyondIntuition("head", start_layer=0, points=2),
    BeyondIntuition("token", start_layer=0, points=2),
    TokenTM(),
    IIA(points=2),
    LeGrad(start_layer=0),
    LeGrad(similarity="cosine"),
    AttCAT(),
    FullGradPlus(),
    LibraGrad(),
    LibraGrad(FullGradPlus(start_layer=1)),
    LibraGrad(GAE()),
    InputXGradient(readout="tokens"),
    AttnLRP(readout="tokens_with_position"),
    AttnLRP(gamma=0.05, readout="tokens"),
    AttnLRP(readout="patch_sums"),
    *(TokenCAM(cam) for cam in ("gradcam", "layercam", "gradcam_plusplus", "eigencam", "eigengradcam")),
    TokenCAM("scorecam", chunk=7),
]
ALL = PIXELS + TOKEN_MAPS
NAMES = [f"{type(m).__name__}{i}" for i, m in enumerate(ALL)]
IMAGES = IMAGES[:2].double()
TARGET = torch.tensor([1, 4])


@pytest.fixture(scope="module")
def vit():
    """Of 2 blocks, in float64."""
    return make_vit(depth=2).double()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", ALL, ids=NAMES)
def test_a_batch_gives_the_maps_of_its_samples(method, layout):
    options, prefix_tokens = LAYOUTS[layout]
    vit = make_vit(depth=2, **options).double()
    shape = (2, 32, 32) if any(method is m for m in PIXELS) else (2, prefix_tokens + 16)
    if hasattr(method, "prefix_tokens"):  # as the runner does
        method = replace(method, prefix_tokens=prefix_tokens)
    together = method(vit, IMAGES, TARGET)
    assert together.shape == shape
    assert together.isfinite().all()
    assert (together != 0).any()
    for i in range(2):
        alone = method(vit, IMAGES[i : i + 1], TARGET[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("method", ALL, ids=NAMES)
def test_several_classes_give_the_maps_of_one_by_one(method, vit):
    classes = torch.tensor([[1, 0], [2, 4]])
    together = method(vit, IMAGES, classes)
    one_by_one = torch.stack([method(vit, IMAGES, c) for c in classes.unbind(1)], dim=1)
    torch.testing.assert_close(together, one_by_one, rtol=1e-9, atol=1e-12)
    assert torch.equal(together[0, 0], together[0, 1]) != getattr(method, "class_specific", True)


@pytest.mark.parametrize("method", ALL, ids=NAMES)
def test_without_a_target_the_predicted_class_is_explained(method, vit):
    predicted = vit(IMAGES[:1]).argmax(1)
    torch.testing.assert_close(method(vit, IMAGES[:1]), method(vit, IMAGES[:1], predicted))


class Counted:
    """A model that counts the samples that go through it, and the blocks that its tapes are walked back through."""

    def __init__(self, vit, monkeypatch):
        self.vit, self.forward, self.backward = vit, 0, 0.0
        for reading in ("gradient", "relevance"):
            monkeypatch.setattr(Tape, reading, self._counting(getattr(Tape, reading)))
        rerun = Tape.rerun

        def counting(tape, values, *args, **kwargs):
            if any(t is tape.attentions[-1] for t in values):  # from the last block's attention on
                self.forward += len(tape.logits) / len(tape.attentions)
            return rerun(tape, values, *args, **kwargs)

        monkeypatch.setattr(Tape, "rerun", counting)

    def __call__(self, images):
        self.forward += len(images)
        return self.vit(images)

    def _counting(self, original):
        def read(tape, target, of, *args, logits=None, **kwargs):
            of = list(of)
            self.backward += self._depth(tape, of, logits)
            more = {} if logits is None else {"logits": logits}
            return original(tape, target, of, *args, **more, **kwargs)

        return read

    @staticmethod
    def _depth(tape, of, logits) -> float:
        """The part of the blocks that lies above what is asked for."""
        total = len(tape.attentions)
        if logits is not None and len(of) == 1:  # of one block alone, whose tokens go to the head
            return 1 / total
        for number, block in enumerate(tape.blocks):
            if any(t is mine for t in of for mine in (block.attention, block.input, block.normed)):
                return (total - number) / total
        return 1.0


@pytest.mark.parametrize(
    "method",
    [
        *ALL,
        TransformerAttribution(start_layer=0),
        TransformerAttribution(start_layer=1, use_gradient=False),
        GradCAM(),
        LRP(),
        PartialLRP(),
        Rollout(),
        RawAttention(),
        RandomMap(),
        GAE(start_layer=-1),
        AttCAT(start_layer=1),
        GAE(last_block_only=True),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_map_costs_what_the_method_says(method, vit, monkeypatch):
    counted = Counted(vit, monkeypatch)
    method(counted, IMAGES[:1], TARGET[:1])
    of_width = isinstance(method, ViTCX) or (isinstance(method, TokenCAM) and method.cam == "scorecam")
    said = method.passes(17, 2, width=24) if of_width else method.passes(17, 2)
    if isinstance(method, ViTCX):  # how many clusters there are is known of an image alone
        assert counted.forward <= said.forward
    else:
        assert counted.forward == pytest.approx(said.forward)
    assert counted.backward == pytest.approx(said.backward)


# --- what is refused


@pytest.mark.parametrize(
    "method",
    [
        TokenCAM(),
        ViTCX(),
        RISE(4),
        PALRP(),
        IIA(2),
        TransitionAttention(0, 2),
        BeyondIntuition(start_layer=0, points=2),
    ],
    ids=lambda m: type(m).__name__,
)
def test_texts_are_refused_where_the_formula_needs_pixels(method):
    with pytest.raises(RefusedError, match="explains images"):
        method(lambda x: None, texts())


def test_a_cam_without_patches_is_refused(vit):
    with pytest.raises(RefusedError, match="leaves no patches"):
        TokenCAM(prefix_tokens=17)(vit, IMAGES)


def test_patches_that_do_not_tile_the_image_are_refused(vit):
    with pytest.raises(RefusedError, match="do not tile"):
        ViTCX(prefix_tokens=2)(vit, IMAGES)


@pytest.mark.parametrize("method", [LeGrad(), AGCAM(), TokenTM(), ALTI()], ids=lambda m: type(m).__name__)
def test_attention_pooling_is_refused_by_what_reads_rows_of_tokens(method):
    with pytest.raises(RefusedError, match="pools the tokens"):
        method(make_vit(depth=2, class_token=False, global_pool="map").double(), IMAGES)


def test_fullgrad_refuses_biases_of_parts_of_tokens():
    with pytest.raises(RefusedError, match="whose share its bias has is not known"):
        FullGradPlus()(make_vit(depth=2, qk_norm=True).double(), IMAGES)


@pytest.mark.parametrize("method", [LeGrad(), IIA(2)], ids=lambda m: type(m).__name__)
def test_libragrad_refuses_gradients_of_other_runs(method, vit):
    with pytest.raises(RefusedError, match="cannot be modified by 'libra'"):
        LibraGrad(method)(vit, IMAGES)
    GAE()(vit, IMAGES)  # whose gradient is the true one again


def test_a_model_in_train_mode_is_refused_by_methods_without_a_tape():
    with pytest.raises(RefusedError, match="train mode"):
        RISE(4)(make_vit().double().train(), IMAGES, TARGET)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RISE(count=0), "count=0"),
        (lambda: RISE(probability=1.0), "probability"),
        (lambda: IntegratedGradients(points=1, rule="trapezoid"), "needs at least 2"),
        (lambda: IntegratedGradients(rule="simpson"), "rule="),
        (lambda: Gradient(reduce="max"), "reduce="),
        (lambda: InputXGradient(readout="patches"), "readout="),
        (lambda: SmoothGrad(of="lrp"), "of="),
        (lambda: TokenCAM("cam"), "cam="),
        (lambda: BeyondIntuition("block"), "by="),
        (lambda: TransitionAttention(points=1), "points=1"),
        (lambda: LeGrad(similarity="dot"), "similarity="),
        (lambda: AttnLRP(attention="linear"), "attention="),
        (lambda: AttnLRP(gamma=-1), "gamma="),
        (lambda: PALRP(position="both"), "position="),
        (lambda: LibraGrad("gae"), "method="),
    ],
)
def test_a_setting_that_there_is_not_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_blocks_that_there_are_not_are_named(vit):
    with pytest.raises(ValueError, match="start_layer=4: the model has 2 blocks"):
        TransitionAttention()(vit, IMAGES)


# --- formulas for which there is no other implementation


def test_difference_times_gradient_on_images_has_the_zero_baseline(vit):
    torch.testing.assert_close(DifferenceXGradient()(vit, IMAGES), InputXGradient()(vit, IMAGES))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_shares_of_each_block_sum_to_the_logit_under_libragrad(layout):
    vit = make_vit(depth=2, **LAYOUTS[layout][0]).double()
    logits = vit(IMAGES)[torch.arange(2), TARGET]
    last, both = (LibraGrad(FullGradPlus(start_layer=b))(vit, IMAGES, TARGET).sum(dim=1) for b in (-1, 0))
    torch.testing.assert_close(last, logits)
    torch.testing.assert_close(both, 2 * logits)


@pytest.mark.parametrize("method", [IntegratedGradients(points=8), IntegratedGradients(12, "trapezoid")])
def test_integrated_gradients_are_complete(method):
    model, x, target = Model().double(), TOKENS.double() / 4, torch.tensor([1, 2])
    change = (model(x) - model(0 * x))[torch.arange(2), target]
    torch.testing.assert_close(method(model, x, target).sum(dim=1), change, rtol=1e-2, atol=1e-3)


def test_expected_gradients_by_a_loop_over_what_is_drawn():
    """A baseline and then a point, from the generator of the sample."""
    model, x, baselines = Model().double(), TOKENS[:1].double(), TOKENS.double().flip(1)
    generator, total = drawing(3, x, 0), 0.0
    for _ in range(4):
        baseline = baselines[int(torch.randint(2, (), generator=generator))]
        alpha = torch.rand((), generator=generator, dtype=torch.float64)
        at = (baseline + alpha * (x[0] - baseline)).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model(at[None])[0, 2], at)
        total = total + ((x[0] - baseline) * gradient).sum(-1) / 4
    maps = ExpectedGradients(samples=4, baselines=baselines, seed=3)(model, x, torch.tensor([2]))
    torch.testing.assert_close(maps[0], total)


def test_baselines_of_another_shape_are_refused(vit):
    with pytest.raises(ValueError, match="baselines of shape"):
        ExpectedGradients(samples=2, baselines=IMAGES[0])(vit, IMAGES)


def test_noise_that_is_given_is_added(vit):
    maps = SmoothGrad(samples=1, noise=torch.zeros(2, 1, 3, 32, 32))(vit, IMAGES)
    torch.testing.assert_close(maps, Gradient()(vit, IMAGES))
    with pytest.raises(ValueError, match="noise of shape"):
        SmoothGrad(samples=2, noise=torch.zeros(2, 1, 3, 32, 32))(vit, IMAGES)


@pytest.mark.parametrize(
    "method",
    [SmoothGrad(samples=2), ExpectedGradients(samples=2), RISE(4), ViTCX()],
    ids=lambda m: type(m).__name__,
)
def test_another_seed_is_another_draw(method, vit):
    maps = [replace(method, seed=seed)(vit, IMAGES[:1]) for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2])


def test_vit_cx_is_0_where_every_mask_is(vit):
    maps = ViTCX(distance=2.0)(vit, IMAGES)  # one mask, which is 0 somewhere
    assert maps.isfinite().all()
    assert (maps.flatten(1) == 0).sum(dim=1).ge(1).all()


def test_rise_by_a_loop_over_its_masks(vit):
    method, image = RISE(count=6, cells=4, probability=0.4, chunk=4), IMAGES[:1]
    masks = torch.cat(list(method.masks(32, 32)))
    assert masks.shape == (6, 32, 32)
    assert (masks >= 0).all()
    assert (masks <= 1).all()
    expected = sum(vit(image * m).softmax(1)[0, 2] * m for m in masks) / (6 * 0.4)
    torch.testing.assert_close(method(vit, image, torch.tensor([2]))[0], expected)


def test_patch_sums_keep_the_total_and_leave_the_prefix_out():
    vit = make_vit(depth=2, reg_tokens=2).double()
    pixels = InputXGradient()(vit, IMAGES, TARGET)
    sums = InputXGradient(readout="patch_sums", prefix_tokens=3)(vit, IMAGES, TARGET)
    assert (sums[:, :3] == 0).all()
    torch.testing.assert_close(sums[:, 3 + 5], pixels[:, 8:16, 8:16].sum(dim=(1, 2)))
    torch.testing.assert_close(sums.sum(1), pixels.sum(dim=(1, 2)))
