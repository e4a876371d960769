"""Where the packages are wrong: for each fault an input that shows it, what the package says, and what is right."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import NamedTuple

import captum.metrics
import numpy as np
import quantus
import torch
from quantus.helpers.model.pytorch_model import PyTorchModel

import metrics
from tests.packages.equal import PLAIN, QUIET, of_quantus, saliency
from tests.packages.subjects import SIDE, Linear, Network, WithToken, images, maps, masks


class Fault(NamedTuple):
    """A fault of a package, and whether it was seen."""

    package: str
    what: str
    input: str
    theirs: str
    right: str
    shows: bool


def faults() -> Iterator[Fault]:
    """Every fault."""
    for find in FAULTS:
        yield find()


def _message(call: Callable[[], object]) -> str:
    """What goes wrong in a call, or what it gives."""
    try:
        return str(call())
    except Exception as error:  # whatever it is, it is what a user sees
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def _numbers(values: object) -> str:
    return ", ".join(f"{value:.3g}" for value in np.ravel(values).astype(float))


def _of_the_batch() -> Fault:
    """The default normalisation."""
    small = np.linspace(0.1, 1, 64).reshape(1, 1, 8, 8)
    metric = quantus.EffectiveComplexity(eps=0.5, **QUIET)
    given = {"x_batch": small, "y_batch": np.zeros(1, int)}
    alone = of_quantus(metric, a_batch=small, **given)[0]
    both = {"x_batch": np.repeat(small, 2, axis=0), "y_batch": np.zeros(2, int)}
    beside = of_quantus(metric, a_batch=np.concatenate([small, 100 * small]), **both)[0]
    ours = int(metrics.effective_complexity(torch.from_numpy(small).flatten(1), 0.5)[0])
    return Fault(
        "Quantus",
        "`normalise=True`, the default, divides by the greatest value of the whole batch",
        "`EffectiveComplexity(eps=0.5)` of a map of 64 values from 0.1 to 1, alone and beside 100 times itself",
        f"{alone} alone, {beside} beside it",
        f"{ours} either way",
        alone == ours and beside != ours,
    )


def _road(given: dict, batch_size: int) -> object:
    metric = quantus.ROAD(percentages=[50], noise=0.0, **{**QUIET, "abs": False, "normalise": False})
    return of_quantus(metric, batch_size=batch_size, **given)


def _first_batch() -> Fault:
    """Two images whose class does not depend on the input, and one that is never of that class."""
    weights = [1.0] * (SIDE * SIDE)
    given = {
        "model": Linear(weights),
        "x_batch": np.stack([np.full((1, SIDE, SIDE), value, np.float32) for value in (1, 1, -1)]),
        "y_batch": np.zeros(3, int),
    }
    one, three = (float(_road(given, size).item()[50]) for size in (1, 3))
    return Fault(
        "Quantus",
        "`ROAD` reports the first batch only",
        "three images of one colour each, of which a sum of pixels classifies two correctly, 50 % imputed",
        f"accuracy {one:.2f} with `batch_size=1`, {three:.2f} with `batch_size=3`",
        f"{2 / 3:.2f}",
        abs(three - 2 / 3) < 1e-6 and abs(one - three) > 0.1,
    )


def _road_of_colours() -> Fault:
    given = {"model": Network(3).eval(), "x_batch": images(3)}
    theirs = _message(lambda: _road(given, 3))
    return Fault(
        "Quantus",
        "`ROAD` does not take RGB images with maps of one channel",
        f"three images (3, {SIDE}, {SIDE}) and maps (1, {SIDE}, {SIDE})",
        theirs,
        "an accuracy",
        "IndexError" in theirs,
    )


def _nothing_random() -> Fault:
    def value(seed: int, samples: int) -> float:
        np.random.seed(seed)  # noqa: NPY002
        return float(
            of_quantus(quantus.Infidelity(n_perturb_samples=samples, perturb_baseline=0.0, **PLAIN))[0]
        )

    found = [value(0, 1), value(1, 1), value(0, 5)]
    return Fault(
        "Quantus",
        "`Infidelity` removes blocks one after the other in raster order; nothing is random",
        "a seeded network, image and map; `numpy.random.seed` 0 and 1, 1 and 5 perturbations",
        _numbers(found),
        "numbers that differ with the seed, as the paper's expectation is over random perturbations",
        max(found) - min(found) < 1e-6 * max(found),
    )


def _across_samples() -> Fault:
    metric = quantus.SensitivityN(features_in_step=64, perturb_baseline=0.0, **PLAIN)
    one = {"x_batch": images()[:1], "y_batch": np.zeros(1, int), "a_batch": maps()[:1, None]}
    theirs = _message(lambda: of_quantus(metric, **one))
    batch = of_quantus(metric)
    return Fault(
        "Quantus",
        "`SensitivityN` correlates across samples, over cumulative steps in the order of relevance",
        "one image; three images, 4 steps of 64 pixels",
        f"{theirs}; {len(batch)} numbers, one per step",
        "a number per image: the correlation over random subsets of n pixels",
        "Error" in theirs and len(batch) == 3,
    )


def _always_monotone() -> Fault:
    """A model whose output falls with every pixel that is there."""
    model = Linear([-1.0] * 16)
    given = {"x_batch": np.full((1, 1, 4, 4), 1.0, np.float32), "y_batch": np.zeros(1, int)}
    metric = quantus.Monotonicity(perturb_baseline=0.0, **PLAIN)
    theirs = of_quantus(
        metric, model=model, a_batch=np.arange(16.0).reshape(1, 1, 4, 4), softmax=False, **given
    )
    return Fault(
        "Quantus",
        "`Monotonicity` puts the baseline back into the baseline, so it always holds",
        "the negative sum of 16 pixels of value 1, whose logit falls with every pixel that is added",
        str(bool(theirs[0])),
        "False",
        bool(theirs[0]),
    )


def _empty_mask() -> Fault:
    metric = quantus.PointingGame(**PLAIN)
    theirs = metric.evaluate_batch(a_batch=maps()[:, None], s_batch=np.zeros_like(masks())[:, None])
    ours = metrics.pointing_game(torch.from_numpy(maps()), torch.zeros(masks().shape, dtype=torch.bool))
    return Fault(
        "Quantus",
        "`PointingGame` counts an empty mask as a hit",
        "`evaluate_batch` of three maps with masks without a pixel",
        ", ".join(str(bool(value)) for value in theirs),
        f"undefined ({_numbers(ours)})",
        bool(np.all(theirs)),
    )


def _weighted() -> Fault:
    metric = quantus.PointingGame(weighted=True, **PLAIN)
    whole = np.ones_like(masks())[:, None]
    theirs = _message(lambda: metric.evaluate_batch(a_batch=maps()[:, None], s_batch=whole))
    return Fault(
        "Quantus",
        "`PointingGame(weighted=True)` does not run where anything is hit",
        "three maps, masks of all pixels",
        theirs,
        "1 less the share of the mask",
        "Error" in theirs,
    )


def _equal_floats() -> Fault:
    """Relevance of a linear model, weight times pixel, which is complete."""
    weights = np.random.default_rng(0).normal(size=64).astype(np.float32)
    image = np.random.default_rng(1).normal(size=(8, 1, 8, 8)).astype(np.float32)
    relevance = weights.reshape(1, 1, 8, 8) * image
    metric = quantus.Completeness(perturb_baseline=0.0, **PLAIN)
    given = {"x_batch": image, "y_batch": np.zeros(8, int), "a_batch": relevance}
    theirs = of_quantus(metric, model=Linear(weights.tolist()), **given)
    change = image.astype(float).reshape(8, -1) @ weights.astype(float)
    ours = metrics.completeness(relevance.astype(float).sum(axis=(1, 2, 3)), change).max()
    return Fault(
        "Quantus",
        "`Completeness` asks for floats that are equal to the last bit",
        "a linear model of 64 pixels, eight images, the relevance weight × pixel",
        f"complete for {int(theirs.sum())} of 8",
        f"complete for all, to a relative error of {ours:.0e} at most",
        not theirs.all() and ours < 1e-4,
    )


def _black_and_mean() -> Fault:
    from quantus.helpers.utils import get_baseline_value

    image = np.stack([np.full((4, 4), value) for value in (-2.0, 0.0, 1.0)])[None].astype(np.float32)
    found = {
        name: get_baseline_value(value=name, arr=image.reshape(1, -1), return_shape=(1, 48), batched=True)
        for name in ("black", "mean")
    }
    theirs = {name: np.unique(value) for name, value in found.items()}
    return Fault(
        "Quantus",
        '`perturb_baseline="black"` is the least of the normalised values, `"mean"` one number for all channels',
        "an image whose channels are −2, 0 and 1 after normalisation",
        f"black {_numbers(theirs['black'])}, mean {_numbers(theirs['mean'])}",
        "black (0 − mean) / std of each channel; mean −2, 0, 1",
        theirs["black"].tolist() == [-2.0] and theirs["mean"].size == 1,
    )


def _scale() -> Fault:
    metric, tiny = quantus.Sparseness(**{**PLAIN, "abs": True}), maps()[:, None] * 1e-7
    theirs = of_quantus(metric)[0], of_quantus(metric, a_batch=tiny)[0]
    ours = [float(metrics.gini(torch.from_numpy(m).flatten(1))[0]) for m in (maps(), maps() * 1e-7)]
    return Fault(
        "Quantus",
        "`Sparseness` adds 1e-7 to the values, so it depends on the scale of a map",
        "a map in 0..1, and the same times 1e-7",
        _numbers(theirs),
        _numbers(ours),
        abs(theirs[0] - theirs[1]) > 0.01,
    )


def _steps_without_width() -> Fault:
    """A model that says ½ whatever it sees."""
    metric = quantus.PixelFlipping(
        features_in_step=16, perturb_baseline=0.0, return_auc_per_sample=True, **PLAIN
    )
    theirs = float(of_quantus(metric, model=Linear([0.0] * (SIDE * SIDE)), softmax=True)[0])
    return Fault(
        "Quantus",
        "`PixelFlipping(return_auc_per_sample=True)` leaves out the clean image and takes steps of width 1",
        "a model that says 0.5 whatever it sees, 16 steps",
        _numbers([theirs]),
        "0.5",
        theirs > 1,
    )


def _coloured() -> Fault:
    """What a model sees after one step."""
    seen = []

    class Watched(Network):
        def forward(self, given):
            seen.append(given.clone())
            return super().forward(given)

    count = SIDE * SIDE // 4
    metric = quantus.PixelFlipping(features_in_step=count, perturb_baseline=9.0, **PLAIN)
    of_quantus(metric, model=Watched(3).eval(), x_batch=images(3))
    gone = (seen[0] == 9.0).sum(1)
    partly, whole = int(((gone > 0) & (gone < 3)).sum()), int((gone == 3).sum())
    return Fault(
        "Quantus",
        "with RGB images the features of a map of one channel are channels of pixels, tied in threes",
        f"`PixelFlipping`, first step of {count} features, three RGB images",
        f"{whole} pixels wholly removed, {partly} in some of their channels",
        "whole pixels alone",
        partly > 0,
    )


def _trained_parts() -> Fault:
    """The last model of the randomisation."""
    model = WithToken().eval()
    *_, (_, last) = PyTorchModel(deepcopy(model), channel_first=True).get_random_layer_generator()
    kept = [
        name
        for (name, before), after in zip(model.named_parameters(), last.parameters(), strict=True)
        if before.equal(after)
    ]
    return Fault(
        "Quantus",
        "`MPRT` resets modules only: parameters that no module resets stay trained",
        "a model with a class token and a position embedding, as a ViT of timm has them; the last, fully random model",
        f"unchanged: {', '.join(kept)}",
        "none unchanged",
        kept == ["cls_token", "pos_embed"],
    )


def _tensor_as_tuple() -> Fault:
    image = torch.from_numpy(images()[:1]).double()
    noise = torch.stack([metrics.uniform_noise((1, SIDE, SIDE), 0.2, seed) for seed in range(5)])

    def sensitivity(explain: Callable) -> float:
        def one(given: object) -> torch.Tensor:
            return given[0] if isinstance(given, tuple) else given

        found = captum.metrics.sensitivity_max(
            lambda given: explain(one(given)),
            image,
            perturb_func=lambda given: one(given) + noise,
            n_perturb_samples=5,
        )
        return float(found[0])

    as_tensor = sensitivity(saliency)
    as_tuple = sensitivity(lambda given: (saliency(given),))
    plain = saliency(image)
    ours = max(float(metrics.relative_distance(plain, saliency(image + each[None]))[0]) for each in noise)
    return Fault(
        "captum",
        "`sensitivity_max` iterates a tensor that the explanation function returns as if it were a tuple",
        "the gradient's magnitude of a seeded network, one image, 5 noisy ones; returned as a tensor and as a tuple",
        f"{as_tensor:.3f} of a tensor, {as_tuple:.3f} of a tuple",
        f"{ours:.3f}",
        abs(as_tuple - ours) < 1e-6 and abs(as_tensor - ours) > 1e-3,
    )


FAULTS = (
    _of_the_batch,
    _first_batch,
    _road_of_colours,
    _nothing_random,
    _across_samples,
    _always_monotone,
    _empty_mask,
    _weighted,
    _equal_floats,
    _black_and_mean,
    _scale,
    _steps_without_width,
    _coloured,
    _trained_parts,
    _tensor_as_tuple,
)
