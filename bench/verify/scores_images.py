"""Values of metrics on images (``golden/metrics/README.md``): one function for each kind of section."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.verify.grammar import Entry
from bench.verify.offered import make, metric
from bench.verify.scored_images import ScoredImages

BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
NOISE_SEED = 5  # of the noise behind max-sensitivity

Leaves = Mapping[str, Any]


# --- sections of one map


def ties(images: ScoredImages, name: str, stored: Leaves) -> dict:
    """How many patches have the value of another one that was counted already."""
    return {"": [len(row) - len(row.unique()) for row in images.map(name)]}


def localisation(images: ScoredImages, name: str, stored: Leaves) -> dict:
    """On pixels; the numbers in the names are settings."""
    maps, masks = images.upsampled(name), images.masks
    found = {
        "pointing": metric("pointing_game")(maps, masks).bool(),
        "energy_pointing_or_mass": metric("mass_accuracy")(maps, masks),
        "rank_accuracy": metric("rank_accuracy")(maps, masks),
        "roc_auc": metric("roc_auc")(maps, masks),
        "mask_share": metric("mask_share")(masks),
    }
    for key in stored:
        if values := Entry("pointing_tolerance{tolerance:num}", "").read(key):
            found[key] = metric("pointing_game")(maps, masks, **values).bool()
        if values := Entry("top_{k:int}_intersection", "").read(key):
            found[key] = metric("top_k_intersection")(maps, masks, **values)
    return found


def complexity(images: ScoredImages, name: str, stored: Leaves, unit: str) -> dict:
    """Of the patches or of the pixels."""
    values = images.map(name) if unit == "patch" else images.upsampled(name).flatten(1)
    found = {"gini": metric("gini")(values), "entropy": metric("entropy")(values)}
    for key in stored:
        if read := Entry("effective_eps{threshold:num}", "").read(key):
            found[key] = metric("effective_complexity")(values, **read)
    return found


def curves(images: ScoredImages, name: str, stored: Leaves, unit: str, fill: str) -> dict:
    """While the most, or the least, relevant units are removed."""
    maps = images.map(name) if unit == "patch" else images.upsampled(name).flatten(1)
    ranks, units = metric("rank")(maps), maps.shape[1]
    steps = len(stored["morf_p"][0])
    fractions = [round(i / (steps - 1), 12) for i in range(steps)]
    counts = metric("unit_counts")(units, fractions)
    bins = metric("bin_counts")(units, BINS)
    most, least = images.outputs(
        images.masked(unit, fill),
        ranks,
        torch.tensor([*counts, *bins]),
        torch.tensor([*counts, *(units - b for b in bins)]),
    )
    return curve_scores(fractions, images.clean[0], most, least) | {
        "morf_logit": most.logit[:, :steps],
        "lerf_logit": least.logit[:, :steps],
        "morf_argmax": most.prediction[:, :steps],
        "lerf_argmax": least.prediction[:, :steps],
        "aopc_morf_logit": metric("aopc")(most.logit[:, :steps]),
    }


def curve_scores(fractions: list[float], clean: Tensor, most: Any, least: Any) -> dict:
    """What is made of probabilities at the fractions, and behind them at the bins."""
    steps = len(fractions)
    morf, lerf = most.probability[:, :steps], least.probability[:, :steps]
    without_top, only_top = most.probability[:, steps:], least.probability[:, steps:]
    areas = metric("area")(morf, fractions), metric("area")(lerf, fractions)
    return {
        "morf_p": morf,
        "lerf_p": lerf,
        "morf_auc": areas[0],
        "lerf_auc": areas[1],
        "deletion_auc": areas[0],
        "insertion_auc_same_fill": areas[1],
        "srg_auc": metric("srg")(morf, lerf, fractions),
        "abpc_mean_of_steps": metric("aopc")(morf) - metric("aopc")(lerf),
        "aopc_morf": metric("aopc")(morf),
        "aopc_lerf": metric("aopc")(lerf),
        "bins/p_without_top": without_top,
        "bins/p_only_top": only_top,
        "bins/comprehensiveness": metric("comprehensiveness")(clean, without_top),
        "bins/sufficiency": metric("sufficiency")(clean, only_top),
        "bins/log_odds": metric("log_odds")(clean.log(), most.log_probability[:, steps:]),
    }


def saco(images: ScoredImages, name: str, stored: Leaves, groups: int, fill: str) -> dict:
    """Each group of pixels is removed alone."""
    maps = images.upsampled(name).flatten(1)
    own = metric("rank_groups")(metric("rank")(maps), groups)
    salience = metric("group_salience")(maps, own, groups)
    masked, every = images.masked("pixel", fill), torch.arange(len(maps))
    with torch.no_grad():
        logits = torch.stack([masked(every, own == group) for group in range(groups)], dim=1)
    at = images.target[:, None, None].expand(-1, groups, 1)
    drop = images.clean[0][:, None] - logits.softmax(dim=2).gather(2, at)[..., 0]
    return {"F": metric("saco")(salience, drop), "salience": salience, "drop": drop}


def subsets(images: ScoredImages, name: str, stored: Leaves, size: int) -> dict:
    """With the subsets that are stored, and what is stored of removing them."""
    chosen, drop_p, drop_logit = (
        torch.from_numpy(images.subject.array(f"subsets.n{size}{what}"))
        for what in ("", ".drop_p", ".drop_logit")
    )
    sums = metric("subset_sums")(images.map(name), chosen.long())
    return {
        "pearson_p": metric("faithfulness_correlation")(sums, drop_p),
        "pearson_logit": metric("faithfulness_correlation")(sums, drop_logit),
        "spearman_p": metric("rank_correlation")(sums, drop_p),
        "infidelity_p": metric("infidelity")(sums, drop_p),
        "infidelity_p_scaled": metric("infidelity")(sums, drop_p, scaled=True),
    }


OF_A_MAP = {
    "ties_in_patch_map": ties,
    "localisation": localisation,
    "complexity_{unit:patch|pixel}": complexity,
    "curves_{unit:patch|pixel}_{fill:black|mean|image_mean}": curves,
    "saco_K{groups:int}_{fill:black|mean|image_mean}": saco,
    "subsets_n{size:int}": subsets,
}
"""By the names of sections; the braces name the arguments."""


# --- sections of all samples


def clean(images: ScoredImages, stored: Leaves) -> dict:
    """Of the explained class in the whole input: probability or logit."""
    return {"p_clean": images.clean[0], "z_clean": images.clean[1]}


def agreement(images: ScoredImages, stored: Leaves) -> dict:
    """Of pairs of maps, named ``one|other/what``."""
    found = {}
    for key in stored:
        pair, _, what = key.partition("/")
        one, other = (images.map(name) for name in pair.split("|"))
        if what in ("spearman", "pearson"):
            found[key] = metric(what)(one, other)
        elif what == "kendall_tau_b":
            found[key] = metric("kendall")(one, other)
        elif values := Entry("top{k:int}_iou", "").read(what):
            found[key] = metric("top_share_iou")(one, other, share=values["k"] / one.shape[1])
    return found


def road(images: ScoredImages, stored: Leaves) -> dict:
    """Pixels imputed from what is left, without noise, in the order of transformer attribution."""
    ranks = metric("rank")(images.upsampled(images.road_map()).flatten(1))
    counts = torch.tensor(metric("unit_counts")(ranks.shape[1], [p / 100 for p in stored["percentages"]]))
    masked = metric("InpaintedImages")(
        images.subject.forward, images.pixels, images.normalise, torch.zeros(len(ranks)), noise=0.0
    )
    found: dict[str, Any] = {"percentages": stored["percentages"]}
    for name, outputs in zip(("morf", "lerf"), images.outputs(masked, ranks, counts, counts), strict=True):
        hits = outputs.prediction == images.target[:, None]
        found |= {f"{name}/p": outputs.probability, f"{name}/argmax": outputs.prediction}
        found[f"accuracy_{name}"] = hits.double().mean(dim=0)
    return found


def rise(images: ScoredImages, stored: Leaves, name: str) -> dict:
    """RISE's deletion to the mean, and insertion from the blurred image, a number of pixels a step.

    Its code reverses an ascending order, so that of equal pixels the last is the most relevant.
    """
    ascending, step = metric("rank")(-images.upsampled(name).flatten(1)), stored["step_pixels"]
    inputs, pixels = images.subject.inputs, ascending.shape[1]
    ranks = pixels - 1 - ascending
    counts = torch.tensor([min(i * step, pixels) for i in range(-(-pixels // step) + 1)])
    blurred = metric("rise_blur")(inputs)
    deletion = metric("MaskedImages")(images.subject.forward, inputs, torch.zeros_like(inputs))
    insertion = metric("MaskedImages")(images.subject.forward, blurred, inputs)  # pixels come back
    scores = [
        images.outputs(masked, ranks, counts, counts)[0].probability for masked in (deletion, insertion)
    ]
    even = [i / (len(counts) - 1) for i in range(len(counts))]
    return {
        "step_pixels": step,
        "deletion": metric("area")(scores[0], even),
        "insertion_blur": metric("area")(scores[1], even),
        "deletion_scores": scores[0],
        "insertion_scores": scores[1],
    }


def max_sensitivity(images: ScoredImages, stored: Leaves) -> dict:
    """Of the saliency, under the same noise for all images."""
    radius, samples, inputs = stored["radius"], stored["samples"], images.subject.inputs
    shape = (samples, *inputs.shape[1:])
    noise = torch.from_numpy(np.random.default_rng(NOISE_SEED).uniform(-radius, radius, shape))
    own = saliency(images)
    distances = []
    for one in noise:
        difference = (saliency(images, inputs + one) - own).flatten(1).norm(dim=1)
        distances.append(difference / own.flatten(1).norm(dim=1))
    return {"radius": radius, "samples": samples, "values": torch.stack(distances, dim=1).amax(dim=1)}


def saliency(images: ScoredImages, inputs: Tensor | None = None) -> Tensor:
    """Σ |∂z/∂x| over the channels, (samples, height, width)."""
    inputs = images.subject.inputs if inputs is None else inputs
    return make("Gradient", {"reduce": "l1"})(images.subject.forward, inputs, images.target).detach()


def completeness(images: ScoredImages, stored: Leaves, method: str) -> dict:
    """What a map adds up to, and the logits that it might add up to."""
    kind = {"gradient_x_input": "InputXGradient", "lrp": "LRP"}[method]
    maps = make(kind, {})(images.subject.forward, images.subject.inputs, images.target)
    with torch.no_grad():
        empty = images.subject.forward(torch.zeros_like(images.subject.inputs))
    return {
        "sum": maps.detach().flatten(1).sum(dim=1),
        "z": images.clean[1],
        "z_baseline_zero": empty.gather(1, images.target[:, None])[:, 0],
    }


OF_THE_SET = {
    "{_what:p_clean|z_clean}": clean,
    "agreement": agreement,
    "road": road,
    "rise_{name:\\w+}": rise,
    "saliency_max_sensitivity": max_sensitivity,
    "completeness_{method:gradient_x_input|lrp}": completeness,
}


# --- arrays of the npz


def drops(images: ScoredImages, size: int, what: str) -> Tensor:
    """p(x) − p(x without a subset), or of the logit, for each stored subset; the fill is the mean."""
    logits = images.without_subsets(size)
    values = logits.softmax(dim=2) if what == "p" else logits
    at = images.target[:, None, None].expand(-1, logits.shape[1], 1)
    return images.clean[what == "logit"][:, None] - values.gather(2, at)[..., 0]


def imputed(images: ScoredImages, direction: str, percentage: int, image: int) -> Tensor:
    """One image, in 0..1, after so many per cent of its pixels were imputed."""
    ranks = metric("rank")(images.upsampled(images.road_map()))[image : image + 1]
    gone = metric("removed")(ranks, percentage / 100, most_relevant_first=direction == "morf")
    return metric("inpaint")(images.pixels[image : image + 1], gone)[0]
