"""ERASER movies from a folder, a tar archive and Hugging Face `datasets`, on small files in those formats."""

import json
import pickle
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from bench.config import build, configuration
from bench.data import Movies
from bench.data.movies import align
from bench.errors import BenchError

DOCUMENTS = {
    "negR_900.txt": "a dull film .\nthe plot is a dull mess , a dull film indeed",
    "posR_901.txt": "what a joy !\n  every  frame is a joy",
    "posR_902.txt": "café scenes shine\u2028 throughout",
}
SPANS = {  # groups of spans; the second document has an empty span, as some of the published ones
    "negR_900.txt": [[(1, 3), (5, 6)], [(11, 14)]],
    "posR_901.txt": [[(2, 3), (5, 5), (7, 9)]],
    "posR_902.txt": [],
}
RATIONALES = {"negR_900.txt": [1, 2, 5, 11, 12, 13], "posR_901.txt": [2, 7, 8], "posR_902.txt": []}


def words_in(text: str) -> list[str]:
    """U+2028 is white space to Python, but separates no words in ERASER."""
    return [word for word in text.replace("\n", " ").split(" ") if word]


def record(name: str) -> dict:
    words = words_in(DOCUMENTS[name])
    return {
        "annotation_id": name,
        "classification": name[:3].upper(),
        "evidences": [
            [
                {"docid": name, "start_token": a, "end_token": b, "text": " ".join(words[a:b])}
                for a, b in group
            ]
            for group in SPANS[name]
        ],
        "query": "What is the sentiment of this review?",
    }


def write_jsonl(folder, records, split: str = "test") -> None:
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    movies = tmp_path / "movies"
    (movies / "docs").mkdir(parents=True)
    for name, text in DOCUMENTS.items():
        (movies / "docs" / name).write_text(text, encoding="utf-8")
    write_jsonl(movies, [record(name) for name in DOCUMENTS])
    write_jsonl(movies, [record("posR_901.txt")], "val")
    return movies


@pytest.fixture
def archive(folder, tmp_path):
    path = tmp_path / "packed" / "movies.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "./movies")
    return path


@pytest.fixture
def parquet(tmp_path):
    """As the hub stores it: no spans, but the texts of the evidences in reading order."""
    texts = [[s["text"] for group in record(name)["evidences"] for s in group] for name in DOCUMENTS]
    rows = {"review": list(DOCUMENTS.values()), "label": [0, 1, 1], "evidences": texts}
    path = tmp_path / "hub" / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(rows), path, row_group_size=2)
    return path


def contents(dataset) -> dict[str, tuple]:
    return {s.id: (tuple(s.words), s.label, tuple(np.flatnonzero(s.rationale))) for s in dataset}


EXPECTED = {
    name: (tuple(words_in(text)), int(name.startswith("pos")), tuple(RATIONALES[name]))
    for name, text in DOCUMENTS.items()
}


def test_the_archive_serves_where_the_folder_was_looked_for(folder, tmp_path):
    """Suites name the folder; who downloads ERASER has the archive."""
    with tarfile.open(tmp_path / "root.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname="movies")
    (tmp_path / "data").mkdir()
    shutil.move(tmp_path / "root.tar.gz", tmp_path / "data" / "movies.tar.gz")
    there, packed = Movies(folder), Movies(tmp_path / "data" / "movies")
    assert packed.ids == there.ids
    assert packed[0].words == there[0].words
    for suite in ("paper", "small_real"):
        section = configuration([f"suite={suite}", "task=token_f1", f"paths.data={tmp_path / 'data'}"])[
            "dataset"
        ]
        assert build("dataset", section).ids == there.ids


def test_words_labels_and_rationales(folder):
    dataset = Movies(folder)
    assert dataset.ids == list(DOCUMENTS)
    assert contents(dataset) == EXPECTED
    assert dataset[-1].rationale.dtype == bool
    assert dataset[-1].rationale.shape == (len(dataset[-1].words),)
    assert Movies(folder, "val").ids == ["posR_901.txt"]


def test_folder_archive_and_their_parents_are_the_same(folder, archive):
    before = sorted(archive.parent.rglob("*"))
    for path in (folder.parent, archive, archive.parent):
        assert contents(Movies(path)) == EXPECTED
    assert sorted(archive.parent.rglob("*")) == before  # nothing unpacked


def test_huggingface_evidences_are_found_again(parquet, datasets_cache):
    for path in (parquet, parquet.parent.parent):
        assert list(contents(Movies(path)).values()) == list(EXPECTED.values())
        assert Movies(path).ids == ["test_0000", "test_0001", "test_0002"]


def test_align_takes_the_next_occurrence_and_wraps():
    words = list("ababa")
    assert align(["a b", "a b"], words) == [(0, 2), (2, 4)]
    assert align(["b a", "a b", "a b"], words) == [(1, 3), (0, 2), (2, 4)]
    with pytest.raises(ValueError, match="b b"):
        align(["b b"], words)


@pytest.mark.parametrize("kind", ["folder", "archive", "parquet"])
def test_works_in_loader_processes_and_pickles(kind, request, datasets_cache):
    dataset = Movies(request.getfixturevalue(kind))
    expected = contents(dataset)
    loader = DataLoader(dataset, num_workers=2, collate_fn=list)
    assert contents(sample for batch in loader for sample in batch) == expected
    assert contents(pickle.loads(pickle.dumps(dataset))) == expected


def test_archive_content_stays_out_of_pickles(archive):
    dataset = Movies(archive)
    dataset[0]
    assert b"dull mess" not in pickle.dumps(dataset)


def changed(**change):
    """Write the second line anew with some keys changed."""
    return lambda folder: write_jsonl(
        folder, [record("negR_900.txt"), record("posR_901.txt") | change, record("posR_902.txt")]
    )


def span(**edges):
    return changed(evidences=[[{"docid": "posR_901.txt", "start_token": 0, "end_token": 1} | edges]])


def append(line: str):
    return lambda folder: (folder / "test.jsonl").open("a").write(line)


SPLIT_DAMAGE = {
    "missing split": (lambda f: (f / "test.jsonl").unlink(), "test.jsonl: missing", "['val.jsonl']"),
    "empty split": (lambda f: (f / "test.jsonl").write_text("\n"), "test.jsonl: empty", "Download it again"),
    "not text": (lambda f: (f / "test.jsonl").write_bytes(b"\xff\xfe"), "not UTF-8", "download the data"),
    "broken line": (append('{"annotation_id": '), "test.jsonl, line 4", "Mend the line"),
    "no object": (append("[1]"), "test.jsonl, line 4", "expected a JSON object"),
    "unknown class": (changed(classification="NEUTRAL"), "line 2: classification: 'NEUTRAL'", "NEG or POS"),
    "no evidences": (changed(evidences=None), "test.jsonl, line 2", "Mend the line"),
    "other document": (span(docid="negR_900.txt"), "test.jsonl, line 2", "Mend the line"),
    "escaping": (changed(annotation_id="../secret", evidences=[]), "'../secret'", "Mend the line"),
    "text token": (span(end_token="7"), "line 2: evidences[0][0].end_token: '7'", "Mend the line"),
    "repeated": (changed(annotation_id="posR_902.txt", evidences=[]), "is that of line", "Mend the line"),
}  # fmt: skip
REVIEW_DAMAGE = {
    "past the end": (
        span(end_token=10),
        "line 2: evidences[0][0]: span 0 to 10",
        "expected 0 <= start_token <= end_token <= 9",
    ),
    "backwards": (span(start_token=3), "line 2: evidences[0][0]: span 3 to 1", "Mend the span"),
    "negative": (span(start_token=-1), "line 2: evidences[0][0]: span -1 to 1", "Mend the span"),
    "no document": (
        lambda f: (f / "docs" / "posR_901.txt").unlink(),
        "docs/posR_901.txt",
        "Put the document",
    ),
    "not text": (lambda f: (f / "docs/posR_901.txt").write_bytes(b"\xff"), "docs/posR_901.txt", "download"),
}


def pack(folder, tmp_path):
    path = tmp_path / "damaged.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "movies")
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(("damage", "names", "remedy"), SPLIT_DAMAGE.values(), ids=SPLIT_DAMAGE)
def test_damaged_split_is_an_error_at_once(folder, tmp_path, packed, damage, names, remedy):
    damage(folder)
    path = pack(folder, tmp_path) if packed else folder
    with pytest.raises(BenchError) as error:
        Movies(path)
    assert str(error.value).startswith(str(path))
    assert names in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(("damage", "names", "remedy"), REVIEW_DAMAGE.values(), ids=REVIEW_DAMAGE)
def test_damaged_review_is_an_error_on_access(folder, tmp_path, packed, damage, names, remedy):
    damage(folder)
    path = pack(folder, tmp_path) if packed else folder
    dataset = Movies(path)
    with pytest.raises(BenchError) as error:
        dataset[1]
    assert str(error.value).startswith(str(path))
    assert "posR_901.txt" in str(error.value)
    assert names in str(error.value)
    assert remedy in str(error.value)
    assert dataset[0].label == 0


@pytest.mark.parametrize(
    "damage", [lambda content: content[: len(content) // 2], lambda content: b"no tar" * 99]
)
def test_corrupt_archive_is_an_error(archive, damage):
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(BenchError, match=r"movies.tar.gz: cannot be read .* Download it again"):
        Movies(archive)


def test_links_in_an_archive_lead_nowhere(folder, tmp_path):
    (folder / "docs" / "posR_901.txt").unlink()
    (folder / "docs" / "posR_901.txt").symlink_to("/etc/hostname")
    with pytest.raises(BenchError, match=r"docs/posR_901.txt is missing"):
        Movies(pack(folder, tmp_path))[1]


def test_missing_path_and_empty_folder(tmp_path, datasets_cache):
    with pytest.raises(BenchError, match=r"nowhere: no such file or folder.*BENCH_DATA"):
        Movies(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match=r"empty: no test.jsonl with docs/ and no movies.tar.gz"):
        Movies(tmp_path / "empty")


HUB_DAMAGE = {
    "foreign evidence": ({"evidences": [["is a joke"]]}, "'is a joke' does not occur", "Mend the row"),
    "label": ({"label": [-1]}, "row 0: ValueError('label -1')", "0 (NEG) or 1 (POS)"),
    "no review": ({"review": pa.array([None], pa.string())}, "row 0", "expected a review"),
    "no column": ({"evidences": None}, "no column 'evidences'", "Rename the column"),
}


@pytest.mark.parametrize(("change", "names", "remedy"), HUB_DAMAGE.values(), ids=HUB_DAMAGE)
def test_damaged_rows_are_an_error(tmp_path, change, names, remedy):
    rows = {"review": ["what a joy"], "label": [1], "evidences": [["a joy"]]} | change
    pq.write_table(pa.table({key: value for key, value in rows.items() if value}), tmp_path / "rows.parquet")
    with pytest.raises(BenchError) as error:
        Movies(tmp_path / "rows.parquet")[0]
    assert "rows.parquet" in str(error.value)
    assert names in str(error.value)
    assert remedy in str(error.value)


def real_archive(real_data):
    path = real_data / "movies.tar.gz"
    return path if path.is_file() else pytest.skip("BENCH_DATA has no movies.tar.gz")


@pytest.mark.parametrize(("split", "count"), [("train", 1600), ("val", 200), ("test", 199)])
def test_real_spans_point_at_their_texts(real_data, split, count):
    archive = real_archive(real_data)
    dataset = Movies(archive, split)
    assert len(dataset) == count
    with tarfile.open(archive) as tar:
        lines = tar.extractfile(f"movies/{split}.jsonl").read().decode().splitlines()
    for sample, line in zip(dataset, lines, strict=True):
        annotation = json.loads(line)
        assert sample.id == annotation["annotation_id"]
        spans = [span for group in annotation["evidences"] for span in group]
        marked = np.zeros(len(sample.words), dtype=bool)
        for s in spans:
            assert sample.words[s["start_token"] : s["end_token"]] == s["text"].split()
            marked[s["start_token"] : s["end_token"]] = True
        np.testing.assert_array_equal(sample.rationale, marked)


def test_real_test_rationales_come_back_from_their_texts(real_data):
    archive = real_archive(real_data)
    with tarfile.open(archive) as tar:
        lines = tar.extractfile("movies/test.jsonl").read().decode().splitlines()
    for sample, line in zip(Movies(archive), lines, strict=True):
        found = np.zeros(len(sample.words), dtype=bool)
        texts = [s["text"] for group in json.loads(line)["evidences"] for s in group]
        for start, end in align(texts, sample.words):
            found[start:end] = True
        np.testing.assert_array_equal(found, sample.rationale)


def test_huggingface_hub_name_is_read_from_the_cache_without_a_network(parquet, datasets_cache):
    import datasets

    folder = parquet.parent.parent
    datasets.load_dataset(str(folder))
    prepared = datasets.load_dataset_builder(str(folder)).cache_dir
    cached = datasets_cache / "someone___movies" / "default" / "0.0.0" / "revision"
    shutil.copytree(prepared, cached)
    (cached / "hub-test.arrow").rename(cached / "movies-test.arrow")
    assert list(contents(Movies("someone/movies")).values()) == list(EXPECTED.values())
