"""Keys of the methods on images since 2021 (``golden/newer/README_IMAGES.md``)."""

from bench.verify.grammar import Entry, Values
from bench.verify.offered import Nested

_READOUT = "{readout:pixels|patch_sums|tokens|tokens_with_position}"
_PIXELS = "{_readout:pixels|patch_sums}"
_GAMMA = "conv{gamma_conv:num}_lin{gamma:num}"
_POSITION = {"with_position": "with", "without_position": "without", "position_only": "only"}
_TOKENS = Nested("InputXGradient", {"readout": "tokens_with_position"})
_OF_GRADIENTS = {
    "input_x_gradient_tokens": _TOKENS,
    "fullgrad_plus": Nested("FullGradPlus", {}),
    "gae": Nested("GAE", {}),
}


def _attn_lrp(name: str, **settings) -> list[Entry]:
    without = {"gamma": 0.0, "gamma_conv": 0.0} | settings
    return [
        Entry(f"{name}.no_gamma.{_READOUT}", "AttnLRP", without),
        Entry(f"{name}.{_GAMMA}.{_READOUT}", "AttnLRP", settings),
    ]


def _libra(values: Values) -> Values:
    return {"method": _OF_GRADIENTS[values["_of"]]}


def _position(values: Values) -> Values:
    return {"position": _POSITION[values["_position"]]}


def _last(values: Values) -> Values:
    return {"similarity": values["similarity"], "start_layer": -values["_blocks"]}


def _smooth(statistic: str) -> dict:
    return {"of": "gradient", "statistic": statistic, "absolute": True}


KEYS = [
    Entry("gae", "GAE"),
    Entry("plain.gae", "GAE"),
    Entry("tam.start{start_layer:int}", "TransitionAttention"),
    Entry("tam.start{start_layer:int}.no_integral", "TransitionAttention", {"integrate": False}),
    Entry("beyond_intuition_{by:head|token}.first{start_layer:int}", "BeyondIntuition"),
    Entry("iia", "IIA"),
    *_attn_lrp("attnlrp", attention="softmax"),
    *_attn_lrp("attnlrp_cp", attention="constant"),
    *_attn_lrp("attnlrp_torchvision", attention="constant", linear="outside_attention"),
    Entry(
        f"cp_lrp_gelu_gradient.{_READOUT}",
        "AttnLRP",
        {"attention": "constant", "gamma": 0.0, "gamma_conv": 0.0, "activation": "gradient"},
    ),
    Entry("libragrad.{_of:input_x_gradient_tokens|fullgrad_plus|gae}", "LibraGrad", _libra),
    Entry("plain.input_x_gradient_tokens", _TOKENS.method, _TOKENS.settings),
    Entry("plain.fullgrad_plus", "FullGradPlus"),
    Entry("legrad.{similarity:logit|cosine}.first{start_layer:int}.tokens", "LeGrad"),
    Entry("legrad.{similarity:logit|cosine}.last{_blocks:int}.tokens", "LeGrad", _last),
    Entry("legrad.{similarity:logit|cosine}.first{start_layer:int}.image", "LeGrad", view="image"),
    Entry("legrad.{similarity:logit|cosine}.last{_blocks:int}.image", "LeGrad", _last, view="image"),
    Entry("agcam", "AGCAM"),
    Entry("pgc.{cam:eigencam|eigengradcam}.raw", "TokenCAM", view="unsigned"),
    Entry("pgc.{cam:\\w+}.raw", "TokenCAM"),
    Entry("pgc.{cam:\\w+}.image", "TokenCAM", view="cam_image"),
    Entry(f"gradient.{_PIXELS}", "Gradient"),
    Entry("input_x_gradient.{readout:pixels|patch_sums}", "InputXGradient"),
    Entry("input_x_gradient.tokens", _TOKENS.method, _TOKENS.settings),
    Entry(
        f"integrated_gradients.riemann_trapezoid{{points:int}}.{_PIXELS}",
        "IntegratedGradients",
        {"rule": "captum_trapezoid"},
    ),
    Entry(
        f"integrated_gradients.gausslegendre{{points:int}}.{_PIXELS}",
        "IntegratedGradients",
        {"rule": "gauss"},
    ),
    Entry(
        f"smoothgrad.seed{{_seed:int}}_n{{samples:int}}_std{{std:num}}.{_PIXELS}",
        "SmoothGrad",
        _smooth("mean"),
    ),
    Entry(
        f"smoothgrad_sq.seed{{_seed:int}}_n{{samples:int}}_std{{std:num}}.{_PIXELS}",
        "SmoothGrad",
        _smooth("mean_square"),
    ),
    Entry(
        f"vargrad.seed{{_seed:int}}_n{{samples:int}}_std{{std:num}}.{_PIXELS}",
        "SmoothGrad",
        _smooth("variance"),
    ),
    Entry(
        "rise.seed{seed:int}_N{count:int}_s{cells:int}_p{probability:num}." + _PIXELS,
        "RISE",
    ),
    Entry(
        "rise.seed{seed:int}_N{count:int}_s{cells:int}_p{probability:num}.mask_mean_check",
        "RISE",
        view="not compared",
        informative=True,
    ),
    Entry(f"vit_cx.seed{{seed:int}}.{_PIXELS}", "ViTCX"),
    Entry(f"pe_lrp.{{_position:with_position|without_position|position_only}}.{_PIXELS}", "PALRP", _position),
    Entry("third_party.tokentm", "TokenTM"),
    Entry("derived.attcat", "AttCAT"),
    Entry("derived.grad_sam", "GradSAM"),
]
