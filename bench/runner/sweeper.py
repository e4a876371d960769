"""The jobs of a sweep: all combinations of its choices, but for those that are stored already or cannot be computed."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from omegaconf import DictConfig, OmegaConf

from bench.cli import USER_MISTAKE, progress, say
from bench.errors import BenchError
from bench.runner import sweep

SHOWN = 12  # refusals at the beginning; all of them are shown at the end


@contextmanager
def looking_ahead() -> Iterator[None]:
    """Let hydra's sweeper hand the launcher those jobs alone that are to be computed.

    Its two methods are replaced meanwhile. A sweeper of our own would have to be installed as a package of the
    namespace that hydra takes plugins from.
    """
    own = BasicSweeper.split_arguments

    def split_arguments(self: BasicSweeper, overrides: Any, size: int | None) -> list[list[list[str]]]:
        ((*jobs,),) = own(overrides, None)
        left = _left(self, jobs)
        return list(self.split_overrides_to_chunks(left, size)) if left else []

    def validate_batch_is_legal(self: BasicSweeper, batch: Any) -> None:
        """Nothing: what cannot be composed was found while looking at it."""

    replaced = {"split_arguments": split_arguments, "validate_batch_is_legal": validate_batch_is_legal}
    before = {name: vars(BasicSweeper).get(name) for name in replaced}
    for name, function in replaced.items():
        setattr(BasicSweeper, name, function)
    try:
        yield
    finally:
        for name, function in before.items():
            if function is None:  # inherited
                delattr(BasicSweeper, name)
            else:
                setattr(BasicSweeper, name, function)


def _left(sweeper: BasicSweeper, jobs: list[list[str]]) -> list[list[str]]:
    """The jobs that are left to do, each a list of overrides; says which are refused, and maybe ends the process."""
    if sweeper.config.on_refusal == "later":
        for job in jobs:
            _composed(sweeper, job)
        sweep.begin_jobs(names_of(jobs), [1.0] * len(jobs))
        return jobs
    left, costs, refused = _looked_at(sweeper, jobs)
    if refused:
        announce(refused, len(jobs))
        sweep.refuse(refused)
        if sweeper.config.on_refusal == "stop":
            say("error: nothing was run, as on_refusal=stop")
            sys.exit(USER_MISTAKE)
    sweep.begin_jobs([name for job, name in zip(jobs, names_of(jobs), strict=True) if job in left], costs)
    return left


def _looked_at(
    sweeper: BasicSweeper, jobs: list[list[str]]
) -> tuple[list[list[str]], list[float], list[str]]:
    """The jobs that are left, what each costs, and why others are refused."""
    from bench.runner.preflight import Preflight

    preflight, left, costs, refused = Preflight(), [], [], []
    with progress("looking at what fits", len(jobs), "cell", bar=False) as advance:
        for job, name in zip(jobs, names_of(jobs), strict=True):
            try:
                verdict = preflight.look(_resolved(sweeper, job))
            except BenchError as e:
                refused.append(f"{name}: {e}")
            else:
                if verdict.refused is not None:
                    refused.append(f"{name}: {verdict.refused}")
                elif verdict.left:
                    left.append(job)
                    costs.append(verdict.cost)
            advance()
    return left, costs, refused


def names_of(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The jobs for a reader: those of their overrides in which they differ."""
    common = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
    return [" ".join(override for override in job if override not in common) or " ".join(job) for job in jobs]


def _composed(sweeper: BasicSweeper, job: list[str]) -> DictConfig:
    return sweeper.hydra_context.config_loader.load_sweep_config(sweeper.config, list(job))


def _resolved(sweeper: BasicSweeper, job: list[str]) -> dict[str, Any]:
    """The configuration of a job as the job itself resolves it."""
    from bench.config import resolved

    cfg = _composed(sweeper, job)
    own = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    return resolved(own, list(cfg.hydra.overrides.task))


def announce(refused: Sequence[str], jobs: int) -> None:
    """Say before anything runs which cells are left out, and why."""
    say(f"{len(refused)} of the sweep's {jobs} cells cannot be computed and are left out:")
    for text in refused[:SHOWN]:
        say(f"  {text}")
    if len(refused) > SHOWN:
        say(f"  … and {len(refused) - SHOWN} more, which the end of the sweep lists")
