"""Command line: ``python -m bench task=segmentation method=rollout``; ``--help`` lists every choice."""

import multiprocessing
import shutil
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import bench  # noqa: F401  first: see its docstring
from bench._own_packages import working_directory_last
from bench.catalogue import CONF
from bench.config import resolved, with_metrics
from bench.errors import BenchError
from bench.runner import sweep
from bench.runner.cell import run

USER_MISTAKE = 2  # exit code


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="bench")
def main(cfg: DictConfig) -> dict[str, float] | None:
    """Run one cell; with ``-m`` those of a sweep, whatever becomes of any of them."""
    working_directory_last()  # in a process that a launcher started, too
    sweep.keep_signals()
    if multiprocessing.get_start_method() == "loky":
        # joblib's own way to start processes, in which those that load data cannot be started.
        multiprocessing.set_start_method(None, force=True)
    try:
        return run(resolved(cfg))
    except BenchError as e:
        _say(e)
        if not sweep.current():
            sys.exit(USER_MISTAKE)
        _report(str(e))
        return None
    except Exception as e:
        if sweep.current():
            _report(f"{type(e).__name__}: {e}")
        raise


def _say(error: Exception | str) -> None:
    print(f"error: {error}", file=sys.stderr)


def _report(failure: str) -> None:
    job = HydraConfig.get()
    sweep.report(job.job.num, f"{' '.join(job.overrides.task)}: {failure}")


def _accept_metrics() -> None:
    """Turn ``+metric=NAME`` and ``metric._target_=…`` on the command line into what hydra takes."""
    try:
        sys.argv[1:] = with_metrics(sys.argv[1:])
    except BenchError as e:
        _say(e)
        sys.exit(USER_MISTAKE)


def run_sweep() -> None:
    """Run the cells of a sweep. At the end say which of them failed and why; then the exit code is not 0."""
    if "hydra/launcher=slurm" in sys.argv and not shutil.which("sbatch"):
        _say("hydra/launcher=slurm: there is no sbatch here; start it where jobs can be submitted")
        sys.exit(USER_MISTAKE)
    sweep.begin()
    try:
        main()
    finally:
        failed = sweep.failures()
        if failed:
            print(f"\n{len(failed)} of the sweep's jobs failed:", *failed, sep="\n", file=sys.stderr)
    if failed:
        sys.exit(USER_MISTAKE)


def command_line() -> None:
    """Run what the command line names: a cell, a sweep, or an explanation of one's own sample."""
    working_directory_last()
    if sys.argv[1:2] == ["explain"]:
        from bench.explain.cli import main as explain

        sys.exit(explain(sys.argv[2:]))
    _accept_metrics()
    if {"-m", "--multirun"}.intersection(sys.argv):
        run_sweep()
    else:
        sweep.leave()
        main()


if __name__ == "__main__":
    command_line()
