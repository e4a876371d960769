"""A cell in shards is the cell in one piece; what does not fit together is named.

Bytes are compared: shards leave batches whole, so on one machine all shapes are those of the undivided cell.
"""

import itertools
import json
import shutil

import numpy as np
import pytest

import methods
from bench import shards as shards_module
from bench.compute import compute, dataset_of
from bench.errors import BenchError
from bench.files import replace_file
from bench.locks import claimed
from bench.numbers import finished
from bench.run import run
from bench.shards import Cut, Work, unfinished
from bench.store import Cell
from bench.tables import main, table

pytestmark = pytest.mark.numerical


def rows_file(config) -> bytes:
    return Cell(config).rows_file.read_bytes()


@pytest.mark.parametrize(
    ("samples", "shards", "block"), [(9, 1, 4), (9, 2, 4), (9, 4, 2), (3, 5, 1), (100, 7, 8)]
)
def test_every_sample_is_in_one_shard_and_batches_stay_whole(samples, shards, block):
    cut = Cut(samples, shards, block)
    positions = [cut.positions(shard) for shard in range(shards)]
    assert sorted(itertools.chain(*positions)) == list(range(samples))
    whole = [list(range(samples))[i : i + block] for i in range(0, samples, block)]
    for own in positions:
        assert all(own[i : i + block] in whole for i in range(0, len(own), block))


@pytest.mark.parametrize("task", ["perturbation", "segmentation"])
@pytest.mark.parametrize("method", ["transformer_attribution", "lrp", "random"])
@pytest.mark.parametrize("shards", [2, 3])
def test_shards_in_any_order_give_the_bytes_of_the_whole(configure, tmp_path, task, method, shards):
    whole = configure(task, f"method={method}", "batch_size=2", f"paths.results={tmp_path / 'whole'}")
    summary = run(whole)
    order = np.random.default_rng(shards).permutation(shards).tolist()
    made = [
        run(
            config := configure(
                task, f"method={method}", "batch_size=2", f"shards={shards}", f"shard={shard}"
            )
        )
        for shard in order
    ]
    assert made == [None] * (shards - 1) + [summary]
    assert rows_file(config) == rows_file(whole)
    assert not Cell(config).work_folder.exists()
    records = [json.loads(Cell(c).record_file.read_text()) for c in (config, whole)]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert {record["rows_sha256"] for record in records} == {records[0]["rows_sha256"]}


def test_more_shards_than_batches_leave_some_with_nothing_to_do(configure):
    for shard in (4, 0, 1, 2, 3):
        summary = run(config := configure("segmentation", "batch_size=2", "shards=5", f"shard={shard}"))
        # Two batches: the shards 2, 3 and 4 are empty, and 1 is the last that has anything.
        assert (summary is not None) == (shard == 1)
    assert len(Cell(config).result().rows) == 4


def test_maps_of_shards_are_put_together(configure, tmp_path):
    settings = ("segmentation", "method=rollout", "save_maps=true", "batch_size=1")
    whole = configure(*settings, f"paths.results={tmp_path / 'whole'}")
    run(whole)
    for shard in (1, 0):
        run(config := configure(*settings, "shards=2", f"shard={shard}"))
    ours, expected = (np.load(Cell(c).maps_file) for c in (config, whole))
    assert ours["ids"].tolist() == expected["ids"].tolist()
    assert np.array_equal(ours["maps"], expected["maps"])
    assert rows_file(config) == rows_file(whole)


class Draws:
    """A method that draws from the global generator."""

    def __call__(self, forward, inputs, target=None):
        import torch

        return torch.rand(len(inputs), 17)


def test_what_a_method_draws_depends_on_the_sample_alone(configure, tmp_path):
    own = ("segmentation", "method=custom", "method._target_=tests.test_shards.Draws", "batch_size=2")
    run(whole := configure(*own, f"paths.results={tmp_path / 'whole'}"))
    for shard in (1, 0):
        run(config := configure(*own, "shards=2", f"shard={shard}"))
    assert rows_file(config) == rows_file(whole)


def first_shard(configure, *overrides):
    config = configure("segmentation", "method=rollout", "batch_size=1", "shards=2", "shard=0", *overrides)
    assert run(config) is None
    return config


def test_missing_shards_are_named(configure, capsys):
    config = first_shard(configure)
    assert "shard 0 is done; of 2 shards 1 is not finished" in capsys.readouterr().err
    with pytest.raises(BenchError, match=r"rollout.*: of 2 shards 1 is not finished.*--partial"):
        table(config)


def test_a_shard_that_counts_twice_is_named(configure):
    config = first_shard(configure)
    (work,) = unfinished(config, "segmentation")
    shutil.copytree(work.shard(0).folder, work.shard(1).folder)
    with pytest.raises(BenchError, match=r"1-of-2: it holds samples of shard 0, which would count twice"):
        run(config | {"shard": 1})
    with pytest.raises(BenchError, match="count twice"):
        table(config)
    shutil.rmtree(work.shard(1).folder)
    shutil.copytree(work.shard(0).folder, work.folder / "0-of-3")
    with pytest.raises(BenchError, match=r"0-of-3: the cell was cut into 2 shards"):
        run(config | {"shard": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shards": 3}, "shards=3: the cell was begun with 2"),
        ({"batch_size": 2}, "batch_size=2: the cell was begun with 1"),
        ({"sanity": True}, "sanity=True: the cell was begun with False"),
        ({"save_maps": True}, "save_maps=True: the cell was begun with False"),
    ],
)
def test_a_cell_is_finished_as_it_was_begun(configure, change, message):
    config = first_shard(configure)
    with pytest.raises(BenchError, match=message):
        run(config | {"shard": 1} | change)
    assert run(config | {"shard": 1}) is not None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["shard=2", "shards=2"], "shard=2: of shards=2 the last is 1"),
        (["shards=0"], "shards=0: expected a whole number, 1 or more"),
        (["shard=-1"], "shard=-1"),
        (["shards=two"], "shards=two"),
        (["shards=true"], "shards=True"),
        (["shards=2", "rerun=true"], "rerun=true: a shard"),
        (["save_every=soon"], "save_every=soon"),
        (["on_bad_sample=ignore"], "on_bad_sample=ignore: expected stop or skip"),
        (["on_busy=fight"], "on_busy=fight: expected skip or wait"),
    ],
)
def test_settings_out_of_range_are_named(configure, overrides, message):
    with pytest.raises(BenchError, match=message):
        run(configure("segmentation", "method=rollout", *overrides))


def test_a_partial_table_is_of_the_samples_that_all_have_and_says_so(configure, capsys):
    run(configure("segmentation", "method=lrp", "batch_size=1"))
    config = first_shard(configure)
    partial = table(config, partial=True)
    assert partial.name.endswith("--partial")
    assert "**Partial**" in partial.markdown()
    assert "2 samples" in partial.caption
    assert set(partial.shown.index) == {"lrp", "rollout"}
    run(config | {"shard": 1})
    whole = table(config, partial=True)
    assert "Partial" not in whole.markdown()
    assert "4 samples" in whole.caption
    assert len(finished(config)) == 2


def test_a_partial_table_needs_samples_in_common(configure):
    first_shard(configure)
    config = configure("segmentation", "method=lrp", "batch_size=1", "shards=2", "shard=1")
    run(config)
    with pytest.raises(BenchError, match="no sample in common"):
        table(config, partial=True)


def test_the_command_for_tables_takes_partial(configure, monkeypatch):
    asked = []
    monkeypatch.setattr("bench.tables.configuration", asked.append)

    def refuse(config, partial=False):
        raise BenchError(f"partial {partial}")

    monkeypatch.setattr("bench.tables.table", refuse)
    with pytest.raises(BenchError, match="partial True"):
        main(["table=segmentation", "suite=embedded", "--partial"])
    assert asked == [["task=segmentation", "suite=embedded"]]


class FailsLate(methods.Rollout):
    """A method that fails at the third sample."""

    seen = 0

    def __call__(self, forward, inputs, target=None):
        FailsLate.seen += 1
        if FailsLate.seen == 3:
            raise RuntimeError("a bug")
        return super().__call__(forward, inputs, target)


def test_a_run_that_failed_goes_on_where_it_ended(configure, tmp_path, capsys):
    own = ("segmentation", "method._target_=tests.test_shards.FailsLate", "method=rollout", "batch_size=1")
    FailsLate.seen = 5
    run(whole := configure(*own, f"paths.results={tmp_path / 'whole'}"))
    FailsLate.seen = 0
    config = configure(*own)
    with pytest.raises(RuntimeError, match="a bug"):
        run(config)
    assert "2 of 4 samples are saved; start it again to go on" in capsys.readouterr().err
    assert FailsLate.seen == 3
    run(config)
    assert FailsLate.seen == 5  # the two that were left
    assert rows_file(config) == rows_file(whole)


def test_a_run_that_fails_at_once_leaves_no_unfinished_cell(configure):
    FailsLate.seen = 2
    config = configure("segmentation", "method._target_=tests.test_shards.FailsLate", "method=rollout")
    with pytest.raises(RuntimeError):
        run(config)
    assert not Cell(config).work_folder.exists()
    assert Cell(config).failure() == "RuntimeError: a bug"
    run(config)
    assert Cell(config).failure() is None


def test_a_cell_is_done_anew_if_asked_unless_a_cluster_restarted_the_job(configure, monkeypatch):
    config = first_shard(configure) | {"shards": 1, "rerun": True}
    shutil.rmtree(Cell(config).work_folder)
    dataset = dataset_of(config)
    work = Work.begin(Cell(config), Cut(len(dataset), 1, 1))
    own = configure("segmentation", "method=rollout", "batch_size=1")
    run(own)
    before = Cell(own).record_file.stat().st_mtime_ns
    assert run(config) is not None
    assert Cell(own).record_file.stat().st_mtime_ns > before
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run(config) is None
    assert not work.folder.exists()


def test_a_job_that_is_restarted_goes_on_with_a_cell_that_it_began_anew(configure, monkeypatch):
    own = ("segmentation", "method._target_=tests.test_shards.FailsLate", "method=rollout", "batch_size=1")
    FailsLate.seen = 5
    run(config := configure(*own))
    before = Cell(config).written_at()
    FailsLate.seen = 0
    with pytest.raises(RuntimeError, match="a bug"):
        run(config | {"rerun": True})
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run(config | {"rerun": True}) is not None
    assert FailsLate.seen == 5  # the two that were left
    assert Cell(config).written_at() > before


def test_a_cell_is_not_done_anew_while_another_process_is_at_a_shard(configure):
    config = first_shard(configure)
    (work,) = unfinished(config, "segmentation")
    with claimed(Cell(config).lock_file("1-of-2"), wait=False):
        with pytest.raises(BenchError, match=r"rerun=true: .* is being computed in other shards"):
            run(config | {"shards": 1, "rerun": True})
        assert work.parts()
    assert run(config | {"shards": 1, "rerun": True}) is not None


def test_a_finished_cell_leaves_alone_what_another_process_computes_anew(configure):
    config = configure("segmentation", "method=rollout", "batch_size=1")
    run(config)
    run(config | {"shards": 2, "shard": 0, "save_maps": True})
    saved = Cell(config).work_folder / "0-of-2"
    with claimed(Cell(config).lock_file("0-of-2"), wait=False):
        assert run(config | {"shards": 2, "shard": 1}) is None
        assert saved.exists()
    assert run(config) is None
    assert not saved.exists()


def test_a_cell_that_is_finished_while_a_shard_begins_is_not_computed_again(configure, monkeypatch, capsys):
    config = configure("segmentation", "method=rollout", "batch_size=1")

    def slowly(given):
        if given["shards"] == 2:
            run(config)
        return dataset_of(given)

    monkeypatch.setattr("bench.run.dataset_of", slowly)
    assert run(config | {"shards": 2, "shard": 0}) is None
    assert "another process has finished it meanwhile" in capsys.readouterr().err
    assert not Cell(config).work_folder.exists()


def test_a_cell_that_is_finished_while_a_shard_is_computed_is_left_as_it_is(configure, tmp_path, monkeypatch):
    own = ("segmentation", "method=rollout", "batch_size=1")
    run(elsewhere := configure(*own, f"paths.results={tmp_path / 'elsewhere'}"))

    def outpaced(cell, *arguments):
        compute(cell, *arguments)
        shutil.copy(Cell(elsewhere).rows_file, cell.rows_file)
        shutil.copy(Cell(elsewhere).record_file, cell.record_file)

    monkeypatch.setattr("bench.run.compute", outpaced)
    assert run(config := configure(*own, "shards=2", "shard=0")) is None
    assert not Cell(config).work_folder.exists()
    assert rows_file(config) == rows_file(elsewhere)


def test_an_unfinished_cell_may_be_finished_while_it_is_read(configure, monkeypatch, capsys):
    config = first_shard(configure)
    (work,) = unfinished(config, "segmentation")
    begun = shards_module._begun

    def finished_meanwhile(*arguments):
        yield from list(begun(*arguments))
        run(config | {"shard": 1})

    monkeypatch.setattr(shards_module, "_begun", finished_meanwhile)
    assert [len(kind) for kind in shards_module.stored(config, "segmentation")] == [1, 0]
    capsys.readouterr()
    assert work.parts() == []
    assert "damaged" not in capsys.readouterr().err


def test_files_are_written_aside_under_names_of_their_own(tmp_path):
    asides = []

    def write(aside):
        asides.append(aside)
        aside.write_text("whole")

    for _ in range(2):  # as by two machines whose processes have the same id
        replace_file(tmp_path / "plan.json", write)
    assert len(set(asides)) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


class Empty:
    """A data set without samples."""

    def __init__(self, **_):
        pass

    def __len__(self):
        return 0


def test_a_data_set_without_samples_is_named(configure):
    with pytest.raises(BenchError, match="dataset: it has no samples"):
        run(configure("segmentation", "method=rollout", "dataset._target_=tests.test_shards.Empty"))


def test_seconds_by_phase_and_what_it_was_run_on_are_kept(configure):
    config = configure("segmentation", "method=rollout", "batch_size=1", "save_every=0")
    run(config)
    record = Cell(config).result().record
    per_sample = record["seconds_per_sample"]
    assert set(per_sample) == {"load", "explain", "evaluate"}
    assert all(seconds > 0 for seconds in per_sample.values())
    assert 4 * sum(per_sample.values()) == pytest.approx(record["seconds"], rel=0.5)
    assert record["device"] == "cpu"
    assert record["peak_memory_bytes"] > 2**20
