"""What there is of ERASER's data sets, and what floors score on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.config import build, configuration
from bench.data import Eraser, TextSample
from bench.errors import BenchError
from bench.finetune.pretrained import load_tokenizer
from bench.models import Batch, Maps
from bench.models.pieces import split_into_pieces
from bench.tasks import Explanations, Plausibility, RationaleOverlap
from methods import ContentWords, DocumentFrequencies, FirstWords, InverseFrequency, Words
from metrics import RationaleScore, SpanF1, intervals
from metrics.bootstrap import Statistic

SETS = ("multirc", "fever", "boolq")
LONGEST = 512  # word pieces, as BERT takes
SEEDS = 5  # of the random map
KS = (20, 80)  # words
AT_ONCE = 8  # texts
SCORED = {
    "IOU F1 (0.5), macro": "iou/1/macro/f1",
    "token F1, macro": "token_prf/instance_macro/f1",
    "IOU F1 (0.5), macro, near truth": "near_truth/iou/1/macro/f1",
    "token F1, macro, near truth": "near_truth/token_prf/instance_macro/f1",
    "AUPRC": "soft/auprc",
    "average precision": "soft/average_precision",
    "ROC AUC": "soft/roc_auc_score",
    "comprehensiveness": "faithfulness/comprehensiveness",
    "sufficiency": "faithfulness/sufficiency",
    "comprehensiveness, AOPC": "faithfulness/comprehensiveness_aopc",
    "sufficiency, AOPC": "faithfulness/sufficiency_aopc",
    "comprehensiveness, entropy": "faithfulness/comprehensiveness_entropy",
    "comprehensiveness, KL": "faithfulness/comprehensiveness_kl",
    "sufficiency, entropy": "faithfulness/sufficiency_entropy",
    "sufficiency, KL": "faithfulness/sufficiency_kl",
}


def splits(data: Path) -> Iterator[tuple[str, str, Eraser]]:
    """The name of each set, of each of its splits, and its texts, as ``conf/dataset`` has the set read.

    Raises:
        BenchError: if there are none.
    """
    found = False
    for name in SETS:
        folder = data / "eraser" / name
        for file in sorted(folder.glob("*.jsonl")):
            found = True
            section = configuration([f"dataset={name}"])["dataset"]
            yield name, file.stem, build("dataset", section | {"path": str(folder), "split": file.stem})
    if not found:
        raise BenchError(
            f"data={data}: no {', '.join(SETS)} below {data / 'eraser'}; expected folders of ERASER's form"
        )


def counts(name: str, split: str, dataset: Eraser, tokenizer: Any) -> dict[str, Any]:
    """A row of the table of counts."""
    samples = list(dataset)
    documents = {document for annotation in dataset.annotations for document in annotation.documents}
    groups = [len({span.group for span in annotation.spans}) for annotation in dataset.annotations]
    annotated = [int(sample.rationale.sum()) for sample in samples]
    visible = [_visible(sample, tokenizer) for sample in samples]
    beyond = sum(
        int(sample.rationale[sample.query_words + seen :].sum())
        for sample, seen in zip(samples, visible, strict=True)
    )
    words = [len(sample.document) for sample in samples]
    return {
        "set": name,
        "split": split,
        "texts": len(samples),
        "documents": len(documents),
        "classes": ", ".join(f"{c} {dataset.labels.count(i)}" for i, c in enumerate(dataset.classes)),
        "words of a document": f"{np.mean(words):.1f}",
        "words of a query": f"{np.mean([sample.query_words for sample in samples]):.1f}",
        "annotated words": sum(annotated),
        "their share (mean over texts)": f"{np.mean(np.divide(annotated, words)):.3f}",
        "texts of several groups": sum(count > 1 for count in groups),
        "texts cut": sum(seen < count for seen, count in zip(visible, words, strict=True)),
        "annotated words beyond": f"{100 * beyond / max(sum(annotated), 1):.1f} %",
    }


def _visible(sample: TextSample, tokenizer: Any) -> int:
    """How many words of a document, of which the query stands before, a model of ``LONGEST`` pieces sees."""
    pieces = split_into_pieces(tokenizer, [sample.document], [sample.query], LONGEST)
    return int(pieces.words.max()) + 1


def floors(dataset: Eraser) -> dict[str, list[dict[str, Statistic]]]:
    """The scores of each floor by metric: one mapping, or of the random map one for each seed."""
    samples = list(dataset)
    frequencies = DocumentFrequencies.of(sample.document for sample in samples)

    def of(method: type, **settings: Any) -> Callable[[Sequence[TextSample]], torch.Tensor]:
        def maps(batch: Sequence[TextSample]) -> torch.Tensor:
            groups = _groups(batch)
            players = Words(groups, texts=[sample.document for sample in batch])
            return method(players=players, **settings)(None, {"input_ids": groups})

        return maps

    return {
        "random (5 seeds)": [_scored(samples, _random(seed)) for seed in range(SEEDS)],
        "first words": [_scored(samples, of(FirstWords))],
        "inverse frequency": [_scored(samples, of(InverseFrequency, frequencies=frequencies))],
        "content words only": [_scored(samples, of(ContentWords))],
    }


def _groups(samples: Sequence[TextSample]) -> torch.Tensor:
    """A token for each word of the documents, (texts, words), −1 at padding."""
    rows = [torch.arange(len(sample.document)) for sample in samples]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


def _random(seed: int) -> Callable[[Sequence[TextSample]], torch.Tensor]:
    """Independent uniform numbers, drawn from the seed and the id of each text."""

    def maps(samples: Sequence[TextSample]) -> torch.Tensor:
        drawn = [
            torch.from_numpy(np.random.default_rng([seed, *sample.id.encode()]).random(len(sample.document)))
            for sample in samples
        ]
        return torch.nn.utils.rnn.pad_sequence(drawn, batch_first=True)

    return maps


def _scored(
    samples: Sequence[TextSample], make: Callable[[Sequence[TextSample]], torch.Tensor]
) -> dict[str, Statistic]:
    """Plausibility of maps, of all words of the documents, by the name of each metric."""
    columns: dict[str, list] = {}
    for first in range(0, len(samples), AT_ONCE):
        batch = samples[first : first + AT_ONCE]
        target = torch.zeros(len(batch), dtype=torch.long)
        maps = Maps(make(batch), torch.zeros(len(batch), 0), target)
        explanations = Explanations(None, Batch(batch, {}, _groups(batch)), (), target, maps)
        for measurement in (RationaleOverlap(k=KS), Plausibility(k=KS)):
            for name, values in measurement.measure(explanations).items():
                columns.setdefault(name, []).extend(values)
    # None, where a score is not defined, becomes NaN.
    auprc = np.array(columns["auprc"], dtype=np.float64)
    f1 = RationaleScore(name="f1", title="", score="token_f1", ks=KS).statistics(
        columns | {"label": [0] * len(samples), "predicted": [0] * len(samples)}
    )
    spans = SpanF1(name="iou", title="", ks=KS).statistics(columns)
    return {
        "AUPRC": Statistic.mean(auprc, defined=np.isfinite(auprc)),
        **{f"token F1@{k}": f1[k] for k in KS},
        **{f"IOU F1@{k}": spans[k] for k in KS},
    }


def floor_rows(name: str, split: str, dataset: Eraser) -> list[dict[str, str]]:
    """Rows of the table of floors: the number with its 95 % interval, of the random map with its spread over seeds."""
    rows = []
    for title, found in floors(dataset).items():
        row = {"set": name, "split": split, "floor": title}
        low, high, _ = intervals(list(found[0].values()))
        for place, metric in enumerate(found[0]):
            values = [each[metric].value for each in found]
            if len(values) == 1:
                row[metric] = f"{values[0]:.3f} [{low[place]:.3f}, {high[place]:.3f}]"
            else:
                row[metric] = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
        rows.append(row)
    return rows


def scorer_rows(data: Path, golden: Path) -> list[dict[str, str]]:
    """Rows of the table of the scorer: our numbers of seeded scores, and how far they are from the stored ones."""
    from bench.verify.files import read_json
    from bench.verify.scores import leaves
    from bench.verify.scores_eraser import eraser
    from bench.verify.scores_files import numbered

    rows = []
    for name, stored in read_json(golden / "newer" / "eraser_metrics.json").items():
        if not isinstance(stored, Mapping):
            continue  # recipes
        ours, known = eraser(data, name, stored), leaves(numbered(stored))
        differences = [
            np.abs(np.subtract(ours[key], value)).max() for key, value in known.items() if key != "classes"
        ]
        row = {"set": name, "split": stored["split"], "texts": str(stored["annotations"])}
        row |= {title: f"{float(ours[key]):.6f}" for title, key in SCORED.items()}
        rows.append(row | {"largest difference from the stored": f"{max(differences):.0e}"})
    return rows


def tables(options: Mapping[str, str]) -> dict[str, str]:
    """The tables in markdown, by the names of their files.

    Raises:
        BenchError: for data, a tokenizer or stored numbers that are not there.
    """
    data = Path(options["data"])
    tokenizer = load_tokenizer(options.get("tokenizer", str(data / "models" / "bert_mini_movies")))
    vocabulary = (
        f"that of {options['tokenizer']}" if "tokenizer" in options else "bert-base-uncased's vocabulary"
    )
    counted, scored = [], []
    for name, split, dataset in splits(data):
        counted.append(counts(name, split, dataset, tokenizer))
        scored += floor_rows(name, split, dataset)
    made = {
        "counts": (
            f"**Data sets of ERASER's form, as they are read.** Subsets, not the whole splits. Words are those that "
            f"spans count; a text is cut at {LONGEST} pieces of {vocabulary}, its query included, so "
            "what lies beyond is what a model of that length does not see.",
            counted,
        ),
        "floors": (
            "**Floors: agreement of maps that look at no model with the annotated words.** Scores of whole documents, "
            "no word is out of sight; queries are not ranked. Of FEVER, whose groups of evidence are alternatives, the "
            "group that agrees best counts. In brackets 95 % intervals over texts (bootstrap); of the random map the "
            f"mean and the standard deviation over {SEEDS} seeds. Texts share documents, so intervals are too narrow "
            "for other documents. Higher is better. The AUPRC of ERASER's scorer, by trapezoids from precision 1 at "
            "recall 0, flatters maps of few different values, as that of content words is.",
            scored,
        ),
    }
    if "golden" in options:
        made["scorer"] = (
            "**ERASER's scorer on seeded scores.** Our numbers for scores, spans and class probabilities drawn with "
            "the seeds of the stored file, and the largest difference of any number of the set from what the "
            "reference implementation gave for the same draws. *Near truth*: annotated spans, moved or left out.",
            [dict(column) for column in _transposed(scorer_rows(data, Path(options["golden"])))],
        )
    return {
        name: f"{text}\n\n{pd.DataFrame(rows).to_markdown(index=False)}\n"
        for name, (text, rows) in made.items()
    }


def _transposed(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """A row for each number, a column for each set."""
    return [{"": key, **{row["set"]: row[key] for row in rows}} for key in rows[0] if key != "set"]
