"""Explain models, score the maps, keep the rows: ``python -m bench task=segmentation method=rollout``.

One cell is task × data set × model × method × explained class; -m before several choices sweeps over them.

  python -m bench task=segmentation method=rollout
  python -m bench -m experiment=table1 suite=small_real     all cells of a published table
  python -m bench explain photo.jpg                         one sample of your own (explain --help)
  python -m bench.tables suite=small_real                   tables from the finished cells
  python -m bench.status suite=small_real                   what is done, running and missing

A setting of what is chosen is NAME.KEY=VALUE, e.g. method.start_layer=0 or
protocol.perturbation.fill=mean; +NAME.KEY=VALUE adds one. -m NAME=A,B runs all combinations, one after the
other or with hydra/launcher=local or slurm side by side. --config-dir FOLDER adds choices of your own.
"""

# What computes is imported where it is used: --help is for those who want to know what there is.
import shutil
import sys
import time
from importlib.util import find_spec

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import bench  # noqa: F401  first: see its docstring
from bench._own_packages import working_directory_last
from bench.catalogue import CONF
from bench.cli import USER_MISTAKE, exit_codes, say, tell
from bench.errors import BenchError

# What launchers need that only some install, with the extra [cluster].
PLUGINS = {
    "local": "hydra_plugins.hydra_joblib_launcher",
    "slurm": "hydra_plugins.hydra_submitit_launcher",
}


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="bench")
def main(cfg: DictConfig) -> dict[str, float] | None:
    """Run one cell; with ``-m`` those of a sweep, whatever becomes of any of them."""
    import multiprocessing

    from bench.config import resolved
    from bench.runner import sweep
    from bench.runner.cell import run

    working_directory_last()  # in a process that a launcher started, too
    sweep.keep_signals()
    if multiprocessing.get_start_method() == "loky":
        # joblib's own way to start processes, in which those that load data cannot be started.
        multiprocessing.set_start_method(None, force=True)
    started = time.monotonic()
    try:
        summary = run(resolved(cfg, HydraConfig.get().overrides.task))
    except BenchError as e:
        say(f"error: {e}")
        if not sweep.current():
            sys.exit(USER_MISTAKE)
        _report(str(e))
        summary = None
    except Exception as e:
        if sweep.current():
            _report(f"{type(e).__name__}: {e}")
        raise
    if sweep.current():
        how_far = sweep.done(HydraConfig.get().job.num, time.monotonic() - started)
        if how_far is not None:
            say(how_far)
    return summary


def _report(failure: str) -> None:
    from bench.runner import sweep

    job = HydraConfig.get()
    sweep.report(job.job.num, f"{' '.join(job.overrides.task)}: {failure}")


def _is_installed(plugin: str) -> bool:
    # The package around it is not there either where no plugin is.
    return all(find_spec(name) is not None for name in (plugin.partition(".")[0], plugin))


def run_sweep() -> None:
    """Run the cells of a sweep.

    At the end say which of them were refused before it started, which failed, and why; then the exit code is not 0.
    """
    from bench.runner import sweep, sweeper

    for launcher, plugin in PLUGINS.items():
        if f"hydra/launcher={launcher}" in sys.argv and not _is_installed(plugin):
            raise BenchError(
                f"hydra/launcher={launcher}: what it needs is not installed; "
                "pip install 'transformer-explanation-bench[cluster]'"
            )
    if "hydra/launcher=slurm" in sys.argv and not shutil.which("sbatch"):
        raise BenchError(
            "hydra/launcher=slurm: there is no sbatch here; start it where jobs can be submitted"
        )
    sweep.begin()
    try:
        with sweeper.looking_ahead():
            main()
    finally:
        failed, refused = sweep.failures(), sweep.refusals()
        sweep.end_jobs()
        if refused:
            said = f"\n{len(refused)} of the sweep's cells were refused before it started:"
            print(said, *refused, sep="\n", file=sys.stderr)
        if failed:
            print(f"\n{len(failed)} of the sweep's jobs failed:", *failed, sep="\n", file=sys.stderr)
    if failed or refused:
        sys.exit(USER_MISTAKE)


def command_line() -> None:
    """Run what the command line names: a cell, a sweep, or an explanation of one's own sample."""
    working_directory_last()
    if sys.argv[1:2] == ["explain"]:
        from bench.explain.cli import main as explain

        with exit_codes():
            sys.exit(explain(sys.argv[2:]))
    if {"-h", "--help"} & set(sys.argv[1:]):
        from bench.usage import usage

        tell(usage(__doc__, "bench"))
        return
    with exit_codes():
        from bench.config import checked

        # Turns ``+metric=NAME`` and ``metric._target_=…`` into what hydra takes, too.
        sys.argv[1:] = checked(sys.argv[1:])
        if {"-m", "--multirun"}.intersection(sys.argv):
            run_sweep()
        else:
            from bench.runner import sweep

            sweep.leave()
            main()


if __name__ == "__main__":
    command_line()
