"""Everything that is found of what a command line names."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.check.findings import Findings
from bench.check.of_data import check_dataset
from bench.check.of_method import check_method
from bench.check.of_model import check_model
from bench.check.of_task import check_task
from bench.config import configuration, quoted
from bench.errors import BenchError

SUBJECTS = ("dataset", "model", "method", "metric", "task")
IMAGES, TEXTS = "segmentation", "token_f1"  # tasks, whose embedded data are used unless others are named


def findings(arguments: Sequence[str]) -> Findings:
    """Everything found of what a command line names.

    Raises:
        BenchError: if it names nothing, or cannot be composed.
    """
    named = {a.lstrip("+").partition("=")[0].partition(".")[0] for a in arguments if "=" in a}
    subjects = [subject for subject in SUBJECTS if subject in named]
    if subjects == ["task"] or "task" not in subjects:
        chosen = subjects
    else:  # beside something else it only says on which data
        chosen = [subject for subject in subjects if subject != "task"]
    if not chosen:
        raise BenchError(
            f"check: name what to check with one or more of {', '.join(f'{s}=…' for s in SUBJECTS)}"
        )
    found = Findings()
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        given = [f"paths.results={quoted(Path(folder) / 'results')}", *arguments]
        if not any(a.startswith("limit=") for a in arguments):
            given.insert(0, "limit=4")
        if not any(a.startswith("method=") for a in arguments) and "method" in subjects:
            given.insert(0, "method=custom")
        tasks = [] if "task" in subjects else [f"task={IMAGES}"]
        for subject in chosen:
            _check(
                subject, [*tasks, *given], found, both="task" not in subjects and "dataset" not in subjects
            )
    return found


def _check(subject: str, arguments: Sequence[str], found: Findings, both: bool) -> None:
    """Check one subject.

    Args:
        both: images and texts, where it may be of either.
    """
    if subject == "dataset":
        check_dataset(configuration(arguments), found)
    elif subject == "model":
        check_model(configuration(arguments), found)
    elif subject == "method":
        both = both and not any(a.startswith("model") for a in arguments)
        for task in (IMAGES, TEXTS) if both else (None,):
            check_method(configuration([*arguments, *([f"task={task}"] if task else [])]), found)
    else:
        check_task(arguments, found, only_own=subject == "metric")
