"""What is said above and below a table: what was measured on what, how to read it, and what a reader must know."""

from collections.abc import Sequence

import pandas as pd

from bench.catalogue import Catalogue, base_name, catalogue_of
from bench.runner.reading import unread
from bench.runner.records import warnings
from bench.tables.conditions import samples_of, title_read
from bench.tables.format import readable
from bench.tables.part import ABLATION, Part
from bench.tables.pinned import other_versions
from bench.tables.planted import MARK, failing
from bench.tables.statistics import RESAMPLES, protocol_label
from bench.tables.ties import tie_notes
from bench.tables.words import joined, settings_in_words
from metrics import wilson
from metrics.intervals import BOOTSTRAP, FEW, WIDENED, WILSON

INTERVALS = {
    BOOTSTRAP: "of the percentiles of {resamples:,} bootstrap resamples",
    WIDENED: (
        "where these have no width or there are fewer than {few} samples, of as many resamples of the samples and one "
        "pseudo-sample at each end of the range"
    ),
    WILSON: "of proportions Wilson's",
}
BOLD = (
    "**Bold**: the best; ≈: not told apart from the best at 5 % (paired bootstrap of all pairs in the column at once, "
    "Romano–Wolf)."
)
FEW_SAMPLES = "No number of fewer than {few} samples is bold."
REFERENCES = {
    "floor": "The random map, drawn with a seed, is the floor.",
    "ceiling": "The annotation itself, taken as the map, is the ceiling.",
}
CLASSES = {"predicted": "predicted", "target": "annotated"}


def caption(name: str, parts: Sequence[Part]) -> str:
    """What was measured, on what, with which settings."""
    config = parts[0].config
    labels = list(dict.fromkeys(protocol_label(part.config) for part in parts))
    title = config["task"]["title"] if name != ABLATION else "Ablation of transformer attribution"
    sentences = [f"**{title} · protocol {' / '.join(labels)} · {config['suite']['title']}.**"]
    for part in parts:
        config, accuracy = part.config, _accuracy(part)
        sentences.append(
            (f"{config['task']['title']}: " if len(parts) > 1 else "")
            + f"{title_read(part.selection, 'model')} on {title_read(part.selection, 'dataset')}; "
            + _samples(part)
            + (f", accuracy of the model {accuracy}" if accuracy is not None else "")
            + f"; explained: {_classes(part)}; {settings_in_words(config)}."
        )
    return " ".join(sentences)


def _classes(part: Part) -> str:
    classes = [CLASSES[name] for name in part.measured["explained"].unique()]
    return f"the {' and the '.join(classes)} class"


def _samples(part: Part) -> str:
    scored, every = part.measured["samples"].max(), len(part.selection.results[0].ids())
    return samples_of(part.selection) + (f", of which {scored} are scored" if scored < every else "")


def _accuracy(part: Part) -> str | None:
    """How many samples the model classifies correctly, in per cent with an interval; None where it is not known."""
    if part.selection.predictions is None:
        return None
    rows = part.selection.predictions.rows
    if rows["label"].isna().any():
        return None
    share = float((rows["label"] == rows["predicted"]).mean())
    low, high = wilson(share, len(rows))
    return f"{100 * share:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def legend(measured: pd.DataFrame, facts: Catalogue) -> str:
    """How to read the numbers: intervals, marks, floor and ceiling."""
    names = {base_name(label) for label in measured["method"].unique()}
    # Other floors are rows with names that say what they are.
    kinds = {
        facts.method(name).kind for name in names if facts.method(name).kind != "floor" or name == "random"
    }
    used = set(measured["interval"])
    intervals = "; ".join(
        text.format(resamples=RESAMPLES, few=FEW) for kind, text in INTERVALS.items() if kind in used
    )
    sentences = [f"In brackets the 95 % interval over samples: {intervals}."]
    sentences += [BOLD] if (measured["samples"] >= FEW).any() else []
    sentences += [FEW_SAMPLES.format(few=FEW)] if (measured["samples"] < FEW).any() else []
    meanings = [text for kind, text in REFERENCES.items() if kind in kinds]
    floor = [] if "floor" in kinds else ["There is no random map in it yet (method=random)."]
    return " ".join([*sentences, *meanings, *floor])


def notes(part: Part) -> list[str]:
    """What a reader must know of the cells: warnings, samples left out, versions that differ."""
    found, facts = [], catalogue_of(part.config)
    for one in part.selection.scored:
        texts = list(
            dict.fromkeys(t for result in one.own for t in warnings(result.record.get("checks", {})))
        )
        if texts:
            found.append(
                f"**Warning** for {readable(one.label, facts)}, {CLASSES[one.explained]} class: {'; '.join(texts)}."
            )
        for said in dict.fromkeys(result.record["note"] for result in one.own if "note" in result.record):
            found.append(f"The maps of {readable(one.label, facts)} were {said}.")
    results = part.selection.results
    for skipped in dict.fromkeys(tuple(result.record.get("skipped", ())) for result in results):
        if skipped:
            found.append(f"Skipped, because they could not be read, {len(skipped)}: {'; '.join(skipped)}.")
    said = (unread(result.record["texts"]) for result in results if "texts" in result.record)
    found += [sentence for sentence in dict.fromkeys(said) if sentence is not None]
    found += _incomplete(part)
    if titles := failing(part.selection):
        found.append(
            f"{MARK} **Does not order planted maps** (oracle, random, reversed oracle, each beyond the 95 % interval "
            f"of the difference): {joined(list(titles.values()))}."
        )
    found += tie_notes(part.selection)
    if (different := _different_versions(part)) is not None:
        found.append(different)
    records = [result.record for result in part.selection.results]
    every = [v for record in records for v in (record.get("versions", {}), *record.get("other_versions", ()))]
    if (others := other_versions(every)) is not None:
        found.append(others)
    return found


def _incomplete(part: Part) -> list[str]:
    """Sentences that name metrics of methods that are not measured, or not defined on all samples."""
    facts, lacking = catalogue_of(part.config), {}
    for one in part.selection.scored:
        for metric in part.selection.task.missing(one.results):
            lacking.setdefault(metric, {})[readable(one.label, facts)] = None
    notes = [
        f"{part.metrics[metric].title} is not measured of {joined(list(names))}."
        for metric, names in lacking.items()
    ]
    every = part.measured["samples"].max()
    less = part.measured[part.measured["samples"] < every].drop_duplicates(["metric", "method", "explained"])
    for metric, rows in less.groupby("metric", sort=False):
        counts = ", ".join(f"{row.samples} of {readable(row.method, facts)}" for row in rows.itertuples())
        notes.append(
            f"{part.metrics[metric].title} is defined on fewer than {every} samples: {counts}; the others are left out."
        )
    return notes


def _different_versions(part: Part) -> str | None:
    """A sentence that names the versions in which the cells differ; None if they do not."""
    found: dict[str, dict[str, None]] = {}
    for result in part.selection.results:
        for versions in (result.record.get("versions", {}), *result.record.get("other_versions", ())):
            for package, version in versions.items():
                found.setdefault(package, {})[version] = None
        if "engine" in result.identity:
            found.setdefault("engine", {})[str(result.identity["engine"]["code"])] = None
    differing = [f"{package} {' and '.join(v)}" for package, v in found.items() if len(v) > 1]
    return f"The cells were computed with different versions: {'; '.join(differing)}." if differing else None
