"""The settings of how a cell is run (``conf/bench.yaml``). Tasks, data, models and methods check theirs."""

from typing import Any

from bench.errors import BenchError
from bench.runner import tracking

HINTS = {
    "batch_size": ", or auto",
    "limit": ", or null",
    "subset": ", or null",
    "most_passes": ", or null",
    "seed": " and below 2^32",
}


def check(config: dict[str, Any]) -> None:
    """Raises BenchError for a setting out of range, naming it."""
    words = {"batch_size": "auto", "limit": None, "subset": None, "most_passes": None}
    for key, least in (
        ("batch_size", 1),
        ("limit", 1),
        ("subset", 1),
        ("most_passes", 1),
        ("seed", 0),
        ("num_workers", 0),
        ("shards", 1),
        ("shard", 0),
        ("save_every", 0),
    ):
        value = config[key]
        if key in words and value == words[key]:
            continue
        if type(value) is not int or not least <= value < 2**32:  # numpy takes no larger seed
            hint = HINTS.get(key, "")
            raise BenchError(f"{key}={value}: expected a whole number, {least} or more{hint}")
    if not isinstance(config["rerun"], bool):
        raise BenchError(f"rerun={config['rerun']}: expected true or false")
    for key, choices in (
        ("explained", ("predicted", "target")),
        ("on_bad_sample", ("stop", "skip")),
        ("on_long_text", ("cut", "refuse")),
        ("on_busy", ("skip", "wait")),
        ("on_refusal", ("skip", "stop", "later")),
        ("keep", ("tokens", "pixels", "none")),
    ):
        if config[key] not in choices:
            raise BenchError(f"{key}={config[key]}: expected {', '.join(choices[:-1])} or {choices[-1]}")
    if config["shard"] >= config["shards"]:
        raise BenchError(
            f"shard={config['shard']}: of shards={config['shards']} the last is {config['shards'] - 1}"
        )
    if config["rerun"] and config["shards"] > 1:
        raise BenchError("rerun=true: a shard cannot do a cell again; delete the cell's files instead")
    tracking.check(config["wandb"])
