"""The Hugging Face hub, where models and data sets come from that are not on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError

TIMEOUT = 5.0  # seconds


def reach_hub(wanted: str, remedy: str) -> None:
    """Say in seconds that the hub cannot be reached; its clients would try for half a minute and more.

    With ``HF_HUB_OFFLINE=1`` nothing is checked: what is wanted may be in the cache.

    Raises:
        BenchError: ``wanted`` names what it was needed for, ``remedy`` what to do instead.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # of an HTTP client that differs between versions of huggingface_hub
        raise BenchError(
            f"{wanted}, and the Hugging Face hub ({constants.ENDPOINT}) cannot be reached ({error}). "
            f"{remedy}, or set HF_HUB_OFFLINE=1 to use a copy in the cache."
        ) from error


@contextmanager
def without_bars() -> Iterator[None]:
    """transformers draws no bar meanwhile for weights that are read from a disk, and does again if it did before."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def is_directory(key: str, path: str, content: str) -> bool:
    """Whether a model's path is a directory; if not, it is the name of one on the hub, which can be reached.

    Raises:
        BenchError: naming the ``key`` of the configuration if it can be neither; ``content`` says what a
            directory holds.
    """
    if Path(path).is_dir():
        return True
    if path.count("/") > 1 or path.startswith((".", "/", "~")) or Path(path).exists():
        raise BenchError(
            f"{key}: there is no directory {path}; expected one with {content}, or the name of a model "
            "on the hub"
        )
    reach_hub(f"{key}: there is no directory {path}", "Give the directory of a model")
    return False
