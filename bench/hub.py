"""The Hugging Face hub, where models and data sets come from that are not on this machine."""

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
