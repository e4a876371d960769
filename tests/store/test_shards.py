"""A cell in shards is the cell in one piece; what does not fit together is named.

Bytes are compared: shards leave batches whole, so on one machine all shapes are those of the undivided cell.
"""

import itertools
import shutil

import numpy as np
import pytest

import methods
from bench.errors import BenchError
from bench.runner.cell import run
from bench.store.blocks import Cut
from bench.store.files import claimed, replace_file
from bench.tables.__main__ import main
from bench.tables.table import table
from tests.support.cells import begun, cell_of, cells_of, finished, record_of, rows_of, same_rows

pytestmark = pytest.mark.numerical


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
def test_shards_in_any_order_give_the_rows_of_the_whole(configure, tmp_path, task, method, shards):
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
    assert ("maps" in finished(config)) == (method != "lrp")  # those are of pixels
    same_rows(config, whole)
    assert not [cell for cell in cells_of(config).values() if cell.work_folder.exists()]


def test_more_shards_than_batches_leave_some_with_nothing_to_do(configure):
    for shard in (4, 0, 1, 2, 3):
        summary = run(config := configure("segmentation", "batch_size=2", "shards=5", f"shard={shard}"))
        # Two batches: the shards 2, 3 and 4 are empty, and 1 is the last that has anything.
        assert (summary is not None) == (shard == 1)
    assert len(rows_of(config)) == len(rows_of(config, "maps")) == 4


class Draws:
    """A method that draws from the global generator, and says that it is not reproducible."""

    reproducible = False

    def __call__(self, forward, inputs, target=None):
        import torch

        return torch.rand(len(inputs), 17)


def test_what_a_method_draws_depends_on_the_sample_alone(configure, tmp_path):
    own = ("segmentation", "method=custom", "method._target_=tests.store.test_shards.Draws", "batch_size=2")
    run(whole := configure(*own, f"paths.results={tmp_path / 'whole'}"))
    for shard in (1, 0):
        run(config := configure(*own, "shards=2", f"shard={shard}"))
    same_rows(config, whole)


def first_shard(configure, *overrides):
    config = configure("segmentation", "method=rollout", "batch_size=1", "shards=2", "shard=0", *overrides)
    assert run(config) is None
    return config


def test_missing_shards_are_named(configure, capsys):
    config = first_shard(configure)
    assert "shard 0 is done; of 2 shards 1 is not finished" in capsys.readouterr().err
    with pytest.raises(
        BenchError, match=r"rollout.* is not finished: of 2 shards 1 is not finished.*--partial"
    ):
        table(config)


def test_a_shard_that_counts_twice_is_named(configure):
    config = first_shard(configure)
    work = begun(config)
    first, second = (work.folder / f"{shard}-of-2" for shard in (0, 1))
    shutil.copytree(first, second)
    with pytest.raises(BenchError, match=r"1-of-2: it holds samples of shard 0, which would count twice"):
        run(config | {"shard": 1})
    with pytest.raises(BenchError, match="count twice"):
        table(config)
    shutil.rmtree(second)
    shutil.copytree(first, work.folder / "0-of-3")
    with pytest.raises(BenchError, match=r"0-of-3: the cell was cut into 2 shards"):
        run(config | {"shard": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shards": 3}, "shards=3: the cell was begun with 2"),
        ({"batch_size": 2}, "batch_size=2: the cell was begun with 1"),
    ],
)
def test_a_cell_is_finished_as_it_was_begun(configure, change, message):
    config = first_shard(configure)
    with pytest.raises(BenchError, match=message):
        run(config | {"shard": 1} | change)
    assert run(config | {"shard": 1}) is not None


def test_predictions_are_shared_by_runs_that_are_cut_in_any_way(configure):
    """They belong to no method, so how one method's samples are shared must not bind another's."""
    config = configure("perturbation", "method=rollout", "batch_size=2", "shards=2", "shard=0")
    assert run(config) is None
    assert run(configure("perturbation", "method=lrp", "batch_size=3", "shards=3", "shard=2")) is None
    assert run(config | {"shard": 1}) is not None
    whole = configure("perturbation", "method=gradcam", "batch_size=4")
    assert run(whole) is not None
    assert list(rows_of(whole, "predictions")["id"]) == list(rows_of(config, "masking")["id"])


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


def test_a_partial_table_needs_samples_in_common(configure):
    first_shard(configure)
    config = configure("segmentation", "method=lrp", "batch_size=1", "shards=2", "shard=1")
    run(config)
    with pytest.raises(BenchError, match="no sample in common"):
        table(config, partial=True)


def test_the_command_for_tables_takes_partial(configure, monkeypatch):
    asked = []

    def refuse(config, partial=False):
        asked.append(config["task"]["name"])
        raise BenchError(f"partial {partial}")

    monkeypatch.setattr("bench.tables.program.table", refuse)
    with pytest.raises(BenchError, match="partial True"):
        main(["table=segmentation", "suite=embedded", "--partial"])
    assert asked == ["segmentation"]


class FailsLate(methods.Rollout):
    """A method that fails at the third sample."""

    seen = 0

    def for_check(self):
        return methods.Rollout()

    def __call__(self, forward, inputs, target=None):
        FailsLate.seen += 1
        if FailsLate.seen == 3:
            raise RuntimeError("a bug")
        return super().__call__(forward, inputs, target)


def test_a_run_that_failed_goes_on_where_it_ended(configure, tmp_path, capsys):
    own = (
        "segmentation",
        "method._target_=tests.store.test_shards.FailsLate",
        "method=rollout",
        "batch_size=1",
    )
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
    same_rows(config, whole)


def test_a_run_that_fails_at_once_leaves_no_unfinished_cell(configure):
    FailsLate.seen = 2
    config = configure("segmentation", "method._target_=tests.store.test_shards.FailsLate", "method=rollout")
    with pytest.raises(RuntimeError):
        run(config)
    assert not [cell for cell in cells_of(config).values() if cell.work_folder.exists()]
    assert cell_of(config).failure() == "RuntimeError: a bug"
    run(config)
    assert not [cell.failure() for cell in cells_of(config).values() if cell.failure()]


def test_a_cell_is_done_anew_if_asked_unless_a_cluster_restarted_the_job(configure, monkeypatch):
    config = configure("segmentation", "method=rollout", "batch_size=1")
    run(config)
    before = cell_of(config).written_at()
    assert run(config | {"rerun": True}) is not None
    assert cell_of(config).written_at() > before
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run(config | {"rerun": True}) is None


def test_a_job_that_is_restarted_goes_on_with_a_cell_that_it_began_anew(configure, monkeypatch):
    own = (
        "segmentation",
        "method._target_=tests.store.test_shards.FailsLate",
        "method=rollout",
        "batch_size=1",
    )
    FailsLate.seen = 5
    run(config := configure(*own))
    before = cell_of(config).written_at()
    FailsLate.seen = 0
    with pytest.raises(RuntimeError, match="a bug"):
        run(config | {"rerun": True})
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run(config | {"rerun": True}) is not None
    assert FailsLate.seen == 5  # the two that were left
    assert cell_of(config).written_at() > before


@pytest.mark.parametrize("kind", ["mask_overlap", "maps"])
def test_a_cell_is_not_done_anew_while_another_process_is_at_a_shard(configure, kind):
    config = first_shard(configure)
    with claimed(cell_of(config, kind).lock_file("1-of-2"), wait=False):
        with pytest.raises(BenchError, match=r"rerun=true: .* is being computed in other shards"):
            run(config | {"shards": 1, "rerun": True})
        assert begun(config, kind).parts()
    assert run(config | {"shards": 1, "rerun": True}) is not None


@pytest.mark.parametrize("lock", ["0-of-2", "1-of-2"])
def test_a_finished_cell_leaves_alone_what_another_process_computes_anew(configure, lock):
    """Whichever shard that is, also the one that this run is of."""
    config = first_shard(configure)
    saved = cell_of(config).work_folder / "0-of-2"
    shutil.copytree(saved.parent, saved.parent.with_name("aside"))
    run(config | {"shard": 1})
    saved.parent.with_name("aside").rename(saved.parent)
    with claimed(cell_of(config).lock_file(lock), wait=False):
        assert run(config | {"shard": 1}) is None
        assert saved.exists()
    assert run(config) is None
    assert not saved.exists()


class Outpaced(methods.Rollout):
    """A method during whose calls another process finishes the cell."""

    finish = None

    def for_check(self):
        return methods.Rollout()

    def __call__(self, forward, inputs, target=None):
        finish, Outpaced.finish = Outpaced.finish, None
        if finish is not None:
            finish()
        return super().__call__(forward, inputs, target)


OUTPACED = (
    "segmentation",
    "method._target_=tests.store.test_shards.Outpaced",
    "method=rollout",
    "batch_size=1",
)


def test_a_cell_that_is_finished_while_a_shard_is_computed_is_left_as_it_is(configure, capsys):
    config = configure(*OUTPACED)
    Outpaced.finish = lambda: run(config)
    run(config | {"shards": 2, "shard": 0})
    assert "another process has finished it meanwhile" in capsys.readouterr().err
    assert not [cell for cell in cells_of(config).values() if cell.work_folder.exists()]
    assert len(rows_of(config)) == len(rows_of(config, "maps")) == 4
    assert run(config) is None


def test_a_cell_that_is_finished_elsewhere_and_copied_is_left_as_it_is(configure, tmp_path):
    run(elsewhere := configure(*OUTPACED, f"paths.results={tmp_path / 'elsewhere'}"))
    config = configure(*OUTPACED)
    before = {}

    def copied():
        for kind, cell in cells_of(elsewhere).items():
            there = cells_of(config)[kind]
            there.rows_file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(cell.rows_file, there.rows_file)
            shutil.copy(cell.record_file, there.record_file)
            before[kind] = there.written_at()

    Outpaced.finish = copied
    run(config | {"shards": 2, "shard": 0})
    assert {kind: cell.written_at() for kind, cell in cells_of(config).items()} == before
    assert not [cell for cell in cells_of(config).values() if cell.work_folder.exists()]
    same_rows(config, elsewhere)


def test_what_is_read_of_an_unfinished_cell_may_be_finished_meanwhile(configure, capsys):
    config = first_shard(configure)
    work = begun(config)
    run(config | {"shard": 1})
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
        run(configure("segmentation", "method=rollout", "dataset._target_=tests.store.test_shards.Empty"))


def test_seconds_by_phase_and_what_it_was_run_on_are_kept(configure):
    config = configure("segmentation", "method=rollout", "batch_size=1", "save_every=0")
    run(config)
    record = record_of(config)
    per_sample = record["seconds_per_sample"]
    assert set(per_sample) == {"load", "explain", "evaluate"}
    assert all(seconds > 0 for seconds in per_sample.values())
    assert 4 * sum(per_sample.values()) == pytest.approx(record["seconds"], rel=0.5)
    assert record["device"] == "cpu"
    assert record["peak_memory_bytes"] > 2**20
