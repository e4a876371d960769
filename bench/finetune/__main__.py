"""Fine-tune the text classifier of the paper: ``python -m bench.finetune``; ``--help`` lists all settings."""

import sys

import hydra
from omegaconf import DictConfig

import bench  # noqa: F401  first: see its docstring
from bench._own_packages import working_directory_last
from bench.catalogue import CONF
from bench.cli import say
from bench.config import plain
from bench.errors import BenchError
from bench.finetune.training import finetune


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="finetune")
def main(cfg: DictConfig) -> None:
    """Fine-tune; a user's mistake ends it with a message and exit code 2."""
    try:
        finetune(plain(cfg))
    except BenchError as e:
        say(f"error: {e}")
        sys.exit(2)


if __name__ == "__main__":
    working_directory_last()
    main()
