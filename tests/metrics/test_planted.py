"""Every metric orders oracle > random > reversed oracle where the truth is planted."""

import numpy as np
import pytest
import torch

import metrics

pytestmark = pytest.mark.numerical

N, SIDE, STEPS, BINS = 40, 6, [0.0, 0.25, 0.5, 0.75, 1.0], [0.05, 0.1, 0.2]
NAMED = {"name": "x", "title": "X"}


def planted():
    """Images of 36 pixels of which 4 to 9 make the class, the model that sees these, and three kinds of maps."""
    rng = np.random.default_rng(0)
    truth = np.zeros((N, SIDE, SIDE), dtype=bool)
    for mask in truth:
        top, left, height, width = *rng.integers(0, 4, 2), *rng.integers(2, 4, 2)
        mask[top : top + height, left : left + width] = True
    weights = torch.from_numpy(truth.reshape(N, -1) / truth.reshape(N, -1).sum(1, keepdims=True))

    def model(samples, removed):
        evidence = (weights[samples] * ~removed).sum(dim=1)
        return torch.stack([8 * evidence - 3, torch.zeros(len(samples))], dim=1)

    noise = 0.01 * rng.random(truth.shape)  # no ties
    maps = {"oracle": truth + noise, "random": rng.random(truth.shape), "reversed": (1 - truth) + noise}
    return torch.from_numpy(truth), model, {name: torch.from_numpy(each) for name, each in maps.items()}


TRUTH, MODEL, MAPS = planted()
TARGET = torch.zeros(N, dtype=torch.long)
UNITS = SIDE * SIDE


def columns(maps):
    """What the measurements would store of maps."""
    flat = maps.flatten(1)
    ranks = metrics.rank(flat)
    steps, bins = metrics.unit_counts(UNITS, STEPS), metrics.bin_counts(UNITS, BINS)
    most, least = metrics.removal_curves(
        MODEL, ranks, torch.tensor(steps + bins), torch.tensor(steps + [UNITS - b for b in bins]), TARGET
    )
    found = {
        "log_probability": most.log_probability[:, 0].numpy(),
        "without_top_log_probability": list(most.log_probability[:, len(steps) :].numpy()),
        "only_top_probability": list(least.probability[:, len(steps) :].numpy()),
    }
    for direction, outputs in (("positive", most), ("negative", least)):
        found[f"{direction}_probability"] = list(outputs.probability[:, : len(steps)].numpy())
        found[f"{direction}_logit"] = list(outputs.logit[:, : len(steps)].numpy())
        found[f"{direction}_predictions"] = list(outputs.prediction[:, : len(steps)].numpy())
    return found | of_maps(maps, ranks)


def of_maps(maps, ranks):
    """The numbers of metrics that need no curve."""
    flat = maps.flatten(1)
    subsets = torch.stack([metrics.draw_subsets(UNITS, 8, 60, seed) for seed in range(N)])
    samples = torch.arange(N).repeat_interleave(60)
    masks = metrics.subset_masks(subsets, UNITS).flatten(0, 1)
    clean = metrics.evaluated(MODEL, torch.arange(N), torch.zeros(N, UNITS, dtype=torch.bool), TARGET, N)
    without = metrics.evaluated(MODEL, samples, masks, TARGET, 500).probability.view(N, -1)
    drops, sums = clean.probability[:, None] - without, metrics.subset_sums(flat, subsets)
    groups = metrics.rank_groups(ranks, 6)
    alone = torch.stack([groups == group for group in range(6)], dim=1).flatten(0, 1)
    lost = metrics.evaluated(
        MODEL, torch.arange(N).repeat_interleave(6), alone, TARGET, 500
    ).probability.view(N, 6)
    leave_out = metrics.leave_one_out(MODEL, torch.full((N,), UNITS), UNITS, TARGET, 500)
    return {
        "pointing_game": metrics.pointing_game(maps, TRUTH),
        "mass": metrics.mass_accuracy(maps, TRUTH),
        "over_chance": metrics.mass_over_chance(maps, TRUTH),
        "rank_accuracy": metrics.rank_accuracy(maps, TRUTH),
        "roc_auc": metrics.roc_auc(maps, TRUTH),
        "top_k": metrics.top_k_intersection(maps, TRUTH, 4),
        "auprc": [metrics.auprc(m, t) for m, t in zip(flat.numpy(), TRUTH.flatten(1).numpy(), strict=True)],
        "faithfulness_correlation": metrics.faithfulness_correlation(sums, drops),
        "rank_correlation": metrics.rank_correlation(sums, drops),
        "infidelity": metrics.relative_infidelity(sums, drops),
        "saco": metrics.saco(metrics.group_salience(flat, groups, 6), clean.probability[:, None] - lost),
        "unit_scores": list(flat.numpy()),
        "drops": list(leave_out.numpy()),
    }


STORED = {name: columns(maps) for name, maps in MAPS.items()}
METRICS = {
    "srg": metrics.SymmetricRelevanceGain(**NAMED, steps=STEPS),
    "deletion": metrics.RemovalArea(**NAMED, steps=STEPS, direction="positive", higher_is_better=False),
    "insertion": metrics.RemovalArea(**NAMED, steps=STEPS, direction="negative"),
    "road": metrics.Road(**NAMED, steps=STEPS),
    "aopc": metrics.AOPC(**NAMED, steps=STEPS),
    "aopc_logit": metrics.AOPC(**NAMED, steps=STEPS, quantity="logit"),
    "decision_flip": metrics.DecisionFlip(**NAMED, steps=STEPS),
    "comprehensiveness": metrics.Comprehensiveness(**NAMED, bins=BINS),
    "sufficiency": metrics.Sufficiency(**NAMED, bins=BINS),
    "log_odds": metrics.LogOdds(**NAMED, bins=BINS),
    "tau": metrics.TauToLeaveOneOut(**NAMED),
    "infidelity": metrics.ColumnMean(**NAMED, column="infidelity", higher_is_better=False),
}
OF_COLUMNS = (
    *("pointing_game", "mass", "over_chance", "rank_accuracy", "roc_auc", "top_k", "auprc"),
    *("faithfulness_correlation", "rank_correlation", "saco"),
)
METRICS |= {name: metrics.ColumnMean(**NAMED, column=name) for name in OF_COLUMNS}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_orders_planted_maps(name):
    metric = METRICS[name]
    statistics = [metric.statistics(STORED[kind])[0] for kind in MAPS]
    assert metrics.orders_planted_maps(*statistics, metric.higher_is_better)


def test_a_metric_that_does_not_is_found_out():
    rng = np.random.default_rng(1)
    noise = [metrics.Statistic.mean(rng.random(N)) for _ in range(3)]
    assert not metrics.orders_planted_maps(*noise, True)
    right = [metrics.Statistic.mean(rng.random(N) + shift) for shift in (4, 2, 0)]
    assert metrics.orders_planted_maps(*right, True)
    assert not metrics.orders_planted_maps(*right, False)
    assert not metrics.orders_planted_maps(*right[::-1], True)
    nowhere = metrics.Statistic.mean(np.full(N, np.nan), defined=np.zeros(N, dtype=bool))
    assert not metrics.orders_planted_maps(right[0], nowhere, right[2], True)
