"""Compare methods and metrics with stored numbers: ``python -m bench.verify golden=FOLDER [data=ROOT out=FILE]``.

FOLDER holds models, as ``<stem>.config.json`` with ``<stem>.safetensors``, and what was computed with them, as
``<stem>.npz`` and ``<stem>_newer.npz``, there or in its subfolder ``newer``, and in ``metrics/<stem>.json`` and
``.npz``. The names of the arrays say which method and which settings they are of. Everything runs in float64 on
the CPU; nothing in this program knows any of the models.

Weights and data sets that a file names lie below ``data=ROOT``. A line is printed for each key: the error of the
worst sample, the error that is allowed, and one of

  ok, missed     within the tolerance, or not
  derived        a method without any key here; a slow second implementation in the tests stands for it
  informative    the reference does not aim at the definition: a difference is shown and is no fault
  not offered    this installation has no such method, or the data set is not given
  unknown        a key or a file that cannot be read

``out=FILE`` writes the table in markdown. The exit code is 1 if anything was missed or unknown, if a model is
without weights, and if nothing was compared.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cli import command_line, progress, say, show
from bench.errors import BenchError

OPTIONS = ("golden", "data", "out")


def main(arguments: Sequence[str]) -> None:
    """Compare, print, and end the process with 1 if it is not as it should be.

    Raises:
        BenchError: for arguments that are none of OPTIONS, and folders that are not there.
    """
    from bench.verify.compare_all import compare_all  # --help needs nothing of these
    from bench.verify.lines import passed, summary, table

    options = _options(arguments)
    lines = compare_all(options["golden"], options.get("data"), progress)
    text = f"{table(lines)}\n\n{summary(lines)}"
    show(text)
    if "out" in options:
        _write(options["out"], text)
    if not passed(lines):
        say(f"not verified: {summary(lines)}")
        sys.exit(1)


def _options(arguments: Sequence[str]) -> dict[str, Path]:
    options = {}
    for argument in arguments:
        name, is_pair, value = argument.partition("=")
        if name not in OPTIONS or not is_pair or not value:
            raise BenchError(f"{argument}: expected golden=FOLDER, data=ROOT or out=FILE")
        options[name] = Path(value)
    if "golden" not in options:
        raise BenchError("golden: missing; give the folder with the stored numbers as golden=FOLDER")
    for name in ("golden", "data"):
        if name in options and not options[name].is_dir():
            raise BenchError(f"{name}={options[name]}: there is no such folder")
    return options


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as e:
        raise BenchError(f"out={file}: cannot be written ({e.strerror}); choose another file") from e


if __name__ == "__main__":
    command_line(main)
