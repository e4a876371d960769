"""Comparing the arrays of a model's goldens: methods, each run once for all classes that are asked of it."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import sklearn
import torch
from torch import Tensor, nn

from bench.errors import first_line
from bench.verify import keys_2021, keys_images, keys_texts
from bench.verify.compare import errors, tolerance
from bench.verify.grammar import Asked, read_key
from bench.verify.lines import Line, judged
from bench.verify.offered import NotOfferedError, described
from bench.verify.prepared import group_of_tokens
from bench.verify.stems import Golden, Stem, tables_of
from bench.verify.subject import Subject
from bench.verify.tensors import TENSORS
from bench.verify.views import IMAGE_VIEWS
from methods import RefusedError

SKLEARN = "1.9.1"  # whose clusters the reference's ViT-CX has

INPUTS = ("images", "input_ids", "attention_mask", "targets", "mean", "std", "files")
INPUTS_BEGIN = ("noise.", "masks.", "coalitions.", "groups", "tree.", "subsets.", "dig.path.")


def is_input(name: str) -> bool:
    """Whether an array is no result, but what results were computed from."""
    return name in INPUTS or name.startswith(INPUTS_BEGIN)


def compare_maps(stem: Stem, golden: Golden, model: nn.Module, done: Callable[[int], None]) -> list[Line]:
    """A line for each array of a file that is a result.

    Args:
        stem: the model's, and its other files, which may hold inputs.
        golden: the file.
        model: of the stem, in float64.
        done: called with the number of keys that were compared.
    """
    subject = Subject(stem, golden, model)
    entries = [*keys_2021.keys(stem.is_vision), *(keys_images.KEYS if stem.is_vision else keys_texts.KEYS)]
    lines: dict[str, Line] = {}
    groups: dict[str, list[Asked]] = defaultdict(list)
    for key in golden.arrays:
        if is_input(key):
            continue
        asked = read_key(key, entries)
        if asked is None:
            lines[key] = Line(stem.name, key, "unknown", note="no method is known by this key")
        else:
            lines[key] = Line(stem.name, key, "missed")  # keeps the order of the file
            groups[subject.computation(asked)].append(asked)
    for group in groups.values():
        for line in _compare(subject, group):
            lines[line.key] = line
        done(len(group))
    return list(lines.values())


def _compare(subject: Subject, group: Sequence[Asked]) -> list[Line]:
    """The lines of keys that one run serves."""
    try:
        ours = _computed(subject, group)
    except NotOfferedError as e:
        return [_line(subject, asked, "not offered", note=f"there is no {e}") for asked in group]
    except Exception as e:  # whatever a method refuses or breaks on
        if isinstance(e, RefusedError) and all(asked.entry.vanishes for asked in group):
            return [_refused(subject, asked, e) for asked in group]
        note = f"{type(e).__name__}: {first_line(e)}"[:200]
        return [_line(subject, asked, "missed", note=note) for asked in group]
    return [_judge(subject, asked, ours[asked.key]) for asked in group]


def _computed(subject: Subject, group: Sequence[Asked]) -> dict[str, Tensor | None]:
    """What each key's array should be, before it is brought into the stored form."""
    first = group[0]
    if first.entry.view in TENSORS:
        return {asked.key: TENSORS[first.entry.view](subject, asked) for asked in group}
    names = list(dict.fromkeys(asked.explained for asked in group if asked.explained))
    ours: dict[str | None, Tensor] = {}
    if names:
        ours.update(zip(names, subject.maps(first, names), strict=True))
    if any(asked.explained is None for asked in group):
        ours[None] = subject.maps(first, [None])[0]
    return {asked.key: ours[asked.explained] for asked in group}


def _refused(subject: Subject, asked: Asked, refusal: RefusedError) -> Line:
    """Of a map that a method refuses since it would be 0 to rounding: right if the golden is just that."""
    golden = torch.from_numpy(np.asarray(subject.golden.arrays[asked.key])).double()
    size, limit = float(golden.nan_to_num().abs().max()), tolerance(asked.key)
    if size <= limit:
        return _line(subject, asked, "ok", size, limit, "refused, as 0 to rounding; and so is the golden")
    return _line(subject, asked, "missed", note=f"RefusedError: {first_line(refusal)}"[:200])


def _judge(subject: Subject, asked: Asked, ours: Tensor | None) -> Line:
    if ours is None:
        return _line(subject, asked, "informative", note="not computed")
    golden = torch.from_numpy(np.asarray(subject.golden.arrays[asked.key])).double()
    try:
        if asked.entry.view not in TENSORS:
            ours = _viewed(subject, asked, ours, golden)
        if ours.shape != golden.shape:
            raise ValueError(f"shape {tuple(ours.shape)} where {tuple(golden.shape)} is stored")
    except Exception as e:
        return _line(subject, asked, "missed", note=f"{type(e).__name__}: {first_line(e)}"[:200])
    if golden.ndim == 0 or ".sample" in asked.key:  # of one sample
        ours, golden = ours[None], golden[None]
    error = float(errors(ours, golden, asked.entry.absolute or asked.entry.vanishes).max())
    limit = tolerance(asked.key, bool(tables_of(subject.model)))
    if asked.entry.informative:
        return _line(subject, asked, "informative", error)
    note = "NaN stands elsewhere than in the golden" if error == float("inf") else ""
    if error > limit and asked.entry.method == "ViTCX":
        note = f"clusters differ, if scikit-learn {sklearn.__version__} joins others than {SKLEARN} does"
    return _line(subject, asked, judged(error, limit), error, limit, note)


def _viewed(subject: Subject, asked: Asked, ours: Tensor, golden: Tensor) -> Tensor:
    if subject.stem.is_vision:
        return IMAGE_VIEWS[asked.entry.view](ours, golden, subject.grid)
    return _text_map(subject, asked, ours, golden)


def _text_map(subject: Subject, asked: Asked, ours: Tensor, golden: Tensor) -> Tensor:
    """A text map in the stored form: NaN at padding, where it must be 0; summed over stored groups."""
    padding = subject.inputs["attention_mask"] == 0
    if ours.shape != padding.shape:
        raise ValueError(f"a map of shape {tuple(ours.shape)} has not one number for each token")
    if (ours[padding].nan_to_num() != 0).any():
        raise ValueError("the map is not 0 at padding")
    ours = ours.double()
    if asked.entry.view == "groups":
        return _sums(ours, group_of_tokens(subject, asked.values["_groups"]), golden.shape[1])
    if asked.entry.view == "no specials":
        padding = padding | subject.specials
    ours = ours.masked_fill(padding, torch.nan)
    if asked.entry.reference_2021:
        overwritten = subject.stem.settings.get("compare_from_entry", 0)
        ours[:, :overwritten] = golden[:, :overwritten]
    return ours


def _sums(maps: Tensor, groups: Tensor, count: int) -> Tensor:
    """Sums over groups, numbered from 0; −1 counts nowhere."""
    sums = maps.new_zeros(len(maps), count + 1)
    return sums.scatter_add_(1, torch.where(groups < 0, count, groups), maps)[:, :count]


def _line(
    subject: Subject,
    asked: Asked,
    status: str,
    error: float | None = None,
    limit: float | None = None,
    note: str = "",
) -> Line:
    settings = described(subject.settings(asked))
    return Line(subject.stem.name, asked.key, status, asked.entry.method, settings, error, limit, note)
