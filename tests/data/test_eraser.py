"""Data sets of ERASER's form with any labels, queries, documents and groups, on small made-up sets."""

import json
import pickle
import shutil
import tarfile

import numpy as np
import pytest

from bench.data import Eraser, Movies
from tests.support.refusals import read_all, refused

DOCUMENTS = {
    "rain": "Rain falls .\nIt is water from clouds .",
    "snow": "Snow falls in winter .\nIt is white .",
    "7": "Seven is a number .",
}


def span(document, start, end, **more):
    return {"docid": document, "start_token": start, "end_token": end} | more


LINES = [
    {
        "annotation_id": "claim:0:1",
        "classification": "SUPPORTS",
        "query": "Rain is water",
        "docids": ["rain"],
        "evidences": [[span("rain", 0, 1), span("rain", 3, 6, text="It is water")]],
    },
    {
        "annotation_id": 12,
        "classification": "REFUTES",
        "query": "Snow is black || Rain is red",
        "docids": ["snow", "rain"],
        "evidences": [[span("rain", 5, 6)], [span("snow", 5, 8)], [span("snow", 6, 8)]],
    },
    {
        "annotation_id": "unmarked",
        "classification": "UNKNOWN",
        "query": None,
        "docids": ["snow"],
        "evidences": [[]],
    },
    {"annotation_id": 7, "classification": "SUPPORTS", "docids": None, "evidences": []},
    {
        "annotation_id": "by evidence",
        "classification": "UNKNOWN",
        "query": "",
        "docids": None,
        "evidences": [[span("snow", 0, 1), span("7", 0, 1)]],
    },
]


def write(folder, lines=LINES, documents=DOCUMENTS, split="val"):
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    for name, text in documents.items():
        (folder / "docs" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "claims")


@pytest.fixture(params=["folder", "archive"])
def path(folder, tmp_path, request):
    if request.param == "folder":
        return folder
    with tarfile.open(tmp_path / "claims.tar.gz", "w:gz") as tar:
        tar.add(folder, "somewhere/claims")
    return tmp_path / "claims.tar.gz"


def marked(sample) -> list[str]:
    return [sample.words[place] for place in np.flatnonzero(sample.rationale)]


def test_labels_queries_and_documents(path):
    dataset = Eraser(path, "val")
    assert dataset.ids == ["claim:0:1", "12", "unmarked", "7", "by evidence"]
    assert dataset.classes == ("REFUTES", "SUPPORTS", "UNKNOWN")
    assert dataset.labels == [sample.label for sample in dataset] == [1, 0, 2, 1, 2]
    rain, snow, seven = (text.replace("\n", " ").split(" ") for text in DOCUMENTS.values())
    assert [sample.words for sample in dataset] == [
        ["Rain", "is", "water", *rain],
        ["Snow", "is", "black", "||", "Rain", "is", "red", *snow, *rain],
        snow,
        seven,
        [*snow, *seven],
    ]
    assert [sample.query_words for sample in dataset] == [3, 7, 0, 0, 0]


def test_rationales_are_the_union_of_all_groups_and_leave_out_the_query(path):
    dataset = Eraser(path, "val")
    assert [marked(sample) for sample in dataset] == [
        ["Rain", "It", "is", "water"],
        ["It", "is", "white", "water"],
        [],
        [],
        ["Snow", "Seven"],
    ]
    for sample in dataset:
        assert sample.rationale.shape == (len(sample.words),)
        assert not sample.rationale[: sample.query_words].any()


def test_groups_may_be_alternatives(path):
    """Each group is a rationale of its own, one without words is none, and the union stays what it is."""
    dataset = Eraser(path, "val", groups="alternatives")
    found = [
        [[sample.words[place] for place in np.flatnonzero(row)] for row in sample.alternatives]
        for sample in dataset
    ]
    assert found == [
        [["Rain", "It", "is", "water"]],
        [["water"], ["It", "is", "white"], ["is", "white"]],
        [[]],
        [[]],
        [["Snow", "Seven"]],
    ]
    parts = Eraser(path, "val")
    assert all(sample.alternatives is None for sample in parts)
    for one, other in zip(dataset, parts, strict=True):
        np.testing.assert_array_equal(one.rationale, other.rationale)
        np.testing.assert_array_equal(one.alternatives.any(axis=0), one.rationale)
    with refused(r"dataset\.groups=any: expected parts or alternatives"):
        Eraser(path, "val", groups="any")


def test_query_and_document_are_told_apart(path):
    sample = Eraser(path, "val")[1]
    assert sample.query == ["Snow", "is", "black", "||", "Rain", "is", "red"]
    assert sample.document[:2] == ["Snow", "falls"]
    assert sample.query + sample.document == sample.words


def test_classes_in_an_order_of_ones_own_and_without_the_query(folder):
    dataset = Eraser(folder, "val", classes=["UNKNOWN", "SUPPORTS", "REFUTES", "OTHER"], query=False)
    assert dataset.classes == ("UNKNOWN", "SUPPORTS", "REFUTES", "OTHER")
    assert dataset.labels == [1, 2, 0, 1, 0]
    assert dataset[0].words[:2] == ["Rain", "falls"]
    assert dataset[0].query_words == 0
    assert marked(dataset[0]) == ["Rain", "It", "is", "water"]


def gather(folder, documents=DOCUMENTS, more=""):
    """Write the documents into one file in the place of the folder."""
    shutil.rmtree(folder / "docs")
    lines = [json.dumps({"docid": name, "document": text}) + "\n" for name, text in documents.items()]
    (folder / "docs.jsonl").write_text("".join(lines) + more)
    return folder


def test_documents_in_one_file_are_the_same(folder, tmp_path):
    expected = [(s.id, s.words, s.label, s.rationale.tolist()) for s in Eraser(folder, "val")]
    gathered = Eraser(gather(folder), "val")
    assert gathered.files == [folder / "val.jsonl", folder / "docs.jsonl"]
    with tarfile.open(tmp_path / "claims.tar", "w") as tar:
        tar.add(folder, "claims")
    for dataset in (gathered, Eraser(tmp_path / "claims.tar", "val"), pickle.loads(pickle.dumps(gathered))):
        assert [(s.id, s.words, s.label, s.rationale.tolist()) for s in dataset] == expected
    assert b"winter" not in pickle.dumps(gathered)


GATHERED = {
    "missing": ({"rain": DOCUMENTS["rain"]}, "", "docs.jsonl, docid snow is missing.* line 2 needs it"),
    "empty": (DOCUMENTS | {"snow": " \n"}, "", "docs.jsonl, docid snow is empty"),
    "cut": (DOCUMENTS, '{"docid": ', "docs.jsonl, line 4: JSONDecodeError"),
    "no text": (DOCUMENTS | {"snow": 5}, "", "docs.jsonl, line 2: .*snow is no text"),
    "twice": (DOCUMENTS, '{"docid": "rain", "document": ""}', "docs.jsonl, line 4: .*there twice"),
    "a list": (DOCUMENTS, "[1]", "docs.jsonl, line 4: TypeError"),
}


@pytest.mark.parametrize(("documents", "more", "expected"), GATHERED.values(), ids=GATHERED)
def test_damaged_documents_in_one_file(folder, documents, more, expected):
    with refused(rf"claims: {expected}"):
        read_all(Eraser(gather(folder, documents, more), "val"))


def test_the_file_of_documents_is_no_split(folder):
    with refused(r"test\.jsonl: missing.*the splits there are \['val\.jsonl'\]"):
        Eraser(gather(folder), "test")


def test_files_are_the_split_and_its_documents_or_the_archive(path, folder):
    write(folder, LINES[:1], split="test")
    names = ["val.jsonl", "docs/rain", "docs/snow", "docs/7"]
    expected = [folder / name for name in names] if path == folder else [path]
    assert Eraser(path, "val").files == expected


def test_pickles(path):
    dataset = Eraser(path, "val")
    again = pickle.loads(pickle.dumps(dataset))
    assert [sample.words for sample in again] == [sample.words for sample in dataset]


def line(number=0, **changes):
    return [*LINES[:number], LINES[number] | changes, *LINES[number + 1 :]]


DAMAGE = {
    "class outside the classes": (
        line(1, classification="MAYBE"),
        "line 2: classification: 'MAYBE'; expected REFUTES or SUPPORTS",
    ),
    "class is a truth value": (line(1, classification=True), "line 2: classification: True; expected REF"),
    "id is a truth value": (line(1, annotation_id=True), "line 2: annotation_id: True; expected a name"),
    "id is a fraction": (line(1, annotation_id=1.5), r"line 2: annotation_id: 1\.5; expected a name"),
    "the same id as number and text": (line(0, annotation_id="12"), "line 2: annotation_id: '12' is that of line 1"),
    "query is a list": (line(1, query=["a"]), r"line 2: query: \['a'\]; expected text, or null"),
    "docids are text": (line(1, docids="snow"), "line 2: docids: 'snow'; expected a list of documents"),
    "document is null": (line(1, docids=[None]), r"line 2: docids\[0\]: null; expected a name"),
    "document leads out": (line(1, docids=["../val.jsonl"]), "line 2: docids: .*'../val.jsonl'; exp.*a file in docs"),
    "document is the folder above": (line(1, docids=[".."]), "line 2: docids: document '..'"),
    "document in a folder": (line(1, docids=["a/b"]), "line 2: docids: document 'a/b'"),
    "document is missing": (line(1, docids=["hail"]), r"docs/hail is missing.* line 2 needs it"),
    "span past its own document": (line(1, evidences=[[span("snow", 0, 10)]]), "10 does not fit docs/snow"),
    "span of other words": (
        line(1, evidences=[[span("snow", 0, 1, text="falls")]]),
        r"line 2: evidences\[0\]\[0\]: span 0 to 1 of docs/snow covers 'Snow'; expected its text, 'falls'",
    ),
    "evidences are null": (line(1, evidences=None), "line 2: evidences: null; expected a list of groups"),
    "a group is null": (line(1, evidences=[[], None]), r"line 2: evidences\[1\]: null; expected a list of spans"),
    "no start": (
        line(1, evidences=[[span("snow", 0, 1), {"docid": "snow", "end_token": 2}]]),
        r"line 2: evidences\[0\]\[1\]\.start_token: missing; expected a whole number",
    ),
    "the end is text": (
        line(1, evidences=[[span("snow", 0, "1")]]),
        r"line 2: evidences\[0\]\[0\]\.end_token: '1'; expected a whole number of words\. Mend",
    ),
    "a line is a list": ([*LINES[:1], [1], *LINES[2:]], r"line 2: the line: \[1\]; expected a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_lines(tmp_path, lines, expected):
    with refused(rf"claims: .*{expected}"):
        read_all(Eraser(write(tmp_path / "claims", lines), "val", ["REFUTES", "SUPPORTS", "UNKNOWN"]))


def test_a_split_of_one_class_does_not_number_the_classes(tmp_path):
    folder = write(tmp_path / "claims", LINES[:1])
    with refused(r"val\.jsonl: the classes are SUPPORTS; expected at least two.*dataset\.classes"):
        Eraser(folder, "val")
    assert Eraser(folder, "val", ["REFUTES", "SUPPORTS"]).labels == [1]


def test_no_files_at_all(tmp_path):
    with refused(r"nowhere: no folder with val\.jsonl and docs"):
        Eraser(tmp_path / "nowhere", "val")
    with refused(r"claims: test\.jsonl: missing.*\['val\.jsonl'\]"):
        Eraser(write(tmp_path / "claims"), "test")


# Everything that Python takes for white space but ERASER's own reader, inside a line, does not.
INNER = "\t\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
SPACES = {
    **{f"U+{ord(c):04X} in a word": f"one two{c}half three four".encode() for c in INNER},
    **{f"U+{ord(c):04X} ends a line": f"one two{c}\nthree{c} four".encode() for c in INNER},
    **{f"U+{ord(c):04X} begins a line": f"{c} one two\n{c}three four".encode() for c in INNER},
    "line feeds": b"one two\n\n three four\n",
    "both": b"one two\r\nthree four\r\n",
    "carriage returns": b"one\rtwo\rthree four",
    "blanks": b"  one   two  three four ",
    "byte order mark": b"\xef\xbb\xbfone two three four",
    "byte order mark before a blank": b"\xef\xbb\xbf one two three four",
    "zero width": "one two\u200bhalf three four".encode(),
}


@pytest.mark.parametrize("content", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_spans_count_what_blanks_and_lines_separate(tmp_path, content, packed):
    review = {"annotation_id": "a", "classification": "POS", "evidences": [[span("a", 2, 3)]]}
    path = write(tmp_path / "movies", [review], {"a": content}, "test")
    (path / "test.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(review).encode() + b"\r\n\r\n")
    if packed:
        with tarfile.open(tmp_path / "movies.tar.gz", "w:gz") as tar:
            tar.add(path, "movies")
        path = tmp_path / "movies.tar.gz"
    sample = Movies(path)[0]
    assert [word.strip() for word in marked(sample)] == ["three"]
    assert sample.words[0] == "one"


@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-32-le", "latin-1"])
def test_documents_in_another_encoding_are_refused(tmp_path, code):
    review = {"annotation_id": "a", "classification": "POS", "evidences": []}
    path = write(tmp_path / "movies", [review], {"a": "one café".encode(code)}, "test")
    with refused("docs/a is missing or not UTF-8"):
        Movies(path)[0]


REAL = {  # samples per class, and all
    ("multirc", "val"): ({"False": 97, "True": 103}, 200),
    ("multirc", "test"): ({"False": 92, "True": 108}, 200),
    ("fever", "val"): ({"REFUTES": 117, "SUPPORTS": 83}, 200),
    ("fever", "test"): ({"REFUTES": 113, "SUPPORTS": 87}, 200),
    ("boolq", "val"): ({"False": 8, "True": 32}, 40),
    ("boolq", "test_comprehensive"): ({"False": 10, "True": 30}, 40),
}


@pytest.mark.parametrize(("name", "split"), REAL)
def test_real_subsets(real_data, name, split):
    """The text that the files repeat for every span is checked by the reader on access."""
    folder = real_data / "eraser" / name
    if not folder.is_dir():
        pytest.skip(f"BENCH_DATA has no eraser/{name}")
    dataset = Eraser(folder, split)
    per_class, count = REAL[name, split]
    samples = list(dataset)
    assert len(samples) == len(set(dataset.ids)) == count
    assert {c: dataset.labels.count(label) for label, c in enumerate(dataset.classes)} == per_class
    assert all(sample.rationale.any() and sample.query_words for sample in samples)
    lines = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text("utf-8").splitlines()]
    for sample, record in zip(samples, lines, strict=True):
        groups = [s for group in record["evidences"] for s in group]
        covered = {(s["docid"], i) for s in groups for i in range(s["start_token"], s["end_token"])}
        assert sample.rationale.sum() == len(covered)
        assert " ".join(sample.words[: sample.query_words]) == " ".join(record["query"].split())
