"""Which device a process gets on a machine with several GPUs, which this one need not be."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import bench
from bench.errors import BenchError
from bench.runner import resources as devices

ROOT = Path(bench.__file__).resolve().parent.parent
# What a process of ours does on a machine with GPUs of these UUIDs; it lives until its input is closed.
CLAIM = """
import sys, tempfile, types, torch
from bench.runner import resources as devices
uuids = sys.argv[2:]
tempfile.tempdir = sys.argv[1]
torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: len(uuids)
torch.cuda.get_device_properties = lambda index: types.SimpleNamespace(uuid=uuids[index])
torch.empty = lambda *_, **__: None
print(devices.device_of("auto"), flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(folder, *uuids):
    """Yields the device that it got."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder), *uuids],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Give this process GPUs of these UUIDs, and claims and a temp folder of its own."""

    def gpus(*uuids):
        monkeypatch.setattr(devices, "_claims", {})
        monkeypatch.setattr(devices.tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(uuids))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=uuids[index])
        )
        monkeypatch.setattr(torch, "empty", lambda *_, **__: None)

    return gpus


def test_without_gpus_it_is_the_cpu_and_one_gpu_is_not_claimed(gpus, tmp_path):
    gpus()
    assert devices.device_of("auto") == torch.device("cpu")
    gpus("a")
    assert devices.device_of("auto") == torch.device("cuda")
    assert not list(tmp_path.iterdir())


def test_a_process_keeps_its_gpu(gpus):
    gpus("a", "b")
    assert [devices.device_of("auto") for _ in range(2)] == [torch.device("cuda:0")] * 2


def test_each_process_gets_a_gpu_of_its_own_until_it_ends(gpus, tmp_path):
    with another_process(tmp_path, "a", "b") as first:
        assert first == "cuda:0"
        gpus("a", "b")
        assert devices.device_of("auto") == torch.device("cuda:1")
        # The same two, as CUDA_VISIBLE_DEVICES may order them, beside one that is free.
        gpus("b", "a", "c")
        assert devices.device_of("auto") == torch.device("cuda:2")
    gpus("a", "b")
    assert devices.device_of("auto") == torch.device("cuda:0")


def test_when_all_are_claimed_they_are_shared(gpus, tmp_path, monkeypatch):
    with another_process(tmp_path, "a", "b"), another_process(tmp_path, "a", "b") as second:
        assert second == "cuda:1"
        for pid, expected in ((10, "cuda:0"), (11, "cuda:1")):
            gpus("a", "b")
            monkeypatch.setattr(devices.os, "getpid", lambda pid=pid: pid)
            assert devices.device_of("auto") == torch.device(expected)


def test_a_device_that_is_named_is_taken_as_it_is(gpus, tmp_path):
    gpus("a", "b")
    assert devices.device_of("cuda:1") == torch.device("cuda:1")
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(BenchError, match="device=cuda:99"):
        devices.device_of("cuda:99")


@pytest.mark.parametrize(("cores", "processes"), [(2, 1), (4, 1), (17, 4)])
def test_a_machine_takes_a_process_per_gpu_or_per_four_cores(gpus, monkeypatch, cores, processes):
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: range(cores))
    gpus()
    assert devices.processes() == processes
    gpus("a", "b", "c")
    assert devices.processes() == 3


def test_the_commit_is_known_though_a_cluster_signals_all_processes_of_a_job(tmp_path, monkeypatch):
    """Git among them, which dies of it."""
    git = tmp_path / "git"
    killed = tmp_path / "killed"
    log = 'case "$*" in *log*) echo abc;; esac'
    git.write_text(f"#!/bin/sh\n[ -e {killed} ] && {{ {log}; exit; }}\ntouch {killed}\nkill -USR2 $$\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    devices.versions.cache_clear()
    try:
        assert devices.versions()["commit"] == "abc"
    finally:
        devices.versions.cache_clear()
    assert killed.exists()
