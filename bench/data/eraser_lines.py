"""One annotation of a data set of ERASER's form: a line of ``<split>.jsonl``, checked key by key."""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple


class FaultError(ValueError):
    """What is wrong with a line: the key, what it holds, and what was expected of it."""

    def __init__(self, key: str, found: str, expected: str):
        super().__init__(f"{key}: {found}; expected {expected}")


class Span(NamedTuple):
    """Words of a document that annotators marked."""

    document: str
    start: int
    end: int  # exclusive
    text: str  # empty where the annotation does not repeat it
    group: int  # the place of its group in the line, from 0
    key: str  # where it stands in the line: evidences[group][place]


class Annotation(NamedTuple):
    """A line of a split."""

    line: int  # its number, from 1
    id: str
    classification: str
    query: str
    documents: list[str]  # in the order in which they are read
    spans: list[Span]


def annotation_of(line: str, number: int, classes: Sequence[str] | None) -> Annotation:
    """Read a line.

    Args:
        line: a JSON object.
        number: of the line, from 1.
        classes: the names that a classification may be; None for any.

    Raises:
        FaultError: naming the key that is at fault.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise FaultError("the line", f"no JSON ({e})", "an object") from e
    if not isinstance(record, Mapping):
        raise FaultError("the line", f"{_short(record)}", "a JSON object with annotation_id and evidences")
    name = _name(_there(record, "annotation_id"), "annotation_id")
    named = [
        _name(document, f"docids[{i}]")
        for i, document in enumerate(_list(record.get("docids") or [], "docids", "documents, or null"))
    ]
    # Where a span names no document, it is of the only one that the line knows of.
    spans = _spans(record, default=named[0] if len(named) == 1 else name)
    documents = list(dict.fromkeys([*named, *(span.document for span in spans)])) or [name]
    for document in documents:
        if PurePosixPath(document).name != document or document == "..":
            raise FaultError("docids", f"document {document!r}", "no more than the name of a file in docs")
    return Annotation(number, name, _classification(record, classes), _query(record), documents, spans)


def _classification(record: Mapping[str, Any], classes: Sequence[str] | None) -> str:
    found = _there(record, "classification")
    if not isinstance(found, str) or not found or (classes is not None and found not in classes):
        expected = " or ".join(classes) if classes else "the name of a class"
        raise FaultError("classification", _short(found), expected)
    return found


def _query(record: Mapping[str, Any]) -> str:
    query = record.get("query") or ""
    if not isinstance(query, str):
        raise FaultError("query", _short(query), "text, or null")
    return query


def _spans(record: Mapping[str, Any], default: str) -> list[Span]:
    """The spans of all groups, in their order."""
    groups = _list(_there(record, "evidences"), "evidences", "groups, each a list of spans; [] for none")
    return [
        _span(span, default, group, f"evidences[{group}][{place}]")
        for group, spans in enumerate(groups)
        for place, span in enumerate(_list(spans, f"evidences[{group}]", "spans"))
    ]


def _span(span: Any, default: str, group: int, key: str) -> Span:
    if not isinstance(span, Mapping):
        raise FaultError(key, _short(span), "an object with start_token and end_token")
    document, text = span.get("docid"), span.get("text")
    ends = []
    for name in ("start_token", "end_token"):
        if type(end := span.get(name)) is not int:
            found = _short(end) if name in span else "missing"
            raise FaultError(f"{key}.{name}", found, "a whole number of words")
        ends.append(end)
    document = default if document is None else _name(document, f"{key}.docid")
    return Span(document, *ends, text if isinstance(text, str) else "", group, key)


def _there(record: Mapping[str, Any], key: str) -> Any:
    if key not in record:
        raise FaultError(key, "missing", "it on every line")
    return record[key]


def _name(value: Any, key: str) -> str:
    """A name that is text or a whole number, as text."""
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or not value:
        raise FaultError(key, _short(value), "a name, text or a whole number")
    return value


def _list(value: Any, key: str, of: str) -> list[Any]:
    if not isinstance(value, list):
        raise FaultError(key, _short(value), f"a list of {of}")
    return value


def _short(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
