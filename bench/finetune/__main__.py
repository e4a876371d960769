"""Fine-tune a classifier of texts by the recipe of the paper: ``python -m bench.finetune``.

A run that was killed goes on when it is started again, with the same result as if it had not been.

  python -m bench.finetune                                       movie reviews, bert-base-uncased from the hub
  python -m bench.finetune start=/models/bert output=/models/bert_movies
  python -m bench.finetune dataset=fever dataset.path=/data/fever    claims and documents, as pairs of texts
"""

import sys

import hydra
from omegaconf import DictConfig

import bench  # noqa: F401  first: see its docstring
from bench._own_packages import working_directory_last
from bench.catalogue import CONF
from bench.cli import exit_codes, tell


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="finetune")
def main(cfg: DictConfig) -> None:
    """Fine-tune; a user's mistake ends it with a message and exit code 2."""
    from bench.config import plain  # --help needs nothing of what computes
    from bench.finetune.training import finetune

    with exit_codes():
        finetune(plain(cfg))


def command_line() -> None:
    """Fine-tune as the command line says."""
    working_directory_last()
    if {"-h", "--help"} & set(sys.argv[1:]):
        from bench.usage import usage

        tell(usage(__doc__, "finetune", groups=("dataset",)))
        return
    with exit_codes():
        main()


if __name__ == "__main__":
    command_line()
