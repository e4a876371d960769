"""Launchers: their settings, and sweeps whose jobs run in other processes."""

import os
import re
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins

from bench.config import CONF
from bench.runner import sweep
from tests.support.sweeps import ROOT, measured, started


def launcher(*overrides):
    """The launcher's settings, and the launcher."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("bench", overrides=["method=rollout", *overrides], return_hydra_config=True)
    settings = cfg.hydra.launcher
    made = Plugins.instance().instantiate_launcher(hydra_context=None, task_function=None, config=cfg)
    return settings, made


def test_slurm_takes_its_settings_from_the_command_line():
    partition = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=5"]
    settings, made = launcher(*partition, "+hydra.launcher.additional_parameters.exclude=n7")
    assert made.params["partition"] == settings.partition == "gpu"
    assert made.params["timeout_min"] == 5
    assert made.params["additional_parameters"] == {"exclude": "n7"}
    assert made.params["submitit_folder"] == "outputs/slurm"


@pytest.mark.parametrize(("code", "queued"), [(0, False), (1, False), (138, True), (140, True), (137, False)])
def test_a_job_that_dies_of_a_clusters_signal_is_queued_again(tmp_path, code, queued):
    """As the lines that Slurm runs around a job do, whose Python was told before it could listen."""
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "scontrol").chmod(0o755)
    settings, _ = launcher("hydra/launcher=slurm")
    script = "\n".join([*settings.setup, f"sh -c 'exit {code}'"])
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout == ("requeue 17\n" if queued else "")


def test_submitit_takes_all_settings_of_slurm(tmp_path, monkeypatch):
    from submitit import AutoExecutor
    from submitit.slurm.slurm import SlurmExecutor

    monkeypatch.setattr(SlurmExecutor, "affinity", classmethod(lambda cls: 2))  # as if srun were here
    submitted = {}

    def no_submission(self, function, *arguments):
        submitted.update(self._executor.parameters, max_num_timeout=self._executor.max_num_timeout)
        return []

    monkeypatch.setattr(AutoExecutor, "map_array", no_submission)
    _, made = launcher("hydra/launcher=slurm", f"hydra.sweep.dir={tmp_path}")
    made.launch([["method=rollout"]], 0)
    assert submitted["gpus_per_node"] == 1
    assert submitted["max_num_timeout"] > 0


def test_local_starts_as_many_processes_as_the_machine_takes(monkeypatch):
    monkeypatch.setattr("bench.runner.resources.processes", lambda: 3)
    assert launcher("hydra/launcher=local")[1].joblib["n_jobs"] == 3
    assert launcher("hydra/launcher=local", "hydra.launcher.n_jobs=5")[1].joblib["n_jobs"] == 5


def test_composing_looks_for_no_gpu():
    code = (
        "from bench.config import configuration; import bench.config as c; import sys;"
        "configuration(['hydra/launcher=local']); print('bench.runner.resources' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_messages_of_failed_jobs_reach_the_process_that_started_the_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(sweep.VARIABLE, "")
    sweep.begin()
    for job, failure in ((10, "b"), (2, "old"), (2, "a")):
        sweep.report(job, failure)
    other = sweep.current()
    sweep.begin()
    assert sweep.current() != other
    assert sweep.failures() == []
    monkeypatch.setenv(sweep.VARIABLE, other)
    assert sweep.failures() == ["a", "b"]
    assert not list(tmp_path.glob("outputs/failed/*"))


def test_forked_processes_leave_the_signals_of_a_cluster_to_their_parent():
    code = (
        "import os, signal; from bench.runner import sweep;"
        "signal.signal(signal.SIGUSR2, lambda *_: print('queued again', flush=True));"
        "sweep.keep_signals(); sweep.keep_signals(); child = os.fork();"
        "os.kill(os.getpid(), signal.SIGUSR2); os._exit(0) if child == 0 else os.waitpid(child, 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "queued again\n"


def test_a_machine_without_slurm_is_named(root, tmp_path):
    done = started(tmp_path, root, "hydra/launcher=slurm", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: hydra/launcher=slurm: there is no sbatch here")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_local_processes_share_a_sweep_and_say_what_was_refused(root, tmp_path):
    cells = ["method=gradcam,lrp", "explained=target,predicted", "wandb.mode=offline", "num_workers=1"]
    done = started(tmp_path, root, *cells, "hydra/launcher=local", "hydra.launcher.n_jobs=2")
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    *_, heading, first, second = done.stderr.strip().splitlines()
    assert heading == "2 of the sweep's cells were refused before it started:"
    for line, method in ((first, "gradcam"), (second, "lrp")):
        assert f"method={method}" in line
        assert "explained=target: this data set has no annotated classes" in line
    assert measured(tmp_path) == 2
    configurations = [file.read_bytes() for file in tmp_path.glob("wandb/offline-run-*/*.wandb")]
    groups = {re.search(rb"\d{8}-\d{6}-[0-9a-f]{6}", text).group() for text in configurations}
    assert len(configurations) == 2
    assert len(groups) == 1


def test_an_unexpected_error_stops_no_other_cell(root, tmp_path):
    broken = "class Broken:\n    def __call__(self, *_, **__):\n        raise KeyError('x')\n"
    (tmp_path / "broken.py").write_text(broken)
    methods = ["method=custom", "method._target_=broken.Broken,methods.Rollout"]
    done = started(tmp_path, root, *methods, "explained=predicted")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("KeyError: 'x'")
    assert measured(tmp_path) == 1
