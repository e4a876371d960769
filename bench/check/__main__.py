"""Check something of your own before a run: ``python -m bench.check method=mine``, on tiny data.

Takes one or more of

  method=NAME, method._target_=package.Name      on images and on texts, or with task=… on one of these
  metric=NAME, metric._target_=package.Name      with the data of task=… (by default segmentation)
  task=NAME, dataset=NAME, model=NAME

and any further override of ``python -m bench``; ``--config-dir FOLDER`` names a folder of your own choices. A line is
printed for each check: shapes, finite numbers, a batch that gives what its samples give one by one, a model and
inputs that stay as they were, what it costs, what it says to mistakes. The exit code is 1 if one failed. ``--json``
prints the lines as JSON. Nothing is kept.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from bench.check.findings import Findings
from bench.check.of_data import check_dataset
from bench.check.of_method import check_method
from bench.check.of_model import check_model
from bench.check.of_task import check_task
from bench.cli import command_line, show, tell
from bench.config import configuration, quoted
from bench.errors import BenchError

SUBJECTS = ("dataset", "model", "method", "metric", "task")
IMAGES, TEXTS = "segmentation", "token_f1"  # tasks, whose embedded data are used unless others are named
MARKS = {True: "ok", False: "failed", None: "note"}


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


def main(arguments: Sequence[str]) -> None:
    """Print what was found, and end the process with 1 if a check failed.

    Raises:
        BenchError: as :func:`findings`.
    """
    found = findings([a for a in arguments if a != "--json"])
    if "--json" in arguments:
        tell(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))
    else:
        lines = [[MARKS[one.passed], one.subject, one.check, one.text] for one in found]
        columns = ["", "what", "check", "found"]
        show(pd.DataFrame(lines, columns=columns).to_markdown(index=False, disable_numparse=True))
        tell(f"\n{len(found.failed)} of {len([o for o in found if o.passed is not None])} checks failed")
    if found.failed:
        sys.exit(1)


if __name__ == "__main__":
    command_line(main)
