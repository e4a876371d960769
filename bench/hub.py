"""The Hugging Face hub, where models and data sets come from that are not on this machine."""

from pathlib import Path
from typing import Any

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


def pretrained(kind: Any, path: str, local: bool, **options: Any) -> tuple[Any, dict[str, Any]]:
    """What a class of transformers' loads from a path, and what it says of the weights.

    No code of the files' own is run, no pickle is read, and no bar is drawn for weights that are read from a disk.

    Args:
        kind: such as ``AutoModelForImageClassification``.
        path: a directory, or a name on the hub.
        local: whether it is a directory (:func:`is_directory`).
        options: of its ``from_pretrained``.
    """
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return kind.from_pretrained(
            path,
            local_files_only=local,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
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
