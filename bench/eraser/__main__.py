"""What there is of ERASER's data sets, and what floors score on them: ``python -m bench.eraser data=ROOT``.

Of every split below ``ROOT/eraser/<set>`` (multirc, fever, boolq) three tables:

  counts    texts, classes, words, annotated words, and how much of these lies beyond 512 word pieces
  floors    agreement of maps that look at no model with the annotated words
  scorer    with golden=FOLDER: what ERASER's scorer says of seeded scores, ours and the stored numbers

  data=ROOT         the data root
  tokenizer=FOLDER  whose word pieces are counted: a directory of transformers, or a name on the hub
                    (ROOT/models/bert_mini_movies, which has the vocabulary of bert-base-uncased)
  golden=FOLDER     with newer/eraser_metrics.json
  out=FOLDER        also write the tables in markdown, e.g. results/eraser

No model is run: there is none here that was trained on these sets, and explanations of another would say nothing.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.cli import command_line, show
from bench.errors import BenchError

OPTIONS = ("data", "tokenizer", "golden", "out")


def main(arguments: Sequence[str]) -> None:
    """Print the tables, and write them where ``out`` says.

    Raises:
        BenchError: for arguments that are none of OPTIONS, and as :func:`bench.eraser.program.tables`.
    """
    from bench.eraser.program import tables  # --help needs nothing of these
    from bench.store.files import write_text

    options = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in OPTIONS or not value:
            raise BenchError(f"{argument}: expected {', '.join(f'{option}=…' for option in OPTIONS)}")
        options[name] = value
    if "data" not in options:
        raise BenchError("data: missing; give the data root, with eraser/<set> below it, as data=ROOT")
    for name, text in tables(options).items():
        show(text)
        if "out" in options:
            write_text(Path(options["out"]) / f"{name}.md", text, "out")


if __name__ == "__main__":
    command_line(main)
