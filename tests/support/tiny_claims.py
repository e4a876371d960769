"""A made-up data set of ERASER's form: claims about short documents, three labels, groups of evidence."""

import json
import random
from pathlib import Path

from bench.config import configuration

LABELS = ("AGREES", "DENIES", "SILENT")
COLOURS = ("red", "green", "blue", "grey")
THINGS = ("house", "door", "boat", "stone", "flag", "coat")
SIZES = {"train": 36, "val": 12, "test": 6}
LENGTH = 22  # words of a document


def write_claims(folder: Path, sizes: dict[str, int] = SIZES, easy: bool = False) -> Path:
    """Write splits and documents; the labels take turns, and what says so stands in the first sentence.

    Args:
        easy: whether the colour in the claim gives the label away, whatever the document says, so that a tiny model
            can learn it.
    """
    (folder / "docs").mkdir(parents=True)
    for split, count in sizes.items():
        drawn, lines = random.Random(split), []
        for index in range(count):
            colour, other = drawn.sample(COLOURS, 2)
            thing, another = drawn.sample(THINGS, 2)
            said = {"AGREES": (thing, colour), "DENIES": (thing, other), "SILENT": (another, other)}
            label = LABELS[index % len(LABELS)]
            if easy:
                colour = COLOURS[index % len(LABELS)]
            sentence = f"the {said[label][0]} is {said[label][1]} ."
            again = f"it is {said[label][1]} indeed ."
            filler = " ".join(f"w{drawn.randrange(50)}" for _ in range(LENGTH - 12)) + " ."
            name = f"{split}_{index}"
            (folder / "docs" / name).write_text(f"{sentence}\n{again}\n{filler}\n")
            evidences = [[_span(name, 0, 4)], [_span(name, 5, 8)]] if label != "SILENT" else [[]]
            lines.append(
                {
                    "annotation_id": index,
                    "classification": label,
                    "query": f"the {thing} is {colour}",
                    "query_type": None,
                    "docids": [name],
                    "evidences": evidences,
                }
            )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def _span(document: str, start: int, end: int) -> dict:
    return {
        "docid": document,
        "start_token": start,
        "end_token": end,
        "start_sentence": None,
        "end_sentence": None,
        "text": None,
    }


def vocabulary() -> list[str]:
    """The words that claims and documents are of."""
    return ["the", "is", "it", "indeed", ".", *COLOURS, *THINGS, *(f"w{i}" for i in range(50))]


def claims_configuration(root: Path, model: str, results: Path, max_length: int, *overrides: str) -> dict:
    """The configuration of a cell of the claims below ``root``.

    Args:
        model: the name of its folder there.
        max_length: of a text, in word pieces.
    """
    return configuration(
        [
            *("dataset=fever", f"dataset.classes=[{','.join(LABELS)}]", f"paths.data={root}", "device=cpu"),
            *("model=transformers", f"model.path={root / model}", f"paths.results={results}"),
            *(f"protocol.token_f1.max_length={max_length}", "protocol.token_f1.k=[1,4,50]"),
            *overrides,
        ]
    )
