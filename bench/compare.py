"""Two methods compared: ``python -m bench.compare task=segmentation method=Mine,rollout``.

For every metric of the task: both values, their difference, its 95 % interval and the p-value of the hypothesis
that there is none, over the samples that both methods have (paired bootstrap, :func:`metrics.compare` of these two
alone). Methods are named as on the command line or as in the tables; nothing is run. Takes the same overrides
as ``python -m bench``; ``--json`` prints the numbers as JSON.
"""

import re
from collections.abc import Sequence

from bench.cli import command_line, show, tell
from bench.errors import BenchError

COMMA = re.compile(r",(?![^(]*\))")  # between labels, not between the settings in the brackets of one


def main(arguments: Sequence[str]) -> None:
    """Print the comparison of the two methods that ``method=A,B`` names.

    Raises:
        BenchError: if that does not name two, and as :func:`bench.tables.comparison.compare`.
    """
    from bench.catalogue import catalogue_of
    from bench.config import configuration  # --help needs nothing of these
    from bench.tables.comparison import compare, markdown

    chosen = [a.partition("=")[2] for a in arguments if a.startswith("method=")]
    names = [name.strip() for name in COMMA.split(chosen[-1])] if chosen else []
    if len(names) != 2 or names[0] == names[1]:
        raise BenchError("compare: name two methods with method=A,B, as the tables call them")
    config = configuration([a for a in arguments if not a.startswith("method=") and a != "--json"])
    by_title = {one.title: one.name for one in catalogue_of(config).methods()}
    names = [by_title.get(name, name) for name in names]
    table = compare(config, *names)
    if "--json" in arguments:
        tell(table.to_json(orient="records", indent=1))
    else:
        show(markdown(table, config, names))


if __name__ == "__main__":
    command_line(main)
