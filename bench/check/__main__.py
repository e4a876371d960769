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
from collections.abc import Sequence
from dataclasses import asdict

from bench.cli import command_line, show, tell

MARKS = {True: "ok", False: "failed", None: "note"}


def main(arguments: Sequence[str]) -> None:
    """Print what was found, and end the process with 1 if a check failed.

    Raises:
        BenchError: as :func:`bench.check.program.findings`.
    """
    import pandas as pd  # --help needs nothing of these

    from bench.check.program import findings

    found = findings([a for a in arguments if a != "--json"])
    if "--json" in arguments:
        tell(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))
    else:
        lines = [[MARKS[one.passed], one.subject, one.check, one.text] for one in found]
        columns = ["", "what", "check", "found"]
        show(pd.DataFrame(lines, columns=columns).to_markdown(index=False, disable_numparse=True))
        tell(f"\n{len(found.failed)} of {len([o for o in found if o.passed is not None])} checks failed")
        for subject in dict.fromkeys(one.subject for one in found):
            if all(one.passed is None for one in found if one.subject == subject):
                tell(f"{subject}: nothing could be checked, as it was refused")
    if found.failed:
        sys.exit(1)


if __name__ == "__main__":
    command_line(main)
