"""Nested subsets: the first samples in a fixed order, and rows of more samples in the place of fewer."""

import pandas as pd
import pytest

from bench.runner.cell import Plan, run
from bench.store.subsets import first, nested
from bench.tables.table import table
from tests.support.cells import cell_of, finished, record_of, rows_of
from tests.support.refusals import refused


def ids(config, kind="masking"):
    return set(rows_of(config, kind)["id"])


def test_the_order_is_fixed_by_the_ids_alone():
    names = [f"image {n}" for n in range(50)]
    order = nested(names)
    assert sorted(order) == sorted(names)
    assert order == nested(reversed(names))
    assert [name for name in order if name in set(names[:20])] == nested(names[:20])
    # Written down: another order would be another subset of every stored number.
    assert nested(["a", "b", "c", "d", "e", "f"]) == ORDER


ORDER = ["b", "c", "e", "f", "a", "d"]


def test_subsets_are_nested_whatever_the_seed(configure):
    run(configure("perturbation", "method=rollout", "subset=3"))
    run(configure("perturbation", "method=rollout", "subset=5", "seed=1"))
    few, more = (
        ids(configure("perturbation", "method=rollout", *choice))
        for choice in (["subset=3"], ["subset=5", "seed=1"])
    )
    assert (len(few), len(more)) == (3, 5)
    assert few < more


def test_a_subset_of_drawn_samples_is_of_these(configure):
    run(configure("perturbation", "method=rollout", "limit=5"))
    run(configure("perturbation", "method=gradcam", "limit=5", "subset=2"))
    drawn = ids(configure("perturbation", "method=rollout", "limit=5"))
    assert ids(configure("perturbation", "method=gradcam", "limit=5", "subset=2")) == first(list(drawn), 2)


def test_what_is_stored_of_more_samples_is_not_computed_again(configure, capsys):
    run(configure("perturbation", "method=rollout"))
    few = configure("perturbation", "method=rollout", "subset=3")
    assert run(few) is None
    assert "done already" in capsys.readouterr().out
    assert finished(few) == set()  # nothing was written


def test_rows_of_the_model_alone_serve_every_subset(configure):
    """Predictions of all samples are there, and a method on few of them has to be measured only."""
    run(configure("perturbation", "method=rollout"))
    few = configure("perturbation", "method=gradcam", "subset=3")
    assert [m and m.name for m, *_ in Plan.of(few).wanted()] == [None, "masking"]
    assert run(few)["positive_auc"] >= 0
    assert len(rows_of(few)) == 3


def test_more_samples_than_are_stored_are_computed(configure):
    run(configure("perturbation", "method=rollout", "subset=3"))
    more = configure("perturbation", "method=rollout", "subset=4")
    assert run(more) is not None
    assert record_of(more)["samples"] == 4


def test_a_table_of_a_subset_shows_all_methods_on_the_same_samples(configure):
    run(configure("perturbation", "method=rollout"))
    run(configure("perturbation", "method=gradcam", "subset=5"))
    run(configure("perturbation", "method=random", "subset=3"))
    made = table(configure("perturbation", "subset=3"))
    assert set(made.methods) == {"rollout", "gradcam", "random"}
    assert set(made.data["samples"]) == {3}
    assert "3 samples, the first 3 of the data set in the nested order" in made.caption
    own = rows_of(configure("perturbation", "method=random", "subset=3"))
    for one in made.parts[0].selection.scored:
        for rows in one.tables().values():
            assert set(rows["id"]) == set(own["id"])
    assert not made.parts[0].selection.is_partial


def test_its_numbers_are_those_of_a_run_on_these_samples(configure, tmp_path):
    run(configure("perturbation", "method=rollout", "batch_size=1"))
    cut = table(configure("perturbation", "subset=4", "batch_size=1")).data
    elsewhere = f"paths.results={tmp_path / 'elsewhere'}"
    run(configure("perturbation", "method=rollout", "subset=4", "batch_size=1", elsewhere))
    own = table(configure("perturbation", "subset=4", "batch_size=1", elsewhere)).data
    pd.testing.assert_frame_equal(cut, own)


def test_a_table_of_all_samples_has_no_method_of_a_subset(configure):
    run(configure("perturbation", "method=rollout"))
    run(configure("perturbation", "method=gradcam", "subset=5"))
    assert table(configure("perturbation")).methods == ["rollout"]


def test_samples_that_were_left_out_do_not_stand_for_a_subset(configure, root, tmp_path):
    """Of the rest the first are not the first of the data set."""
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(root, broken)
    images = sorted((broken / "imagenet").rglob("*.JPEG"))
    victim = next(path for path in images if path.stem in {i.rpartition("/")[2] for i in names(images, 3)})
    victim.write_bytes(b"no picture")
    where = [f"paths.data={broken}", "on_bad_sample=skip"]
    run(configure("perturbation", "method=rollout", *where))
    assert len(rows_of(configure("perturbation", "method=rollout", *where))) == 8
    few = configure("perturbation", "method=rollout", "subset=3", *where)
    run(few)
    assert len(rows_of(few)) == 2


def names(images, count):
    return first([path.stem for path in images], count)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_a_subset_that_is_no_number_is_refused(configure, value):
    with refused(f"subset={value}: expected a whole number, 1 or more, or null"):
        run(configure("perturbation", "method=rollout", f"subset={value}"))


def test_a_subset_of_more_than_there_are_is_all(configure):
    config = configure("perturbation", "method=rollout", "subset=500")
    run(config)
    assert len(rows_of(config)) == 9
    assert cell_of(config).id.identity["dataset"]["subset"] == 500
