"""Random subsets, groups, and descriptions of maps: loops, SciPy, and what is undefined or refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

import metrics
from metrics import Infidelity, SubsetCorrelation

NAMED = {"name": "x", "title": "X"}
numbers = st.lists(st.integers(-3, 3), min_size=2, max_size=12)


@given(st.data(), st.integers(2, 12))
def test_correlations_are_scipys(data, n):
    a, b = (data.draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n)) for _ in range(2))
    defined = len(set(a)) > 1 and len(set(b)) > 1
    for ours, theirs in ((metrics.faithfulness_correlation, pearsonr), (metrics.rank_correlation, spearmanr)):
        expected = theirs(a, b).statistic if defined else math.nan
        assert float(ours(a, b)) == pytest.approx(expected, nan_ok=True)


@given(st.data(), st.integers(2, 12))
def test_infidelity_is_least_at_its_own_scale(data, n):
    sums, drops = (
        np.array(data.draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))) for _ in range(2)
    )
    scaled = float(metrics.infidelity(sums, drops, scaled=True))
    for scale in np.linspace(-2, 2, 41):
        assert scaled <= float(metrics.infidelity(scale * sums, drops)) + 1e-12
    assert scaled <= np.mean(drops**2) + 1e-12
    relative = float(metrics.relative_infidelity(sums, drops))
    assert math.isnan(relative) if not drops.any() else 0 <= relative <= 1 + 1e-12


def test_subsets_depend_on_nothing_but_their_seed():
    one, again = (metrics.draw_subsets(30, 7, 20, seed=5) for _ in range(2))
    assert one.equal(again)
    assert not one.equal(metrics.draw_subsets(30, 7, 20, seed=6))
    assert all(len(set(row)) == 7 for row in one.tolist())
    assert metrics.subset_masks(one, 30).sum(dim=1).eq(7).all()
    maps = torch.rand(2, 30)
    sums = metrics.subset_sums(maps, one)
    assert float(sums[1, 3]) == pytest.approx(sum(float(maps[1, i]) for i in one[3].tolist()))


def test_metrics_of_stored_subsets():
    rng = np.random.default_rng(0)
    stored = {name: rng.random((4, 15)) for name in ("subset_sums", "drop_probability", "drop_logit")}
    stored["subset_sums"][2, 5:] = np.nan  # too few units for the second size
    stored["subset_sums"][3, :5] = 1.0  # a constant map
    columns = {name: list(column) for name, column in stored.items()}
    sizes = {"sizes": [2, 9], "subsets": [5, 10]}
    first = SubsetCorrelation(**NAMED, **sizes, chosen=[2])
    expected = [
        pearsonr(stored["subset_sums"][i, :5], stored["drop_probability"][i, :5])[0] for i in range(3)
    ]
    assert first.statistics(columns)[0].value == pytest.approx(np.mean(expected))
    assert first.statistics(columns)[0].count == 3
    both = SubsetCorrelation(**NAMED, **sizes, ranks=True, quantity="logit")
    expected = [
        np.mean(
            [
                spearmanr(stored["subset_sums"][i, s], stored["drop_logit"][i, s])[0]
                for s in (slice(5), slice(5, 15))
            ]
        )
        for i in range(2)
    ]
    assert both.statistics(columns)[0].value == pytest.approx(np.mean(expected))
    assert both.statistics(columns)[0].count == 2
    infidelity = Infidelity(**NAMED, **sizes, chosen=[9])
    assert infidelity.statistics(columns)[0].count == 3
    assert 0 < infidelity.statistics(columns)[0].value < 1


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=8))
def test_saco_by_pairs(groups):
    salience, drop = zip(*groups, strict=True)
    total = signed = 0
    for i in range(len(groups)):
        for j in range(i + 1, len(groups)):
            difference = salience[i] - salience[j]
            total += abs(difference)
            signed += difference if drop[i] >= drop[j] else -difference
    found = float(metrics.saco(salience, drop))
    assert found == pytest.approx(signed / total if total else math.nan, nan_ok=True)


@given(st.integers(2, 40), st.data())
def test_groups_partition_the_ranks(units, data):
    number = data.draw(st.integers(2, units))
    ranks = torch.randperm(units, generator=torch.Generator().manual_seed(units))[None]
    groups = metrics.rank_groups(ranks, number)[0]
    for rank, group in zip(ranks[0].tolist(), groups.tolist(), strict=True):
        assert group * units // number <= rank < (group + 1) * units // number


@given(numbers)
def test_descriptions_by_loops(values):
    magnitudes = sorted(abs(v) for v in values)
    n, total = len(values), sum(magnitudes)
    map_ = torch.tensor([values], dtype=torch.float32)
    gini = sum((2 * i - n - 1) * v for i, v in enumerate(magnitudes, start=1)) / (n * total) if total else 0
    assert float(metrics.gini(map_)) == pytest.approx(gini)
    shares = [v / total for v in magnitudes] if total else [1 / n] * n
    assert float(metrics.entropy(map_)) == pytest.approx(-sum(s * math.log(s) for s in shares if s))
    assert int(metrics.effective_complexity(map_)) == sum(v > 0.01 * magnitudes[-1] for v in magnitudes)
    assert float(metrics.tied_share(map_)) == pytest.approx(sum(values.count(v) > 1 for v in values) / n)


def test_descriptions_do_not_depend_on_the_scale_or_the_batch():
    maps = torch.rand(3, 20, dtype=torch.float64)
    for describe in (metrics.gini, metrics.entropy, metrics.effective_complexity):
        torch.testing.assert_close(describe(maps), describe(maps * 1e-9))
        torch.testing.assert_close(describe(maps)[1], describe(maps[1:2])[0])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: metrics.draw_subsets(5, 6, 1, 0), "size=6"),
        (lambda: metrics.draw_subsets(5, 0, 1, 0), "size=0"),
        (lambda: metrics.subset_sums(torch.tensor([[math.nan]]), torch.zeros(1, 1, dtype=torch.long)), "NaN"),
        (lambda: metrics.rank_groups(torch.zeros(1, 3), 4), "groups=4"),
        (lambda: metrics.gini(torch.tensor([[math.inf, 1]])), "NaN or infinity"),
        (lambda: metrics.kendall(torch.zeros(1, 2), torch.zeros(1, 3)), "others"),
        (lambda: metrics.top_share_iou(torch.zeros(1, 2), torch.zeros(1, 2), 0), "share"),
        (lambda: metrics.uniform_noise((2,), 0, 1), "radius"),
        (lambda: SubsetCorrelation(**NAMED, sizes=[2], subsets=[5], chosen=[3]), "chosen"),
        (lambda: SubsetCorrelation(**NAMED, sizes=[2], subsets=[5, 5]), "subsets"),
        (lambda: Infidelity(**NAMED, sizes=[2], subsets=[5], quantity="odds"), "quantity"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_what_is_undefined_is_nan():
    zero, other = torch.zeros(1, 4), torch.rand(1, 4)
    assert metrics.relative_distance(zero, other).isnan().all()
    assert np.isnan(metrics.rank_correlation([math.nan, 1, 2], [3, 1, 2]))
    assert metrics.kendall(zero, other).isnan().all()
    assert np.isnan(metrics.completeness(1.0, 0.0))
    assert np.isnan(metrics.efficient_mprt(0.0, 1.0))
    assert metrics.histogram_entropy(zero).tolist() == [0.0]
