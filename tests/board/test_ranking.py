"""What the board says of made-up scores whose truth is known."""

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata

from bench.board.columns import Ranking, gather
from bench.board.entry import entries
from bench.board.statistics import (
    between_metrics,
    between_models,
    compared,
    headline_columns,
    overall,
)
from bench.catalogue import Catalogue
from metrics import Statistic, bootstrap, compare
from tests.board.synthetic import FLOOR, METRICS, method_of, scores_of, write_board, write_entry

FACTS = Catalogue()
QUALITY = {f"m{i:02d}": 0.4 * i for i in range(6)} | {FLOOR: -1.0}


def board_of(root, **changes):
    ranking = Ranking.of(FACTS)
    few = {"resamples": 400, "times": 200, "splits": 40, **changes}
    ranking = Ranking(**{**vars(ranking), **few})
    return gather(entries(root), FACTS, ranking)


def column_of(board, metric, **names):
    (found,) = [
        c for c in board.columns if c.metric == metric and all(getattr(c, k) == v for k, v in names.items())
    ]
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    write_board(folder, QUALITY)
    return folder


def test_a_column_is_compared_as_its_scores_are(root):
    board = board_of(root)
    column = column_of(board, "deletion", model="model_a")
    scores = {}
    for entry in entries(root):
        if entry.model.name == "model_a":
            (part,) = [part for part in entry.parts if part.task == "faithfulness"]
            scores[entry.method.label] = -entry.rows(part)["deletion"].to_numpy()
    labels = [row.method.label for row in column.rows]
    assert labels[-1] == FLOOR
    statistics = [Statistic.mean(scores[label]) for label in labels]
    expected = compare([s.value for s in statistics], bootstrap(statistics, 400))
    found = compared(board, column)
    np.testing.assert_allclose(found.comparisons.p_values, expected.p_values)
    np.testing.assert_allclose(found.comparisons.low, expected.low)
    np.testing.assert_allclose([row.value for row in column.rows], [-s.value for s in statistics])
    # Ranks are among those that compete: the floor has none, though it is compared.
    apart, larger = expected.apart()[:6, :6], expected.differences[:6, :6] < 0
    for i, label in enumerate(labels[:6]):
        standing = found.standings[label]
        assert standing.ranks == (1 + (apart & larger)[i].sum(), 6 - (apart & ~larger)[i].sum())
        assert (FLOOR in str(standing.floors)) == (not expected.apart()[i, 6])
    assert found.standings[FLOOR].ranks is None
    assert found.standings[FLOOR].unranked == "a floor"
    assert found.standings[FLOOR].letters
    assert sum(found.standings[label].first for label in labels[:6]) == pytest.approx(1)


def test_thirty_methods_with_a_clear_winner(tmp_path):
    quality = {f"m{i:02d}": 0.0 for i in range(30)} | {"m07": 2.0}
    write_board(
        tmp_path,
        quality,
        models=["model_a"],
        samples=200,
        metrics={"faithfulness": METRICS["faithfulness"]},
        maps=0,
    )
    board = board_of(tmp_path, resamples=2000)
    found = compared(board, column_of(board, "srg"))
    assert found.standings["m07"].ranks == (1, 1)
    assert found.standings["m07"].letters == "a"
    assert {found.standings[m].ranks for m in quality if m != "m07"} == {(2, 30)}
    assert found.separated == (29, 435)
    (one,) = overall(board)
    assert one.methods[0].label == "m07"
    assert one.found.value[0] == 1


def test_a_method_that_is_undefined_too_often_has_no_rank_and_the_others_keep_theirs(tmp_path):
    rng = np.random.default_rng(0)
    scores = scores_of([0, 1, 2, 3], 100, rng)
    scores[1, :4], scores[2, :6] = np.nan, np.nan
    for i, own in enumerate(scores):
        write_entry(tmp_path, "model_a", method_of(f"m{i}"), {"localisation": {"roc_auc": own}})
    board = board_of(tmp_path)
    found = compared(board, column_of(board, "roc_auc"))
    assert found.standings["m1"].ranks is not None
    assert found.standings["m2"].ranks is None
    assert "6%" in found.standings["m2"].unranked
    assert {label for label, own in found.standings.items() if own.ranks} == {"m0", "m1", "m3"}
    i, j = found.labels.index("m1"), found.labels.index("m3")
    both = np.isfinite(scores[1])
    assert found.comparisons.differences[i, j] == pytest.approx((scores[1] - scores[3])[both].mean())


def test_few_samples_and_descriptions_have_no_ranks(tmp_path):
    write_board(
        tmp_path,
        QUALITY,
        models=["model_a"],
        samples=20,
        metrics={"robustness": METRICS["robustness"]},
        maps=0,
    )
    board = board_of(tmp_path)
    found = compared(board, column_of(board, "max_sensitivity"))
    assert all(own.ranks is None for own in found.standings.values())
    assert "fewer than 30" in found.standings["m00"].unranked


def test_other_settings_of_a_method_compete_with_none(tmp_path):
    rng = np.random.default_rng(0)
    methods = [
        method_of("gae"),
        method_of("lrp"),
        method_of("lrp", label="lrp (rule=alpha)"),
        method_of("rollout_all_blocks"),
    ]
    for method, own in zip(methods, scores_of([0, 1, 2, 3], 60, rng), strict=True):
        write_entry(tmp_path, "model_a", method, {"faithfulness": {"srg": own}})
    board = board_of(tmp_path)
    found = compared(board, column_of(board, "srg"))
    assert {label for label, own in found.standings.items() if own.ranks} == {"gae", "lrp"}
    assert found.standings["rollout_all_blocks"].unranked == "another setting of rollout"
    assert found.standings["lrp (rule=alpha)"].unranked == "another setting of lrp"
    assert all(own.letters for own in found.standings.values())


def test_an_expensive_method_stands_in_a_table_of_its_own_beside_all_on_its_samples(tmp_path):
    rng = np.random.default_rng(0)
    scores = scores_of([0, 1, 2, 3], 100, rng)
    ids = [f"s{i:03d}" for i in range(100)]
    for i, own in enumerate(scores[:3]):
        write_entry(tmp_path, "model_a", method_of(f"m{i}"), {"faithfulness": {"srg": own}}, ids=ids)
    chosen = list(range(0, 100, 2))
    write_entry(
        tmp_path,
        "model_a",
        method_of("dear"),
        {"faithfulness": {"srg": scores[3][chosen]}},
        ids=[ids[i] for i in chosen],
        on="50 drawn with seed 0",
    )
    board = board_of(tmp_path)
    main, own = board.columns
    assert (main.is_main, main.on, main.samples, len(main.rows)) == (True, "all", 100, 3)
    assert (own.is_main, own.on, own.samples, len(own.rows)) == (False, "50 drawn with seed 0", 50, 4)
    by_label = {row.method.label: row for row in own.rows}
    assert by_label["m1"].value == pytest.approx(scores[1][chosen].mean())
    assert by_label["m1"].low < by_label["m1"].value < by_label["m1"].high
    found = compared(board, own)
    i, j = found.labels.index("dear"), found.labels.index("m0")
    assert found.comparisons.differences[i, j] == pytest.approx((scores[3] - scores[0])[chosen].mean())


def test_the_seeds_of_a_floor_are_one_row(tmp_path):
    rng = np.random.default_rng(0)
    seeds = rng.normal(size=(5, 60))
    write_entry(tmp_path, "model_a", method_of("m0"), {"faithfulness": {"srg": rng.normal(size=60)}})
    for seed, own in enumerate(seeds):
        method = method_of(FLOOR, label=FLOOR if not seed else f"{FLOOR} (seed={seed})")
        method.made_of["settings"]["seed"] = seed
        write_entry(tmp_path, "model_a", method, {"faithfulness": {"srg": own}})
    (column,) = board_of(tmp_path).columns
    assert [row.method.label for row in column.rows] == ["m0", FLOOR]
    floor = column.rows[1]
    assert floor.value == pytest.approx(seeds.mean())
    assert "mean of 5 seeds" in floor.note
    assert f"{seeds.mean(axis=1).max():.3g}" in floor.note


def test_the_mean_rank_is_over_one_headline_of_each_family_and_over_methods_that_are_everywhere(
    root, tmp_path
):
    write_board(tmp_path, QUALITY)
    rng = np.random.default_rng(1)
    write_entry(tmp_path, "model_a", method_of("stranger"), {"faithfulness": {"srg": rng.normal(size=60)}})
    board = board_of(tmp_path)
    columns = headline_columns(board)
    assert {(c.model, c.metric) for c in columns} == {
        (model, metric)
        for model in ("model_a", "model_b")
        for metric in board.ranking.headline.values()
        if metric != "auprc"
    }
    (one,) = overall(board)
    labels = [method.label for method in one.methods]
    assert sorted(labels) == sorted(label for label in QUALITY if label != FLOOR)
    (missing,) = one.missing.values()
    assert len(missing) == 7
    values = [[-c.sign * row.value for row in c.rows if row.method.label in labels] for c in columns]
    order = [row.method.label for row in columns[0].rows if row.method.label in labels]
    expected = dict(zip(order, rankdata(values, axis=1).mean(axis=0), strict=True))
    # Ranks are among the methods of the mean rank.
    np.testing.assert_allclose(one.found.value, [expected[label] for label in labels])
    assert list(one.found.value) == sorted(one.found.value)
    assert set(one.without) == {"metric", "model", "method"}
    assert set(one.without["metric"]) == {"faithfulness", "localisation", "sanity", "robustness"}
    assert len(one.without["method"]) == len(labels)
    for i, title in enumerate(one.without["method"]):
        positions = one.without["method"][title]
        assert np.isnan(positions[i])
        assert sorted(np.delete(positions, i)) == pytest.approx(sorted(rankdata(np.delete(positions, i))))


def test_samples_are_resampled_together_for_all_models(tmp_path):
    """Two models with the same scores: nothing is gained over one of them, and nothing is lost."""
    rng = np.random.default_rng(0)
    scores = scores_of([0, 0.3, 0.6, 0.9], 60, rng)
    for model in ("model_a", "model_b"):
        for i, own in enumerate(scores):
            write_entry(tmp_path, model, method_of(f"m{i}"), {"faithfulness": {"srg": own}})
    both = board_of(tmp_path)
    (one,) = overall(both)
    alone = board_of(tmp_path, models=["model_a"])
    (single,) = overall(alone)
    np.testing.assert_array_equal(one.found.low, single.found.low)
    np.testing.assert_array_equal(one.found.high, single.found.high)
    for cell, own in zip(one.found.cells, single.found.cells * 2, strict=True):
        np.testing.assert_array_equal(cell.p_values, own.p_values)
    assert 0 < one.found.cells[0].apart().sum() < 12


def test_data_sets_of_other_samples_are_resampled_independently(tmp_path):
    rng = np.random.default_rng(0)
    scores = scores_of([0, 0.0, 0.0, 0.0], 60, rng)
    for number, name in enumerate(("first", "second")):
        ids = [f"{number}_{i:03d}" for i in range(60)]
        for i, own in enumerate(scores):
            write_entry(
                tmp_path, "model_a", method_of(f"m{i}"), {"faithfulness": {"srg": own}}, ids=ids, dataset=name
            )
    (one,) = overall(board_of(tmp_path))
    (single,) = overall(board_of(tmp_path, datasets=["first"]))
    first, _ = (cell.p_values for cell in one.found.cells)
    # More pairs at once: the maximum over both data sets is larger than over one, which it would not be if they were
    # resampled together.
    assert (first >= single.found.cells[0].p_values).all()
    assert (first > single.found.cells[0].p_values).any()


def test_metrics_that_measure_the_same_agree_up_to_their_ceiling(root):
    board = board_of(root)
    pairs, retests = between_metrics(board)
    assert {(p.one.model, p.other.model) for p in pairs} == {("model_a", "model_a"), ("model_b", "model_b")}
    assert len(retests) == 40
    assert all(p.one.sign and p.other.sign for p in pairs)
    one = next(p for p in pairs if {p.one.metric, p.other.metric} == {"srg", "deletion"})
    values = [
        [c.sign * row.value for row in c.rows if row.method.label != FLOOR] for c in (one.one, one.other)
    ]
    assert one.tau == pytest.approx(kendalltau(*values).statistic)
    assert one.methods == 6
    assert np.mean([p.differ for p in pairs]) < 0.1
    own = [r for r in retests if r.column is one.one or r.column is one.other]
    assert one.ceiling == pytest.approx(min(r.tau for r in own))


def test_conclusions_that_do_not_carry_over_are_found(tmp_path):
    rng = np.random.default_rng(0)
    quality = np.linspace(0, 4, 8)
    for model, own in (("model_a", quality), ("model_b", quality), ("model_c", quality[::-1])):
        for i, scores in enumerate(scores_of(own, 100, rng)):
            write_entry(tmp_path, model, method_of(f"m{i}"), {"faithfulness": {"srg": scores}})
    pairs = {(p.one.model, p.other.model): p for p in between_models(board_of(tmp_path))}
    assert set(pairs) == {("model_a", "model_b"), ("model_a", "model_c"), ("model_b", "model_c")}
    assert not pairs["model_a", "model_b"].differ
    assert pairs["model_a", "model_b"].tau > 0.8
    assert pairs["model_a", "model_c"].differ
    assert pairs["model_a", "model_c"].tau < -0.8


def test_models_are_compared_on_the_samples_that_both_have(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"s{i:03d}" for i in range(100)]
    scores = scores_of([0, 1, 2, 3], 100, rng)
    for model, chosen in (("model_a", range(100)), ("model_b", range(60)), ("model_c", range(40, 100))):
        for i, own in enumerate(scores):
            write_entry(
                tmp_path,
                model,
                method_of(f"m{i}"),
                {"faithfulness": {"srg": own[list(chosen)]}},
                ids=[ids[i] for i in chosen],
                on=f"{len(chosen)}",
            )
    pairs = {(p.one.model, p.other.model): p.samples for p in between_models(board_of(tmp_path))}
    assert pairs == {("model_a", "model_b"): 60, ("model_a", "model_c"): 60, ("model_b", "model_c"): 20}


def test_what_the_file_says_can_be_read():
    ranking = Ranking.of(FACTS)
    assert ranking.headline["faithfulness"] == "srg"
    for family, metric in ranking.headline.items():
        tasks = {name for name, task in FACTS.tables().items() if task["table"].get("family") == family}
        assert any(
            metric in FACTS.read("task", name)["task"].get("metrics", {}) or FACTS.file("metric", metric)
            for name in tasks
        )
    for name, of in ranking.settings.items():
        assert FACTS.file("method", name)
        assert FACTS.file("method", of)
