"""Every formula against numbers of an independent reference implementation (float64) and of Quantus and captum.

The reference takes one sample at a time and knows no batches. Of the packages only what computes the same thing is
here.
"""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

import metrics

pytestmark = pytest.mark.numerical

HERE = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((HERE / "metrics.json").read_text())
ARRAYS = dict(np.load(HERE / "metrics.npz"))
MAPS = {name[4:]: torch.from_numpy(array) for name, array in ARRAYS.items() if name.startswith("map.")}
PIXELS = torch.from_numpy(np.load(HERE / "vit_small_random.npz")["images"]).double() / 255
MASKS = torch.from_numpy(np.unpackbits(ARRAYS["masks"], axis=-1)).bool()
EXPLAINED = torch.tensor(GOLDEN["image_explained"])
FRACTIONS, BINS = GOLDEN["fractions"], GOLDEN["bins"]
TOLERANCE = 1e-9
PACKAGES = {
    "PointingGame": (metrics.pointing_game, 0),
    "RelevanceMassAccuracy": (metrics.mass_accuracy, 1e-14),
    "RelevanceRankAccuracy": (metrics.rank_accuracy, 1e-14),
    "AUC": (metrics.roc_auc, 1e-14),
    "TopKIntersection": (metrics.top_k_intersection, 1e-14),
    "Complexity": (
        lambda maps, masks: metrics.entropy(maps.flatten(1)),
        1e-7,
    ),  # it adds 1e-12 in the logarithm
}


def normalised(pixels):
    return pixels * 2 - 1


def close(ours, reference, tolerance=TOLERANCE):
    """Let numbers be within a tolerance, relative for those above 1."""
    np.testing.assert_allclose(
        np.asarray(ours, dtype=float), np.asarray(reference, dtype=float), rtol=tolerance, atol=tolerance
    )


def pixel_maps(name):
    return metrics.upsample(MAPS[name].view(-1, 14, 14), (224, 224))


def units_of(name, unit):
    return MAPS[name] if unit == "patch" else pixel_maps(name).flatten(1)


@pytest.fixture(scope="module")
def vit():
    model = timm.create_model("vit_base_patch16_224", embed_dim=48, depth=4, num_heads=3, num_classes=10)
    model.load_state_dict(load_file(HERE / "vit_small_random.safetensors"))
    return model.eval().double()


def masked(model, fill, unit):
    filled = normalised(metrics.fill_pixels(fill, PIXELS, (0.5, 0.5, 0.5)))
    return metrics.MaskedImages(model, normalised(PIXELS), filled, (14, 14) if unit == "patch" else None)


@pytest.mark.parametrize("name", MAPS)
def test_localisation(name):
    maps, golden = pixel_maps(name), GOLDEN["image"][name]["localisation"]
    close(metrics.pointing_game(maps, MASKS), golden["pointing"], 0)
    close(metrics.pointing_game(maps, MASKS, 15), golden["pointing_tolerance15"], 0)
    close(metrics.mass_accuracy(maps, MASKS), golden["energy_pointing_or_mass"])
    close(metrics.rank_accuracy(maps, MASKS), golden["rank_accuracy"])
    close(metrics.top_k_intersection(maps, MASKS), golden["top_1000_intersection"])
    close(metrics.roc_auc(maps, MASKS), golden["roc_auc"])
    close(metrics.mask_share(MASKS), golden["mask_share"])


def test_boxes_are_masks():
    for (x0, y0, x1, y1), mask in zip(GOLDEN["boxes"], MASKS, strict=True):
        assert metrics.box_mask([(x0, y0, x1, y1)], (224, 224)).equal(mask)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("unit", ["patch", "pixel"])
def test_shape(name, unit):
    values, golden = units_of(name, unit), GOLDEN["image"][name][f"complexity_{unit}"]
    close(metrics.gini(values), golden["gini"])
    close(metrics.entropy(values), golden["entropy"])
    close(metrics.effective_complexity(values), golden["effective_eps0.01"], 0)


@pytest.mark.parametrize("name", MAPS)
def test_subsets(name):
    for key, golden in GOLDEN["image"][name].items():
        if not key.startswith("subsets_"):
            continue
        stored = key.replace("_", ".")
        sums = metrics.subset_sums(MAPS[name], torch.from_numpy(ARRAYS[stored]).long())
        drops = ARRAYS[f"{stored}.drop_p"]
        close(metrics.faithfulness_correlation(sums, drops), golden["pearson_p"])
        logits = ARRAYS[f"{stored}.drop_logit"]
        close(metrics.faithfulness_correlation(sums, logits), golden["pearson_logit"])
        close(metrics.rank_correlation(sums, drops), golden["spearman_p"])
        close(metrics.infidelity(sums, drops), golden["infidelity_p"])
        close(metrics.infidelity(sums, drops, scaled=True), golden["infidelity_p_scaled"])
        relative = np.array(golden["infidelity_p_scaled"]) / (drops**2).mean(-1)
        close(metrics.relative_infidelity(sums, drops), relative)


@pytest.mark.parametrize("pair", GOLDEN["agreement"])
def test_agreement(pair):
    one, other = (MAPS[name] for name in pair.split("|"))
    golden = GOLDEN["agreement"][pair]
    close(metrics.spearman(one, other), golden["spearman"])
    close(metrics.kendall(one, other), golden["kendall_tau_b"])
    close(metrics.top_share_iou(one, other), golden["top20_iou"])
    close(metrics.pearson(one, other), golden["pearson"])


SLOW = ("gradcam", "curves_pixel_black")
CURVES = [
    (n, k)
    for n, golden in GOLDEN["image"].items()
    for k in golden
    if k.startswith("curves_") and (n, k) != SLOW
]


@pytest.mark.parametrize(("name", "key"), CURVES)
def test_curves_of_images(name, key, vit):
    _, unit, fill = key.split("_")
    golden, values = GOLDEN["image"][name][key], units_of(name, unit)
    steps, bins = metrics.unit_counts(values.shape[1], FRACTIONS), metrics.bin_counts(values.shape[1], BINS)
    most, least = metrics.removal_curves(
        masked(vit, fill, unit),
        metrics.rank(values),
        torch.tensor(steps + bins),
        torch.tensor(steps + [values.shape[1] - b for b in bins]),
        EXPLAINED,
        rows=8,
    )
    assert_curves(golden, most, least, slice(0, len(steps)), slice(len(steps), None))
    assert most.prediction[:, : len(steps)].tolist() == golden["morf_argmax"]


def assert_curves(golden, most, least, steps, bins):
    """Let the curves, and what is made of them, be the reference's; leading dimensions are the golden's own."""
    close(most.probability[..., steps], golden["morf_p"])
    close(least.probability[..., steps], golden["lerf_p"])
    close(metrics.area(most.probability[..., steps], FRACTIONS), golden["morf_auc"])
    close(metrics.area(least.probability[..., steps], FRACTIONS), golden["lerf_auc"])
    srg = metrics.srg(most.probability[..., steps], least.probability[..., steps], FRACTIONS)
    close(srg, golden["srg_auc"] if "srg_auc" in golden else golden["srg"])
    close(metrics.aopc(most.probability[..., steps]), golden["aopc_morf"])
    if "morf_logit" in golden:
        close(most.logit[..., steps], golden["morf_logit"])
        close(metrics.aopc(most.logit[..., steps]), golden["aopc_morf_logit"])
    of_bins = golden.get("bins", golden)
    close(most.probability[..., bins], of_bins["p_without_top"])
    close(least.probability[..., bins], of_bins["p_only_top"])
    clean, without = most.probability[..., 0], most.probability[..., bins]
    close(metrics.comprehensiveness(clean, without), of_bins["comprehensiveness"])
    close(metrics.sufficiency(clean, least.probability[..., bins]), of_bins["sufficiency"])
    logs = metrics.log_odds(most.log_probability[..., 0], most.log_probability[..., bins])
    close(logs, of_bins["log_odds"])


@pytest.mark.parametrize("fill", ["image_mean", "mean"])
def test_saco(fill, vit):
    golden = GOLDEN["image"]["transformer_attribution"][f"saco_K10_{fill}"]
    values = units_of("transformer_attribution", "pixel")
    groups = metrics.rank_groups(metrics.rank(values))
    salience = metrics.group_salience(values, groups)
    samples, number = (
        torch.arange(3).repeat_interleave(11),
        torch.arange(11).repeat(3) - 1,
    )  # −1 removes nothing
    found = metrics.evaluated(
        masked(vit, fill, "pixel"),
        samples,
        lambda some: groups[samples[some]] == number[some, None],
        EXPLAINED,
        rows=8,
    ).probability.view(3, 11)
    close(salience, golden["salience"])
    close(found[:, :1] - found[:, 1:], golden["drop"], 5e-8)  # p(x) was rounded to float32 there
    close(metrics.saco(salience, found[:, :1] - found[:, 1:]), golden["F"])


@pytest.mark.parametrize("order", ["deletion", "insertion"])
def test_rise(order, vit):
    """From the normalised image to its mean, or from a blurred image; of equal pixels the lower right first there."""
    golden = GOLDEN["rise"]
    values = units_of("transformer_attribution", "pixel")
    ranks = metrics.rank(values.flip(1)).flip(1)
    images = normalised(PIXELS)
    fill = torch.zeros(1, 3, 1, 1).double() if order == "deletion" else metrics.rise_blur(images)
    counts = torch.arange(8) * golden["step_pixels"]
    most, least = metrics.removal_curves(
        metrics.MaskedImages(vit, images, fill), ranks, counts, counts, EXPLAINED
    )
    scores = most.probability if order == "deletion" else least.probability.flip(1)
    close(scores, golden[f"{order}_scores"], 1e-7)
    area = metrics.area(scores, counts / values.shape[1])
    close(area, golden["deletion" if order == "deletion" else "insertion_blur"], 1e-7)


def test_imputed_pixels():
    maps = units_of("transformer_attribution", "pixel")
    missing = (metrics.rank(maps) < 224 * 224 // 2)[:1].view(1, 224, 224)
    imputed = metrics.inpaint(PIXELS[:1], missing)[0, :, ::4, ::4]
    close(imputed, ARRAYS["road.imputed.50"], 1e-3)  # of float16 there


def test_road(vit):
    """The share of one step; the reference's own solution is of float32."""
    golden, step = GOLDEN["road"], 1
    values = units_of("transformer_attribution", "pixel")
    count = torch.tensor(metrics.unit_counts(values.shape[1], [golden["percentages"][step] / 100]))
    road = metrics.InpaintedImages(vit, PIXELS, normalised, torch.zeros(3), noise=0)
    most, least = metrics.removal_curves(road, metrics.rank(values), count, count, EXPLAINED)
    for outputs, key in ((most, "morf"), (least, "lerf")):
        close(outputs.probability[:, 0], np.array(golden[key]["p"])[:, step], 1e-5)
        assert outputs.prediction[:, 0].tolist() == np.array(golden[key]["argmax"])[:, step].tolist()


@pytest.fixture(scope="module")
def bert():
    config = BertConfig(**json.loads((HERE / "bert_small_random.config.json").read_text()))
    model = BertForSequenceClassification(config)
    model.load_state_dict(load_file(HERE / "bert_small_random.safetensors"), strict=False)
    model = model.eval().double()
    stored = dict(np.load(HERE / "bert_small_random.npz"))
    inputs = {name: torch.from_numpy(stored[name]).long() for name in ("input_ids", "attention_mask")}
    return lambda given: model(**given).logits, inputs, stored


def units_of_texts(inputs):
    """The units of the tokens between the first and the last of each text, their numbers, and which are there."""
    lengths = inputs["attention_mask"].sum(dim=1)
    place = torch.arange(inputs["input_ids"].shape[1])
    units = torch.where((place > 0) & (place < lengths[:, None] - 1), place - 1, -1)
    sizes = lengths - 2
    return units, sizes, torch.arange(int(sizes.max())) < sizes[:, None]


@pytest.mark.parametrize(("theirs", "fill"), [("mask", "mask"), ("drop", "delete"), ("pad", "attention")])
def test_curves_of_texts(theirs, fill, bert):
    forward, inputs, stored = bert
    units, sizes, valid = units_of_texts(inputs)
    golden = GOLDEN["text"]["sequences"]
    explained = torch.tensor([sequence["explained"] for sequence in golden])
    of_class = [stored[f"transformer_attribution.start3.class{c}"] for c in explained.tolist()]
    tokens = torch.from_numpy(np.stack([array[i] for i, array in enumerate(of_class)])).double()
    ranks = metrics.unit_ranks(tokens[:, 1 : 1 + valid.shape[1]].where(valid, torch.nan).nan_to_num(), valid)
    run = metrics.MaskedTexts(forward, inputs, units, fill, mask_id=103, pad_id=0)
    steps = torch.tensor([metrics.unit_counts(n, FRACTIONS) for n in sizes.tolist()])
    bins = torch.tensor([metrics.bin_counts(n, BINS) for n in sizes.tolist()])
    counts = torch.cat([steps, bins], 1), torch.cat([steps, sizes[:, None] - bins], 1)
    most, least = metrics.removal_curves(run, ranks, *counts, explained, sizes=sizes)
    for i, sequence in enumerate(golden):
        one = sequence["transformer_attribution"][theirs]
        assert bins[i].tolist() == one["k"]
        own = (type(each)(*(column[i] for column in each)) for each in (most, least))
        assert_curves(one, *own, slice(0, len(FRACTIONS)), slice(len(FRACTIONS), None))


@pytest.mark.parametrize("sample", range(3))
@pytest.mark.parametrize("fill", ["delete", "mask"])
def test_ferret(sample, fill, bert):
    forward, inputs, _ = bert
    units, sizes, _ = units_of_texts(inputs)
    length, size = int(sizes[sample]) + 2, int(sizes[sample])
    scores = torch.from_numpy(ARRAYS["text.input_x_gradient"][sample, 1 : length - 1])
    alone = {name: value[sample : sample + 1, :length] for name, value in inputs.items()}
    run = metrics.MaskedTexts(forward, alone, units[sample : sample + 1, :length], fill, mask_id=1, pad_id=0)

    def probability(removed):
        samples = torch.zeros(len(removed), dtype=torch.long)
        return metrics.evaluated(run, samples, removed, torch.tensor([0]), rows=8).probability

    clean = float(probability(torch.zeros(1, size, dtype=torch.bool)))
    key = f"bert_small_random/input_x_gradient.word.sum/class0/sample{sample}"
    golden = GOLDEN["ferret"][f"{key}/{fill}"]
    found = metrics.ferret_aopc(scores, clean, probability)
    close(found.comprehensiveness, golden["aopc_comprehensiveness"])
    close(found.sufficiency, golden["aopc_sufficiency"])
    assert found.bins == golden["bins"]
    if fill == "delete":
        drops = metrics.leave_one_out(run, sizes[sample : sample + 1], size, torch.tensor([0]), rows=8)
        close(metrics.tau_to_leave_one_out(scores[None], drops)[0], GOLDEN["ferret"][f"{key}/taucorr_loo"])


@pytest.mark.parametrize("name", GOLDEN["eraser"])
def test_eraser(name):
    """Random scores and class probabilities, drawn as the reference's were, on real lengths and annotated spans."""
    golden = GOLDEN["eraser"][name]
    rng, near = np.random.default_rng(golden["seed"]), np.random.default_rng(1000 + golden["seed"])
    soft, hard, close_by, faithful = [], [], [], []
    for documents in golden["annotations"]:
        for words, spans in documents:
            scores, truth = rng.random(words), np.zeros(words, dtype=bool)
            for start, end in spans:
                truth[start:end] = True
            top = np.zeros(words, dtype=bool)
            top[np.argsort(-scores, kind="stable")[: max(1, round(golden["share"] * words))]] = True
            of_words = (metrics.auprc, metrics.average_precision_of_words, metrics.roc_auc_of_words)
            soft.append([score(scores, truth) for score in of_words])
            hard.append((metrics.spans_of(top), spans))
        drawn = [rng.dirichlet(np.ones(golden["classes"])) for _ in range(1 + 2 * len(BINS))]
        best = int(drawn[0].argmax())
        faithful.append([each[best] for each in drawn])
        close_by += [(predicted_near(spans, words, near), spans) for words, spans in documents]
    for pairs, references in ((hard, golden["iou"]), (close_by, golden["near_truth_iou"])):
        for reference in references:
            counts = [metrics.matching_spans(*pair, reference["threshold"]) for pair in pairs]
            counts = metrics.SpanCounts(*map(np.array, zip(*counts, strict=True)))
            for average in ("micro", "macro"):
                found = metrics.span_f1(counts, average)
                close(found, [reference[average][key] for key in ("p", "r", "f1")], 1e-12)
    close(
        np.nanmean(soft, axis=0), [golden["soft"][k] for k in ("auprc", "average_precision", "roc_auc_score")]
    )
    clean, both = np.array(faithful)[:, 0], np.array(faithful)[:, 1:].reshape(-1, len(BINS), 2)
    reference = golden["faithfulness"]
    close(metrics.comprehensiveness(clean, both[..., 0]).mean(), reference["comprehensiveness_aopc"])
    close(metrics.sufficiency(clean, both[..., 1]).mean(), reference["sufficiency_aopc"])


def predicted_near(spans, words, rng):
    """Most of the annotated spans, their ends moved by up to two words."""
    found, last = [], 0
    for start, end in spans:
        u, moved = rng.random(), (rng.integers(-2, 3), rng.integers(-2, 3))
        first, stop = max(last, start + moved[0]), min(words, end + moved[1])
        if u < 0.7 and stop > first:
            found.append((int(first), int(stop)))
            last = stop
    return found


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("metric", PACKAGES)
def test_quantus(name, metric):
    formula, tolerance = PACKAGES[metric]
    close(formula(pixel_maps(name), MASKS), GOLDEN["packages"][f"{name}/{metric}"]["value"], tolerance)


def test_quantus_region_perturbation(vit):
    """The drops of Samek et al., of which AOPC is the mean; its own input is of float32."""
    name, counts = "transformer_attribution", torch.arange(9)
    ranks = metrics.rank(MAPS[name])
    most, least = metrics.removal_curves(
        masked(vit, "mean", "patch"), ranks, counts, counts, EXPLAINED, rows=8
    )
    for curve, direction in ((most.probability, "morf"), (least.probability, "lerf")):
        golden = np.array(GOLDEN["packages"][f"{name}/RegionPerturbation_{direction}"]["value"])[:, :8]
        close(curve[:, :1] - curve[:, 1:], golden, 1e-7)
        close(metrics.aopc(curve), golden.sum(axis=-1) / 9, 1e-7)


@pytest.mark.parametrize(
    "name", ["transformer_attribution", "rollout", "random"]
)  # gradcam ties, which it breaks anew
def test_quantus_pixel_flipping(name, vit):
    counts = torch.arange(1, 15) * 14
    most, _ = metrics.removal_curves(
        masked(vit, "mean", "patch"), metrics.rank(MAPS[name]), counts, counts[:0], EXPLAINED
    )
    for sample, curve in enumerate(most.probability):
        close(curve, np.ravel(GOLDEN["packages"][f"{name}/{sample}/PixelFlipping"]["value"]))


@pytest.mark.parametrize("scaled", [False, True])
def test_captum_infidelity(scaled):
    name = "transformer_attribution"
    sums = metrics.subset_sums(MAPS[name], torch.from_numpy(ARRAYS["subsets.n20"]).long())
    ours = metrics.infidelity(sums, ARRAYS["subsets.n20.drop_p"], scaled)
    for sample, value in enumerate(ours):
        golden = GOLDEN["packages"][f"{name}/{sample}/captum.infidelity_normalize={scaled}"]["value"]
        close(value, golden[0])


def test_max_sensitivity(vit):
    """Of the gradient's magnitudes; as captum has it when it is given a tuple of maps."""
    golden = GOLDEN["max_sensitivity"]
    noise = torch.from_numpy(np.random.default_rng(5).uniform(-0.2, 0.2, (10, 3, 224, 224)))

    def saliency(images):
        images = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(vit(images).gather(1, EXPLAINED[:, None]).sum(), images)
        return gradient.abs().sum(dim=1)

    images = normalised(PIXELS)
    plain = saliency(images)
    distances = torch.stack(
        [metrics.relative_distance(plain, saliency(images + one)) for one in noise], dim=1
    )
    close(metrics.max_sensitivity(distances), golden["values"])
    captum = [GOLDEN["packages"][f"saliency/{i}/captum.sensitivity_max"]["value"][0] for i in range(3)]
    close(metrics.max_sensitivity(distances), captum)


def test_completeness():
    golden = GOLDEN["completeness_lrp"]
    total, logit = np.array(golden["sum"]), np.array(golden["z"])
    close(metrics.completeness(total, logit), np.abs(total / logit - 1))
