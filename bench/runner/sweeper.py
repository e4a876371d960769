"""The jobs of a sweep: all combinations of its choices, but for those that are stored already or cannot be computed."""

import sys
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from bench.cli import USER_MISTAKE, progress, say
from bench.errors import BenchError
from bench.runner import sweep

SHOWN = 12  # refusals at the beginning; all of them are shown at the end


class Sweeper(BasicSweeper):
    """Hydra's sweeper, which looks at the cells before the launcher gets those that are to be computed."""

    def split_arguments(self, overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The jobs, each a list of overrides, in batches of at most so many; none if nothing is left to do."""
        ((*jobs,),) = BasicSweeper.split_arguments(overrides, None)
        jobs = self._left(jobs)
        return list(self.split_overrides_to_chunks(jobs, max_batch_size)) if jobs else []

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: a job that cannot be composed was found while looking at it."""

    def _left(self, jobs: list[list[str]]) -> list[list[str]]:
        what = self.config.on_refusal
        if what == "later":
            for job in jobs:
                self._composed(job)
            sweep.begin_jobs([" ".join(job) for job in jobs], [1.0] * len(jobs))
            return jobs
        left, costs, refused = self._looked_at(jobs)
        if refused:
            announce(refused, len(jobs))
            sweep.refuse(refused)
            if what == "stop":
                say("error: nothing was run, as on_refusal=stop")
                sys.exit(USER_MISTAKE)
        sweep.begin_jobs([" ".join(job) for job in left], costs)
        return left

    def _looked_at(self, jobs: list[list[str]]) -> tuple[list[list[str]], list[float], list[str]]:
        """The jobs that are left, what each costs, and why others are refused."""
        from bench.runner.preflight import Preflight

        preflight, left, costs, refused = Preflight(), [], [], []
        with progress("looking at what fits", len(jobs), "cell") as advance:
            for job in jobs:
                try:
                    verdict = preflight.look(self._resolved(job))
                except BenchError as e:
                    refused.append(f"{' '.join(job)}: {e}")
                else:
                    if verdict.refused is not None:
                        refused.append(f"{' '.join(job)}: {verdict.refused}")
                    elif verdict.left:
                        left.append(job)
                        costs.append(verdict.cost)
                advance()
        return left, costs, refused

    def _composed(self, job: list[str]) -> DictConfig:
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(job))

    def _resolved(self, job: list[str]) -> dict[str, Any]:
        """The configuration of a job as the job itself resolves it."""
        from bench.config import resolved

        cfg = self._composed(job)
        own = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
        return resolved(own, list(cfg.hydra.overrides.task))


# Hydra takes plugins of its own namespace alone.
Sweeper.__module__, Sweeper.__qualname__ = "hydra_plugins.bench", "Sweeper"


def register() -> None:
    """Let hydra find the sweeper."""
    Plugins.instance().register(Sweeper)


def announce(refused: Sequence[str], jobs: int) -> None:
    """Say before anything runs which cells are left out, and why."""
    say(f"{len(refused)} of the sweep's {jobs} cells cannot be computed and are left out:")
    for text in refused[:SHOWN]:
        say(f"  {text}")
    if len(refused) > SHOWN:
        say(f"  … and {len(refused) - SHOWN} more, which the end of the sweep lists")
