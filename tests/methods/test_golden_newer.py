"""Methods for images against numbers of their reference implementations: one image, a class that is not predicted.

Float64 on the CPU. The relative error of a map is at most 1e-9, but where the reference itself rounds to float32
(interpolation weights, masks, principal components) or has stabilisers that are not the formula's.
"""

import bench  # noqa: F401  isort: skip  (lets timm be imported)

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from methods import (
    AGCAM,
    GAE,
    IIA,
    PALRP,
    RISE,
    AttCAT,
    AttnLRP,
    BeyondIntuition,
    FullGradPlus,
    Gradient,
    GradSAM,
    InputXGradient,
    IntegratedGradients,
    LeGrad,
    LibraGrad,
    TokenCAM,
    TokenTM,
    TransitionAttention,
    ViTCX,
)

pytestmark = pytest.mark.numerical

HERE = Path(__file__).parents[1] / "golden"
EXACT, FLOAT32, STABILISED = 1e-9, 1e-6, 1e-5
AT_TOKENS = "tokens_with_position"
GAMMA = {"gamma": 0.05, "gamma_conv": 0.25}
TORCHVISION = {"attention": "constant", "linear": "outside_attention"}

CASES = {
    "gae": (GAE(), EXACT),
    "plain.gae": (GAE(), EXACT),
    "derived.grad_sam": (GradSAM(), EXACT),
    "agcam": (AGCAM(), EXACT),
    "derived.attcat": (AttCAT(), EXACT),
    "third_party.tokentm": (TokenTM(), EXACT),
    "iia": (IIA(), FLOAT32),
    "tam.start0": (TransitionAttention(0), EXACT),
    "tam.start1": (TransitionAttention(1), EXACT),
    "tam.start0.no_integral": (TransitionAttention(0, integrate=False), EXACT),
    "beyond_intuition_head.first0": (BeyondIntuition("head", 0), EXACT),
    "beyond_intuition_head.first2": (BeyondIntuition("head", 2), EXACT),
    "beyond_intuition_token.first0": (BeyondIntuition("token", 0), EXACT),
    "beyond_intuition_token.first2": (BeyondIntuition("token", 2), EXACT),
    "legrad.logit.first0.tokens": (LeGrad(0), EXACT),
    "legrad.logit.last2.tokens": (LeGrad(), EXACT),
    "legrad.cosine.first0.tokens": (LeGrad(0, "cosine"), EXACT),
    "legrad.cosine.last2.tokens": (LeGrad(-2, "cosine"), EXACT),
    "plain.input_x_gradient_tokens": (InputXGradient(readout=AT_TOKENS), EXACT),
    "plain.fullgrad_plus": (FullGradPlus(), EXACT),
    "libragrad.input_x_gradient_tokens": (LibraGrad(), EXACT),
    "libragrad.fullgrad_plus": (LibraGrad(FullGradPlus()), EXACT),
    "libragrad.gae": (LibraGrad(GAE()), EXACT),
    "gradient.patch_sums": (Gradient(), EXACT),
    "input_x_gradient.patch_sums": (InputXGradient(), EXACT),
    "input_x_gradient.tokens": (InputXGradient(readout=AT_TOKENS), EXACT),
    "integrated_gradients.riemann_trapezoid20.patch_sums": (
        IntegratedGradients(20, "captum_trapezoid"),
        FLOAT32,
    ),
    "attnlrp.no_gamma.patch_sums": (AttnLRP(), FLOAT32),
    "attnlrp.no_gamma.tokens": (AttnLRP(readout="tokens"), FLOAT32),
    "attnlrp.no_gamma.tokens_with_position": (AttnLRP(readout=AT_TOKENS), FLOAT32),
    "attnlrp.conv0.25_lin0.05.patch_sums": (AttnLRP(**GAMMA), FLOAT32),
    "attnlrp_cp.no_gamma.tokens_with_position": (AttnLRP("constant", readout=AT_TOKENS), FLOAT32),
    "attnlrp_cp.conv0.25_lin0.05.patch_sums": (AttnLRP("constant", readout="patch_sums", **GAMMA), FLOAT32),
    "attnlrp_torchvision.conv0.25_lin0.05.patch_sums": (AttnLRP(**TORCHVISION, **GAMMA), FLOAT32),
    "attnlrp_torchvision.conv100_lin0.1.tokens": (
        AttnLRP(**TORCHVISION, gamma=0.1, gamma_conv=100, readout="tokens"),
        FLOAT32,
    ),
    "cp_lrp_gelu_gradient.patch_sums": (AttnLRP("constant", activation="gradient"), FLOAT32),
    "pe_lrp.with_position.patch_sums": (PALRP(), STABILISED),
    "pe_lrp.without_position.patch_sums": (PALRP("without"), STABILISED),
    "pe_lrp.position_only.patch_sums": (PALRP("only"), STABILISED),
    "pgc.gradcam.raw": (TokenCAM(), EXACT),
    "pgc.gradcam_plusplus.raw": (TokenCAM("gradcam_plusplus"), EXACT),
    "pgc.hirescam.raw": (TokenCAM("hirescam"), EXACT),
    "pgc.layercam.raw": (TokenCAM("layercam"), EXACT),
    "pgc.xgradcam.raw": (TokenCAM("xgradcam"), EXACT),
    "pgc.scorecam.raw": (TokenCAM("scorecam"), EXACT),
    "pgc.eigencam.raw": (TokenCAM("eigencam"), FLOAT32),
    "pgc.eigengradcam.raw": (TokenCAM("eigengradcam"), FLOAT32),
    "rise.seed0_N64_s8_p0.5.patch_sums": (RISE(64), FLOAT32),
    "vit_cx.seed0.patch_sums": (ViTCX(), EXACT),
}


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(HERE / "vit_small_random_newer.npz"))


@pytest.fixture(scope="module")
def vit():
    model = timm.create_model("vit_base_patch16_224", embed_dim=48, depth=4, num_heads=3, num_classes=10)
    model.load_state_dict(load_file(HERE / "vit_small_random.safetensors"))
    return model.double().eval()


@pytest.fixture(scope="module")
def sample(golden):
    stored, at = np.load(HERE / "vit_small_random.npz"), int(golden["image"])
    image = torch.from_numpy(stored["images"][at : at + 1]).double() / 255 * 2 - 1
    return image, torch.from_numpy(stored["targets"][at : at + 1])


DEAR = (
    "tam.start1",
    "beyond_intuition_head.first2",
    "beyond_intuition_token.first0",
    "integrated_gradients.riemann_trapezoid20.patch_sums",
    "pgc.scorecam.raw",
    "vit_cx.seed0.patch_sums",
    "iia",
)


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=pytest.mark.slow) if key in DEAR else key for key in CASES]
)
def test_a_map_is_the_references(key, golden, vit, sample):
    method, tolerance = CASES[key]
    (ours,) = method(vit, *sample)
    ours = (
        ours.unflatten(1, (14, 16)).unflatten(0, (14, 16)).sum(dim=(1, 3)).flatten()
        if ours.ndim == 2
        else ours[1:]
    )
    expected = golden[key if key in golden else f"{key}.target"]
    if "eigen" in key:  # whose sign is not fixed
        expected = expected * np.sign(expected @ ours.numpy())
    error = np.linalg.norm(ours.numpy() - expected) / np.linalg.norm(expected)
    assert error < tolerance
