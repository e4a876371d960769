"""Keys of the methods on texts since 2021 (``golden/newer/README_TEXTS.md``)."""

from bench.verify.grammar import Entry, Values

_REDUCE, _ENTRY = "{reduce:sum|l1|l2|mean_abs}", "{entry:word|sum|embeddings}"
_QUANTITY, _GROUPS = "{quantity:logit|probability}", "{fill:mask|pad}.groups{_groups:int}"
_STATISTICS = {"smoothgrad": "mean", "smoothgrad_sq": "mean_square", "vargrad": "variance"}
_CONSTANT = {"attention": "constant"}

_VARIANTS = {
    None: {},
    "la": {"activation": "tangent"},
    "nobias": {"bias": None},
    "norm_bias": {"bias": "norm"},
    "equal_bias": {"bias": "equal"},
    "cosine_bias": {"bias": "cosine"},
    "noffn": {"feed_forward": False},
}
_READOUTS = {None: "logit", "aggregated_norm": "last_block", "pooler_norm": "pooler"}


def _integrated_gradients(start: str, informative: bool = False) -> list[Entry]:
    """From a baseline, by Gauss–Legendre and by captum's trapezoid; and how far the map's sum is off."""
    begin = f"integrated_gradients.{start}"
    rules = {"gauss": "gauss", "trapezoid": "captum_trapezoid"}
    return [
        Entry(
            f"{begin}.{word}{{points:int}}.{_REDUCE}",
            "IntegratedGradients",
            {"rule": rule},
            informative=informative,
        )
        for word, rule in rules.items()
    ] + [
        Entry(
            f"delta.{begin}.{word}{{points:int}}",
            "IntegratedGradients",
            {"rule": rule},
            "completeness",
            absolute=True,
            informative=informative,
        )
        for word, rule in rules.items()
    ]


def _fill(values: Values) -> Values:
    fills = {"attention_mask": "attention"}
    return {"fill": fills.get(values["_fill"], values["_fill"]), "quantity": values["quantity"]}


def _decompx(values: Values) -> Values:
    """Of one of the variants, which change one setting of the default."""
    return _VARIANTS[values.get("_variant")] | {"readout": _READOUTS[values.get("_readout_of")]}


def _smooth(
    statistic: str, of: str = "{of:gradient|input_x_gradient}", reduce: str = _REDUCE, vanishes: bool = False
) -> Entry:
    pattern = f"{statistic}.{of}.std{{std:num}}.n{{samples:int}}.{reduce}"
    settings = {"statistic": _STATISTICS[statistic], "absolute": True}
    return Entry(pattern, "SmoothGrad", settings, vanishes=vanishes)


KEYS = [
    Entry("gradient_norm.{reduce:l1|l2}", "Gradient"),
    Entry("gradient.mean_abs", "Gradient", {"reduce": "mean_abs"}),
    Entry("input_x_gradient.{entry:sum}.{reduce:sum}", "InputXGradient", vanishes=True),  # 0 before a norm
    Entry(f"input_x_gradient.{_ENTRY}.{_REDUCE}", "InputXGradient"),
    # From zero at the input of a norm nothing converges.
    *_integrated_gradients("{entry:sum}.{_base:zero}", informative=True),
    *_integrated_gradients(f"{_ENTRY}.{{_base:zero|pad|mask}}"),
    _smooth("smoothgrad", "{of:gradient}", "{reduce:sum}", vanishes=True),  # 0 before a norm
    *(_smooth(statistic) for statistic in _STATISTICS),
    Entry("deeplift_captum.{_setting:.+}", "DeepLift", view="not compared", informative=True),
    Entry(f"leave_one_out.{{fill:mask|pad}}.{_QUANTITY}", "LeaveOneOut"),
    Entry(
        f"derived.leave_one_out.{{_fill:delete|attention_mask}}.{_QUANTITY}",
        "LeaveOneOut",
        _fill,
        "no specials",
    ),
    Entry(f"occlusion.{{fill:mask|pad}}.window{{window:int}}.{_QUANTITY}", "Occlusion"),
    # Integrating from one token's mask embedding to it is leave-one-out, by completeness.
    Entry(
        "sequential_ig.word.{fill:mask|pad}.gauss{_points:int}",
        "LeaveOneOut",
        {"quantity": "logit"},
        absolute=True,
    ),
    Entry(f"shapley_exact.{_GROUPS}.{_QUANTITY}", "KernelSHAP", {"sampling": "all"}, "groups"),
    Entry(f"kernel_shap_all.{_GROUPS}.{_QUANTITY}", "KernelSHAP", {"sampling": "all"}, "groups"),
    Entry(
        f"kernel_shap_captum.{_GROUPS}.n{{_samples:int}}.{_QUANTITY}",
        "KernelSHAP",
        {"sampling": "captum"},
        "groups",
        alone=True,
    ),
    Entry(f"lime.{_GROUPS}.n{{_samples:int}}.{_QUANTITY}", "LIME", view="groups", alone=True),
    Entry(f"owen_partition.{_GROUPS}.{_QUANTITY}", "PartitionSHAP", view="groups"),
    Entry(
        f"owen_partition.{_GROUPS}.evals{{max_evals:int}}.{_QUANTITY}",
        "PartitionSHAP",
        view="groups",
        informative=True,
    ),
    Entry("attnlrp.{_form:efficient|explicit}", "AttnLRP", {"attention": "softmax"}),
    Entry("derived.cp_lrp.{activation:identity|gradient}.{entry:word|sum|embeddings}", "AttnLRP", _CONSTANT),
    Entry("cp_lrp.lxt", "AttnLRP", _CONSTANT | {"gate": "constant"}),
    Entry("derived.generic_attention", "GAE"),
    Entry("derived.attention_x_gradient.last", "GAE", {"last_block_only": True}),
    Entry("derived.attention_x_gradient.last.signed", "GAE", {"last_block_only": True, "signed": True}),
    Entry("attcat.special_visible", "AttCAT"),
    Entry("attcat.special_masked", "AttCAT", {"queries": "all"}, alone=True, hidden_specials=True),
    Entry("globenc", "GlobEnc"),
    Entry("globenc.norms.block{_block:int}.sample{_sample:int}", "GlobEnc", view="matrices"),
    Entry("alti", "ALTI"),
    Entry("alti.{distance:l1|l2}", "ALTI"),
    Entry("alti.ln2", "ALTI", {"after": "block"}),
    Entry("alti.contributions.sample{_sample:int}", "ALTI", view="matrices"),
    Entry("value_zeroing.rollout", "ValueZeroing"),
    Entry("value_zeroing.last_block", "ValueZeroing", {"last_block_only": True}),
    Entry("value_zeroing.scores.sample{_sample:int}", "ValueZeroing", view="matrices"),
    *(
        Entry(f"decompx{variant}{readout}", "DecompX", _decompx)
        for variant in ("", ".{_variant:la|nobias|norm_bias|equal_bias|cosine_bias|noffn}")
        for readout in ("", ".{_readout_of:aggregated_norm|pooler_norm}")
    ),
    Entry("dig.{_strategy:greedy|maxcount}", "DIG", view="not compared", informative=True),
]
