"""How much of texts a model reads: what is cut off is counted, said, or refused."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from bench.errors import BenchError
from bench.models import Model


def reading(read: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """How much a model read of texts: numbers of texts and of annotated words.

    Args:
        read: of each text, as :attr:`bench.models.Batch.read` has it.

    Returns:
        ``texts`` and of these ``cut``; ``annotated`` words and of these ``annotated_beyond`` what the model saw.
        Nothing for no text.
    """
    return summed(
        [
            {
                "texts": 1,
                "cut": int(one["visible"] < one["words"]),
                "annotated": one["annotated"],
                "annotated_beyond": one["annotated"] - one["annotated_visible"],
            }
            for one in read
        ]
    )


def summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The sums of counts by their names; nothing for none."""
    return {name: sum(one[name] for one in counts) for name in (counts[0] if counts else ())}


def unread(texts: Mapping[str, int]) -> str | None:
    """A sentence on what a model did not see of texts (:func:`reading`); None where it saw all."""
    if not texts["cut"]:
        return None
    beyond = ""
    if texts["annotated"]:
        share = 100 * texts["annotated_beyond"] / texts["annotated"]
        beyond = f"; {share:.1f} % of the annotated words lie beyond what it saw"
    return f"The model did not see the end of {texts['cut']} of {texts['texts']} texts{beyond}."


def refuse_long(model: Model, dataset: Any, positions: Sequence[int], settings: Mapping[str, Any]) -> None:
    """Raises BenchError for the first text of which the model would not see the end.

    Args:
        positions: of the texts. Those that cannot be read are passed over: the run itself speaks of them.
        settings: the section ``task.inputs``.
    """
    prepare = model.preparation(settings)
    for position in positions:
        with suppress(BenchError):
            sample = dataset[position]
            (read,) = model.batch([prepare(sample)], settings).read
            if read["visible"] < read["words"]:
                break
    else:
        return
    raise BenchError(
        f"on_long_text=refuse: of {sample.id} the model would see {read['visible']} of {read['words']} words, at "
        f"max_length={settings['max_length']} word pieces; raise protocol.token_f1.max_length as far as the model "
        "allows, leave the text out, or let texts be cut with on_long_text=cut"
    )
