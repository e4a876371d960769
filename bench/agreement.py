"""How far methods agree: ``python -m bench.agreement suite=embedded [task=perturbation]``.

Takes the same overrides as ``python -m bench``. Of all methods whose maps are kept under these conditions, on
the samples that all of them have: per sample Spearman's correlation, Kendall's τ_b, and the intersection over
union of the 10 % most relevant patches or tokens, each averaged over the samples on which it is defined.
Nothing is run. Symmetric tables without an arrow: agreement is no merit, as two methods may be wrong together.
They are printed, and written beside the suite's other tables; ``--json`` prints the pairs as JSON.
"""

from collections.abc import Sequence

from bench.cli import command_line, show, tell


def main(arguments: Sequence[str]) -> None:
    """Print a table for each measure, and write them.

    Raises:
        BenchError: as :func:`bench.tables.agreement.agreement`.
    """
    from bench.config import configuration  # --help needs nothing of these
    from bench.tables.agreement import agreement, document, write

    config = configuration([a for a in arguments if a != "--json"])
    pairs = agreement(config)
    if "--json" in arguments:
        tell(pairs.to_json(orient="records", indent=1))
    else:
        show(document(pairs, config))
    write(pairs, config)


if __name__ == "__main__":
    command_line(main)
