"""Where the packages are right: their number, ours, and how far these are apart."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import captum.metrics
import numpy as np
import quantus
import torch
from quantus.functions.complexity_func import discrete_entropy

import metrics
from tests.packages.subjects import SIDE, Network, images, maps, masks

QUIET = {"disable_warnings": True, "display_progressbar": False}
PLAIN = {**QUIET, "abs": False, "normalise": False, "return_aggregate": False}
PIXELS = SIDE * SIDE
FLOAT32 = 1e-5  # of a forward pass in single precision


class Pair(NamedTuple):
    """A number of a package, and ours."""

    what: str
    theirs: np.ndarray
    ours: np.ndarray
    tolerance: float

    @property
    def difference(self) -> float:
        """The largest."""
        return float(np.abs(np.asarray(self.theirs, float) - np.asarray(self.ours, float)).max())

    @property
    def holds(self) -> bool:
        """Whether both have the same shape and agree."""
        return np.shape(self.theirs) == np.shape(self.ours) and self.difference <= self.tolerance


def of_quantus(metric: Callable, model: Any = None, **given: Any) -> np.ndarray:
    """What a metric of Quantus makes of the maps."""
    model = (Network() if model is None else model).eval()
    arguments = {
        "x_batch": images(),
        "y_batch": np.zeros(len(images()), int),
        "a_batch": maps()[:, None],
    } | given
    return np.asarray(metric(model=model, device="cpu", **arguments))


def pairs() -> Iterator[Pair]:
    """Every comparison."""
    yield from _localisation()
    yield from _shape()
    yield from _removal()
    yield from _subsets()
    yield _sensitivity()


def _localisation() -> Iterator[Pair]:
    ours, mask = torch.from_numpy(maps()), torch.from_numpy(masks())

    def top(maps: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        return metrics.top_k_intersection(maps, masks, 50)

    for name, settings, own, tolerance in (
        ("PointingGame", {}, metrics.pointing_game, 0),
        ("RelevanceMassAccuracy", {}, metrics.mass_accuracy, 1e-14),
        ("RelevanceRankAccuracy", {}, metrics.rank_accuracy, 1e-14),
        ("AUC", {}, metrics.roc_auc, 1e-14),
        ("TopKIntersection", {"k": 50}, top, 1e-14),
    ):
        theirs = of_quantus(getattr(quantus, name)(**settings, **PLAIN), s_batch=masks()[:, None])
        yield Pair(f"Quantus {name}", theirs, own(ours, mask).numpy(), tolerance)


def _shape() -> Iterator[Pair]:
    ours = torch.from_numpy(maps()).flatten(1)
    # Both add a small number where nothing needs one: 1e-7 and 1e-12.
    theirs = of_quantus(quantus.Sparseness(**{**PLAIN, "abs": True}))
    yield Pair("Quantus Sparseness", theirs, metrics.gini(ours).numpy(), 1e-7)
    theirs = of_quantus(quantus.Complexity(**{**PLAIN, "abs": True}))
    yield Pair("Quantus Complexity", theirs, metrics.entropy(ours).numpy(), 1e-7)
    own = metrics.efficient_mprt(metrics.histogram_entropy(ours), metrics.histogram_entropy(ours**3))
    theirs = [
        [discrete_entropy(a=m, x=m, n_bins=100) for m in each]
        for each in (maps()[:, None], maps()[:, None] ** 3)
    ]
    found = (np.array(theirs[1]) - theirs[0]) / theirs[0]
    yield Pair("Quantus discrete_entropy (EfficientMPRT, n_bins=100)", found, own, 1e-12)


def _curves(counts: list[int]) -> metrics.Outputs:
    """What the network says while the most relevant pixels become 0."""
    inputs = torch.from_numpy(images())
    masked = metrics.MaskedImages(Network(), inputs, torch.zeros(1, 1, 1, 1))
    ranks = metrics.rank(torch.from_numpy(maps()).flatten(1))
    steps = torch.tensor(counts)
    return metrics.removal_curves(
        masked, ranks, steps, steps[:0], torch.zeros(len(inputs), dtype=torch.long)
    )[0]


def _removal() -> Iterator[Pair]:
    step = 16
    flipping = quantus.PixelFlipping(features_in_step=step, perturb_baseline=0.0, **PLAIN)
    ours = _curves(list(range(step, PIXELS + 1, step)))
    yield Pair("Quantus PixelFlipping", of_quantus(flipping, softmax=True), ours.probability.numpy(), FLOAT32)
    # Regions of 4 × 4 pixels in the order of their sum, each the drop of the probability.
    regions = quantus.RegionPerturbation(patch_size=4, regions_evaluation=16, perturb_baseline=0.0, **PLAIN)
    inputs, grid = torch.from_numpy(images()), (SIDE // 4, SIDE // 4)
    sums = torch.from_numpy(maps()).view(-1, 4, 4, 4, 4).sum((2, 4)).flatten(1)
    masked = metrics.MaskedImages(Network(), inputs, torch.zeros(1, 1, 1, 1), grid)
    counts = torch.arange(17)
    target = torch.zeros(len(inputs), dtype=torch.long)
    p = metrics.removal_curves(masked, metrics.rank(sums), counts, counts[:0], target)[0].probability
    theirs = of_quantus(regions, softmax=True)
    yield Pair("Quantus RegionPerturbation", theirs, (p[:, :1] - p[:, 1:]).numpy(), FLOAT32)


def _drawn(subsets: int, size: int) -> tuple[torch.Tensor, np.ndarray]:
    """The subsets that Quantus draws with the seed 0, (images, subsets, size), and the drops of the logit."""
    np.random.seed(0)  # noqa: NPY002  its generator
    drawn = [[np.random.choice(PIXELS, size, replace=False) for _ in images()] for _ in range(subsets)]  # noqa: NPY002
    chosen = torch.from_numpy(np.array(drawn)).transpose(0, 1)
    removed = metrics.subset_masks(chosen, PIXELS)
    inputs = torch.from_numpy(images())
    masked = metrics.MaskedImages(Network(), inputs, torch.zeros(1, 1, 1, 1))
    owner = torch.arange(len(inputs)).repeat_interleave(subsets + 1)
    whole = torch.cat([torch.zeros_like(removed[:, :1]), removed], dim=1).flatten(0, 1)
    target = torch.zeros(len(inputs), dtype=torch.long)
    logit = metrics.evaluated(masked, owner, whole, target, 64).logit.view(len(inputs), -1)
    return chosen, (logit[:, :1] - logit[:, 1:]).numpy()


def _subsets() -> Iterator[Pair]:
    subsets, size = 40, 30
    chosen, drops = _drawn(subsets, size)
    sums = metrics.subset_sums(torch.from_numpy(maps()).flatten(1), chosen)
    metric = quantus.FaithfulnessCorrelation(nr_runs=subsets, subset_size=size, perturb_baseline=0.0, **PLAIN)
    np.random.seed(0)  # noqa: NPY002
    theirs = of_quantus(metric)
    yield Pair(
        "Quantus FaithfulnessCorrelation", theirs, metrics.faithfulness_correlation(sums, drops), FLOAT32
    )
    yield from _infidelity(chosen, sums, drops)


def _infidelity(chosen: torch.Tensor, sums: torch.Tensor, drops: np.ndarray) -> Iterator[Pair]:
    """captum, image by image, of the presence of pixels: a perturbation takes some of them away."""
    network, inputs = Network().double(), torch.from_numpy(images()).double()
    for scaled in (False, True):
        found = []
        for image, relevance, subsets in zip(inputs, torch.from_numpy(maps()), chosen, strict=True):
            perturbations = iter(
                metrics.subset_masks(subsets, PIXELS).double().view(-1, 1, SIDE, SIDE).split(1)
            )

            def perturb(presence, perturbations=perturbations):
                taken = torch.cat([next(perturbations) for _ in range(len(presence))])
                return taken, presence - taken

            score = captum.metrics.infidelity(
                lambda presence, image=image: network(presence * image)[:, 0],
                perturb,
                torch.ones(1, 1, SIDE, SIDE, dtype=torch.float64),
                relevance.view(1, 1, SIDE, SIDE),
                n_perturb_samples=len(subsets),
                max_examples_per_batch=len(subsets),
                normalize=scaled,
            )
            found.append(float(score))
        what = f"captum infidelity(normalize={scaled})"
        yield Pair(what, np.array(found), metrics.infidelity(sums, drops, scaled=scaled), FLOAT32)


def saliency(inputs: torch.Tensor) -> torch.Tensor:
    """|∂ logit 0 / ∂ pixel| of the network in double precision, (batch, 1, SIDE, SIDE)."""
    network, inputs = Network().double(), inputs.double().detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(network(inputs)[:, 0].sum(), inputs)[0].abs()


def _sensitivity() -> Pair:
    """captum, with an explanation function that returns a tuple."""
    draws, inputs = 5, torch.from_numpy(images()).double()
    noise = torch.stack([metrics.uniform_noise((1, SIDE, SIDE), 0.2, seed) for seed in range(draws)])
    found = [
        float(
            captum.metrics.sensitivity_max(
                lambda given: (saliency(given[0] if isinstance(given, tuple) else given),),
                image[None],
                perturb_func=lambda given: (given[0] if isinstance(given, tuple) else given) + noise,
                n_perturb_samples=draws,
            )
        )
        for image in inputs
    ]
    plain = saliency(inputs)
    distances = [metrics.relative_distance(plain, saliency(inputs + each)).numpy() for each in noise]
    ours = metrics.max_sensitivity(np.stack(distances, axis=1))
    return Pair("captum sensitivity_max (of a tuple)", np.array(found), ours, 1e-9)
