"""One table in about a minute: ``python -m bench.quick``, to see that everything works here.

Five rows of a segmentation table, on images that the project makes itself and with a small model that comes with
it. Further overrides are taken as by ``python -m bench`` (``limit=8``, ``method=lrp,gradcam``).
"""

from collections.abc import Sequence

from bench.cli import command_line, say, show
from bench.errors import BenchError

METHODS = "raw_attention,rollout,transformer_attribution,random,oracle"
CHOICE = ("suite=embedded", "task=segmentation", "limit=32")
OWN = ("suite=", "task=")
NEXT = (
    "The complete tables: make tables in a checkout, or tebench run -m experiment=table2 and then tebench tables "
    "table=segmentation. A picture of your own: tebench explain photo.jpg --model MODEL"
)


def main(arguments: Sequence[str]) -> None:
    """Compute the cells that are missing, and print their table.

    Raises:
        BenchError: for another suite or task, or what a cell refuses.
    """
    from bench.config import configuration  # --help needs nothing of these
    from bench.runner.cell import run
    from bench.tables.table import table

    if chosen := [a for a in arguments if a.startswith(OWN)]:
        raise BenchError(
            f"{chosen[0]}: quick is of embedded images alone; use tebench run and tebench tables"
        )
    methods = METHODS
    for argument in arguments:
        if argument.startswith("method="):
            methods = argument.partition("=")[2]
    others = [*CHOICE, *(a for a in arguments if not a.startswith("method="))]
    for method in methods.split(","):
        run(configuration([*others, f"method={method}"]))
    config = configuration(others)
    show(table(config).markdown())
    say(f"Embedded data and model: {config['suite']['note']}\n\n{NEXT}")


if __name__ == "__main__":
    command_line(main)
