"""Whatever ends a run, and wherever: nothing half-written is trusted, no row is lost or counted twice.

Bytes are compared: on one machine, with one thread, and batches that are the same wherever a run goes on.
"""

import errno
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import stat
import subprocess
import threading
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import methods
from bench.data import ImageNet
from bench.errors import BenchError
from bench.runner.cell import run
from bench.store.files import BusyError, claimed, is_claimed
from bench.tables.table import table
from tests.support.cells import (
    begun,
    cell_of,
    cells_of,
    content,
    finished,
    record_of,
    rows_of,
    same_rows,
    samples_saved,
)
from tests.support.tiny_images import WNIDS

pytestmark = [pytest.mark.numerical, pytest.mark.usefixtures("one_thread")]

FILES = 14  # that a run of OWN puts into place: of two cells a plan, four parts, the rows, the record
OWN = ("segmentation", "method=rollout", "batch_size=1", "save_every=0")


@pytest.fixture(scope="module")
def processes():
    """Start processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    modules = ["bench.runner.cell", "bench.models.image", "timm", "tests.robustness.test_faults"]
    context.set_forkserver_preload(modules)
    return context


UNDISTURBED: dict[tuple[str, ...], dict] = {}


def whole(configure, tmp_path, *overrides):
    """A run to which nothing happens, made by the first test that compares with it."""
    if overrides not in UNDISTURBED:
        config = configure(*OWN, *overrides, f"paths.results={tmp_path / 'undisturbed'}")
        run(config)
        UNDISTURBED[overrides] = config
    assert finished(UNDISTURBED[overrides]) == {"maps", "mask_overlap"}
    return UNDISTURBED[overrides]


def check_whole(config, expected) -> None:
    """The run lost nothing, doubled nothing and left nothing."""
    same_rows(config, expected)
    assert not [cell for cell in cells_of(config).values() if cell.work_folder.exists()]


class Slow(methods.Rollout):
    """A method that takes its time."""

    def __call__(self, forward, inputs, target=None):
        time.sleep(0.05)
        return super().__call__(forward, inputs, target)


SLOW = "method._target_=tests.robustness.test_faults.Slow"


def in_process(config, begun=None):
    torch.set_num_threads(1)
    if begun is not None:
        begun.set()
    run(config)


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_goes_on(configure, tmp_path, processes):
    expected = whole(configure, tmp_path, SLOW)
    moments = random.Random(0)
    longest, killed, saved = 0.0, 0, 0
    for trial in range(21):
        config = configure(*OWN, SLOW, f"paths.results={tmp_path / str(trial)}")
        begun = processes.Event()
        process = processes.Process(target=in_process, args=(config, begun))
        process.start()
        begun.wait(60)
        started = time.monotonic()
        process.join(moments.uniform(0, longest) if trial else None)  # the first shows how long it takes
        longest = longest or time.monotonic() - started
        killed += process.is_alive()
        process.kill()
        process.join()
        saved += samples_saved(config) if (cell_of(config).work_folder / "plan.json").exists() else 0
        run(config)
        check_whole(config, expected)
    assert killed > 10
    assert saved > 0


def exits_at(config, nth, before):
    """A run that is gone, as if by SIGKILL, at the nth file that it puts into place among the results."""
    replace, calls = os.replace, iter(range(1, 100))

    def or_exit(source, target):
        last = Path(target).is_relative_to(config["paths"]["results"]) and next(calls) == nth
        if last and before:
            os._exit(9)
        replace(source, target)
        if last:
            os._exit(9)

    os.replace = or_exit
    in_process(config)


# Among these are a plan, parts, rows and records.
SOME, ALL = (1, 2, 4, 7, 11, 13), tuple(range(1, FILES + 1))


@pytest.mark.parametrize(
    ("before", "files"),
    [
        (True, SOME),
        pytest.param(True, ALL, marks=pytest.mark.slow),
        pytest.param(False, ALL, marks=pytest.mark.slow),
    ],
    ids=["before some", "before any", "after any"],
)
def test_a_run_that_is_killed_at_any_file_goes_on(configure, tmp_path, processes, before, files):
    expected = whole(configure, tmp_path)
    for nth in (*files, FILES + 1):
        config = configure(*OWN, f"paths.results={tmp_path / str(nth)}")
        process = processes.Process(target=exits_at, args=(config, nth, before))
        process.start()
        process.join()
        # Of each of two cells the plan, four parts, the rows and the record: then it has ended.
        assert (process.exitcode == 0) == (nth == FILES + 1)
        run(config)
        check_whole(config, expected)


@pytest.mark.parametrize(
    "files",
    [(2, 5, 8, 11, 12, 13), pytest.param(ALL, marks=pytest.mark.slow)],
    ids=["some", "any"],
)
def test_a_run_that_is_killed_between_two_cells_explains_nothing_again(configure, tmp_path, processes, files):
    """Whatever is measured has its maps kept: these are saved and finished first."""
    for nth in files:
        config = configure(*OWN, f"paths.results={tmp_path / str(nth)}")
        process = processes.Process(target=exits_at, args=(config, nth, False))
        process.start()
        process.join()
        saved = {
            kind: {p for part in begun(config, kind).parts() for p in part.positions}
            for kind, cell in cells_of(config).items()
            if (cell.work_folder / "plan.json").exists()
        }
        done = finished(config)
        assert "mask_overlap" not in done or "maps" in done
        assert "maps" in done or saved.get("mask_overlap", set()) <= saved["maps"]


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, also where these tests were started in the background, in which shells ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_ends_a_run_after_it_has_saved(configure, tmp_path, ctrl_c, number):
    expected = whole(configure, tmp_path, SIGNALLED)
    Signalled.number, Signalled.calls = number, 0
    config = configure(*OWN, SIGNALLED, "save_every=1000")
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        run(config)
    assert samples_saved(config) == samples_saved(config, "maps") == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    Signalled.number = None
    run(config)
    assert Signalled.calls == 5
    check_whole(config, expected)


class Signalled(methods.Rollout):
    """A method during whose third call a signal arrives."""

    number, calls = None, 0

    def for_check(self):
        return methods.Rollout()

    def __call__(self, forward, inputs, target=None):
        Signalled.calls += 1
        if Signalled.number is not None and Signalled.calls == 3:
            os.kill(os.getpid(), Signalled.number)
        return super().__call__(forward, inputs, target)


SIGNALLED = "method._target_=tests.robustness.test_faults.Signalled"


def interrupted(configure, *overrides):
    """A cell of which two of four samples are saved."""
    Signalled.number, Signalled.calls = signal.SIGTERM, 0
    config = configure(*OWN, SIGNALLED, *overrides)
    with pytest.raises(SystemExit):
        run(config)
    Signalled.number = None
    return config


def flipped(content: bytes) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[len(changed) // 3] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("kind", ["mask_overlap", "maps"])
@pytest.mark.parametrize(
    "size", [0, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 4, 100)), -1, None]
)
def test_a_damaged_part_is_computed_again(configure, tmp_path, capsys, kind, size):
    """One that was truncated, or (None) has one bit changed."""
    expected = whole(configure, tmp_path, SIGNALLED)
    config = interrupted(configure)
    part = min(begun(config, kind).folder.rglob("*.parquet"))
    content = part.read_bytes()
    part.write_bytes(flipped(content) if size is None else content[:size])
    run(config)
    assert f"{part} is damaged" in capsys.readouterr().err
    check_whole(config, expected)


def test_a_part_that_was_edited_is_not_read_into_a_table(configure, capsys):
    config = interrupted(configure)
    assert "2 samples" in table(config, partial=True).caption
    part = min(begun(config).folder.rglob("*.parquet"))
    part.write_bytes(flipped(part.read_bytes()))
    assert re.search(r"\b1 sample\b", table(config, partial=True).caption)
    assert f"{part} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cut": {}}', '{"cut": {"samples": 4}}', "\0" * 30])
def test_a_damaged_plan_is_named(configure, text):
    config = interrupted(configure)
    plan = cell_of(config).work_folder / "plan.json"
    plan.write_text(text)
    for command in (run, table):
        with pytest.raises(BenchError, match=rf"{plan} is damaged .*delete its folder"):
            command(config)


def damage_rows(cell):
    content = cell.rows_file.read_bytes()
    cell.rows_file.write_bytes(content[: len(content) // 2])


def flip_a_bit(cell):
    cell.rows_file.write_bytes(flipped(cell.rows_file.read_bytes()))


def damage_record(cell):
    cell.record_file.write_text(cell.record_file.read_text()[:-10])


@pytest.mark.parametrize("damage", [damage_rows, flip_a_bit, damage_record])
def test_a_damaged_cell_is_reported_and_computed_again(configure, tmp_path, capsys, damage):
    expected = whole(configure, tmp_path)
    config = configure(*OWN)
    run(config)
    damage(cell_of(config))
    with pytest.raises(BenchError, match="is damaged"):
        table(config)
    assert run(config) is not None
    assert "is damaged" in capsys.readouterr().err
    check_whole(config, expected)
    assert run(config) is None


@pytest.mark.parametrize("damage", [damage_rows, flip_a_bit, damage_record])
def test_damaged_maps_are_made_again_and_never_scored(configure, tmp_path, capsys, damage):
    expected = whole(configure, tmp_path, "protocol.segmentation.threshold=0.4")
    config = configure(*OWN)
    run(config)
    damage(cell_of(config, "maps"))
    again = configure(*OWN, "protocol.segmentation.threshold=0.4")
    assert run(again) is not None
    said = capsys.readouterr().err
    assert "is damaged" in said
    assert "nothing is explained again" not in said
    check_whole(again, expected)


def test_a_file_that_was_left_half_written_is_ignored(configure):
    config = interrupted(configure)
    folder = cell_of(config).work_folder / "0-of-1"
    (folder / ".00000002.parquet.999.tmp").write_bytes(b"PAR1")
    run(config)
    assert len(rows_of(config)) == 4


@contextmanager
def read_only(folder):
    """Let nobody write to a folder; for root, who may write anywhere, it is mounted so."""
    if os.geteuid() != 0:
        modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")] if path.is_dir()}
        for path in modes:
            path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        try:
            yield
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
        return
    for mount in (["--bind", str(folder), str(folder)], ["-o", "remount,ro,bind", str(folder)]):
        if subprocess.run(["mount", *mount], capture_output=True, check=False).returncode:
            subprocess.run(["umount", str(folder)], capture_output=True, check=False)
            pytest.skip("root may write anywhere, and cannot mount anything here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder_is_named(configure, tmp_path):
    (tmp_path / "results").mkdir()
    with (
        read_only(tmp_path / "results"),
        pytest.raises(BenchError, match=rf"paths.results: {tmp_path / 'results'}.* cannot be written to"),
    ):
        run(configure(*OWN))


def test_finished_cells_in_a_read_only_folder_are_done_already(configure, tmp_path, capsys):
    config = configure(*OWN)
    run(config)
    before = content(tmp_path / "results")
    with read_only(tmp_path / "results"):
        assert run(config) is None
        assert "done already" in capsys.readouterr().out
        assert table(config).shown.index.tolist() == ["rollout"]
    assert content(tmp_path / "results") == before


def test_a_place_that_is_no_folder_is_named(configure, tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(BenchError, match=r"paths.results: .* cannot be written to"):
        run(configure(*OWN))


def with_a_small_disk(config, size, answer):
    torch.set_num_threads(1)
    # Nothing is printed: the file that pytest catches it in must not grow, either.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            run(config)
        except BenchError as e:
            answer.put(str(e))
        else:
            answer.put("")


@pytest.mark.parametrize("size", [10, 1500, 3000, 6000])
def test_a_full_disk_ends_a_run_with_a_message_and_loses_nothing(configure, tmp_path, processes, size):
    expected = whole(configure, tmp_path)
    config = configure(*OWN)
    answer = processes.Queue()
    process = processes.Process(target=with_a_small_disk, args=(config, size, answer))
    process.start()
    message = answer.get(timeout=60)
    process.join()
    assert "cannot be written to" in message
    assert "\n" not in message
    run(config)
    check_whole(config, expected)


class Dying(ImageNet):
    """A data set whose reader dies at the sixth image."""

    dies = True

    def __getitem__(self, index):
        if index == 5 and Dying.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_a_reader_that_dies_ends_the_run_with_a_message_and_loses_nothing(configure):
    own = "dataset._target_=tests.robustness.test_faults.Dying"
    settings = ("perturbation", "method=rollout", "batch_size=2", own)
    config = configure(*settings, "num_workers=1")
    with pytest.raises(BenchError, match=r"num_workers: a process that reads samples died"):
        run(config)
    Dying.dies = False
    run(config | {"num_workers": 0})
    assert len(rows_of(config)) == len(rows_of(config, "predictions")) == len(rows_of(config, "maps")) == 9


class Ended(ImageNet):
    """A data set at whose sixth image all processes of the run are told to end, first those that read."""

    ends = True

    def __getitem__(self, index):
        if index == 5 and Ended.ends:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(1)
        return super().__getitem__(index)


def test_a_signal_to_all_processes_is_left_to_the_run(configure):
    own = "dataset._target_=tests.robustness.test_faults.Ended"
    settings = ("perturbation", "method=rollout", "batch_size=1", own)
    config = configure(*settings, "num_workers=1")
    with pytest.raises(SystemExit) as ended:
        run(config)
    assert ended.value.code == 128 + signal.SIGTERM
    assert not [cell for cell in cells_of(config).values() if cell.failure()]
    Ended.ends = False
    run(config | {"num_workers": 0})
    assert len(rows_of(config)) == len(rows_of(config, "predictions")) == len(rows_of(config, "maps")) == 9


def test_a_signal_that_comes_again_does_not_end_the_saving(configure, monkeypatch):
    replace = os.replace

    def replace_and_be_told_again(*where):
        os.kill(os.getpid(), signal.SIGTERM)
        replace(*where)

    monkeypatch.setattr(os, "replace", replace_and_be_told_again)
    config = interrupted(configure, "save_every=1000")
    assert samples_saved(config) == samples_saved(config, "maps") == 2


def test_out_of_memory_is_reported_once_and_changes_nothing(configure, tmp_path, capsys):
    expected = whole(configure, tmp_path, "batch_size=4", "method._target_=tests.robustness.test_faults.Big")
    Big.fits = 2
    config = configure(*OWN, "batch_size=4", "method._target_=tests.robustness.test_faults.Big")
    run(config)
    assert capsys.readouterr().err.count("out of memory: going on with batch_size=2") == 1
    assert finished(config) == finished(expected)
    # Other batches: the rows are the same but for their last digits.
    pd.testing.assert_frame_equal(rows_of(config), rows_of(expected), rtol=1e-5)
    assert list(rows_of(config, "maps")["id"]) == list(rows_of(expected, "maps")["id"])
    for one, other in zip(rows_of(config, "maps")["map"], rows_of(expected, "maps")["map"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


class Big(methods.Rollout):
    """A method that fits into a GPU's memory with so many samples at once."""

    fits = 100

    def __call__(self, forward, inputs, target=None):
        if len(inputs) > Big.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().__call__(forward, inputs, target)


@pytest.fixture(scope="module")
def hundreds(root, tmp_path_factory) -> Path:
    """Two hundred images, of which the hundredth is damaged."""
    folder = tmp_path_factory.mktemp("hundreds")
    shutil.copy(root / "imagenet" / "class_index.json", folder)
    rng = np.random.default_rng(0)
    for wnid in WNIDS:
        (folder / "val" / wnid).mkdir(parents=True)
    for i in range(200):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "val" / WNIDS[i % 3] / f"i{i:04d}.JPEG")
    damaged = folder / "val" / WNIDS[100 % 3] / "i0100.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:300])
    return folder


def test_a_corrupt_image_among_hundreds(configure, hundreds, capsys):
    settings = ("method=raw_attention", "batch_size=20", f"dataset.path={hundreds}")
    config = configure("perturbation", *settings, "protocol.perturbation.steps=[0,0.5]")
    with pytest.raises(BenchError, match=r"i0100.JPEG: cannot be decoded"):
        run(config)
    assert samples_saved(config) == samples_saved(config, "predictions") == 100
    skipping = config | {"on_bad_sample": "skip"}
    run(skipping)
    assert "skipped: " in capsys.readouterr().err
    for kind in ("masking", "predictions", "maps"):
        rows, record = rows_of(config, kind), record_of(config, kind)
        assert len(rows) == record["samples"] == 199
        assert "i0100" not in set(rows["id"])
        assert len(record["skipped"]) == 1
    footnote = next(note for note in table(config).findings if note.startswith("Skipped"))
    assert "could not be read, 1: " in footnote
    assert "i0100.JPEG" in footnote
    assert run(skipping) is None
    with pytest.raises(BenchError, match="i0100"):  # the cell is not what was asked for
        run(config)


def test_a_sample_that_was_skipped_is_read_again_once_it_is_whole(configure, root, tmp_path):
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    image = tmp_path / "imagenet" / "val" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG"
    content = image.read_bytes()
    image.write_bytes(content[:100])
    settings = ("perturbation", "method=rollout", f"dataset.path={tmp_path / 'imagenet'}", "batch_size=2")
    config = configure(*settings, "on_bad_sample=skip", "shards=2", "shard=0")
    run(config)
    image.write_bytes(content)
    run(config | {"on_bad_sample": "stop"})
    run(config | {"on_bad_sample": "stop", "shard": 1})
    record = record_of(config)
    assert record["samples"] == 9
    assert "skipped" not in record


def test_nothing_but_bad_samples_is_an_error(configure, root, tmp_path):
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    for image in (tmp_path / "imagenet" / "val").rglob("*.JPEG"):
        image.write_bytes(b"")
    data = f"dataset.path={tmp_path / 'imagenet'}"
    config = configure("perturbation", "method=rollout", data, "on_bad_sample=skip")
    with pytest.raises(BenchError, match="cannot be decoded"):
        run(config)


def hold(path, ready, release):
    with claimed(path, wait=False):
        ready.set()
        release.wait(30)


def test_a_cell_that_another_process_is_at_is_left_or_waited_for(configure, processes, capsys):
    config = configure(*OWN)
    lock = cell_of(config).lock_file("0-of-1")
    ready, release = processes.Event(), processes.Event()
    process = processes.Process(target=hold, args=(lock, ready, release))
    process.start()
    ready.wait(30)
    assert is_claimed(lock)
    with pytest.raises(BusyError, match=f"process {process.pid} on"), claimed(lock, wait=False):
        pass
    assert run(config) is None
    assert f"left to process {process.pid}" in capsys.readouterr().err
    assert not [cell for cell in cells_of(config).values() if cell.failure()]  # to be left is not to fail
    threading.Timer(3, release.set).start()
    assert run(config | {"on_busy": "wait"}) is not None
    assert "waiting for process" in capsys.readouterr().err
    process.join()
    assert not is_claimed(lock)


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path, processes):
    lock = tmp_path / "some.lock"
    ready, release = processes.Event(), processes.Event()
    process = processes.Process(target=hold, args=(lock, ready, release))
    process.start()
    ready.wait(30)
    process.kill()
    process.join()
    assert not is_claimed(lock)
    with claimed(lock, wait=False):
        pass


def sweep(configs, answer):
    torch.set_num_threads(1)
    answer.put([run(config) is not None for config in configs])


def test_the_same_sweep_twice_at_once_computes_each_cell_once(configure, tmp_path, processes):
    configs = [configure("segmentation", "method=rollout", SLOW, f"seed={n}") for n in range(3)]
    answer = processes.Queue()
    both = [processes.Process(target=sweep, args=(configs, answer)) for _ in range(2)]
    for process in both:
        process.start()
    done = [answer.get(timeout=60) for _ in both]
    for process in both:
        process.join()
    assert [sum(each) for each in zip(*done, strict=True)] == [1, 1, 1]
    for config in configs:
        assert finished(config) == {"maps", "mask_overlap"}
        assert len(rows_of(config)) == len(rows_of(config, "maps")) == 4


def test_two_tasks_of_one_explanation_at_once_explain_it_once(configure, tmp_path, processes):
    """The second waits for the maps, whose keeper it needs, whatever it does about busy cells."""
    thresholds = [configure(*OWN, SLOW, f"protocol.segmentation.threshold={t}") for t in (0.3, 0.6)]
    answer = processes.Queue()
    both = [processes.Process(target=sweep, args=([config], answer)) for config in thresholds]
    for process in both:
        process.start()
    assert [answer.get(timeout=120) for _ in both] == [[True], [True]]
    for process in both:
        process.join()
    for config in thresholds:
        assert finished(config) == {"maps", "mask_overlap"}
    assert cell_of(thresholds[0], "maps").rows_file == cell_of(thresholds[1], "maps").rows_file
    assert not [cell for c in thresholds for cell in cells_of(c).values() if cell.work_folder.exists()]


def test_many_methods_at_once_share_the_predictions(configure, processes):
    """Each makes them if it needs them, nobody waits for another, and none fails."""
    settings = ("perturbation", "batch_size=1", "save_every=0", "protocol.perturbation.steps=[0,0.5]")
    methods = ("rollout", "raw_attention", "random")
    configs = [configure(*settings, f"method={method}") for method in methods]
    answer = processes.Queue()
    every = [processes.Process(target=sweep, args=([config], answer)) for config in configs]
    for process in every:
        process.start()
    assert [answer.get(timeout=120) for _ in every] == [[True]] * 3
    for process in every:
        process.join()
    for config in configs:
        assert finished(config) == {"maps", "predictions", "masking"}
        assert len(rows_of(config, "predictions")) == 9
    assert len(table(configs[0]).shown) == 3


def test_disk_errors_keep_their_reason(configure, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BenchError, match=r"No space left on device.*free some space"):
        run(configure(*OWN))
