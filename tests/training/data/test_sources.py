from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import DataError
from orchestrator.training.data.sources import load_rows, load_texts, open_source
from orchestrator.training.model import hub

Write = Callable[[str, str], str]
ROWS = [{"question": "a?", "answer": "b"}, {"question": "c?", "answer": "d"}]


def test_load_rows_reads_the_same_rows_from_every_kind_of_file(tmp_path: Path, write: Write) -> None:
    import pyarrow
    import pyarrow.parquet

    lines = "\n".join(json.dumps(row) for row in ROWS)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    references = [
        write("a.jsonl", lines + "\n\n"),
        write("a.json", json.dumps(ROWS)),
        write("lines.json", lines),
        write("array.jsonl", json.dumps(ROWS, indent=1)),
        write("wrapped.json", json.dumps({"version": 1, "data": ROWS})),
        write("a.csv", "\ufeffquestion,answer\na?,b\nc?,d\n"),
        write("a.tsv", "question\tanswer\na?\tb\nc?\td\n"),
        str(tmp_path / "a.parquet"),
        str(tmp_path / "a.jsonl.gz"),
    ]
    for reference in references:
        assert load_rows(reference) == ROWS, reference
        assert load_rows(reference, limit=1) == ROWS[:1]


def test_load_rows_keeps_line_separators_inside_json_strings(write: Write) -> None:
    row = {"question": "a\u2028b\x85c", "answer": "d"}
    assert load_rows(write("a.jsonl", json.dumps(row, ensure_ascii=False))) == [row]


def test_load_rows_takes_the_split_of_a_folder(write: Write, tmp_path: Path) -> None:
    write("d/train.jsonl", json.dumps(ROWS[0]))
    write("d/test.jsonl", json.dumps(ROWS[1]))
    write("d/test_hard.jsonl", json.dumps(ROWS[1]))
    write("d/LICENSE.txt", "words")
    folder = str(tmp_path / "d")
    assert load_rows(folder) == ROWS[:1]
    assert load_rows(folder, "test") == ROWS[1:]
    assert load_rows(f"{folder}#test") == ROWS[1:]
    assert len(load_rows(folder, "other")) == 3


def test_load_rows_reads_saved_data_sets_with_class_names(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    part = datasets.Dataset.from_list([{"text": "a", "label": 1}, {"text": "b", "label": 0}], features=features)
    part.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": part}).save_to_disk(str(tmp_path / "many"))
    expected = [{"text": "a", "label": "yes"}, {"text": "b", "label": "no"}]
    assert load_rows(str(tmp_path / "one")) == expected
    assert load_rows(str(tmp_path / "many"), limit=1) == expected[:1]
    with pytest.raises(DataError, match=r"no such split; it has train"):
        load_rows(str(tmp_path / "many"), "trian")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": \n', r"a.jsonl:2: is not valid JSON"),
        ("a.jsonl", '{"a": 1}\n[1]\n', r"a.jsonl:2 = \[1\]: each row must be a JSON object"),
        ("a.json", '[{"a": 1},\n {"a" 2}]', r"a.json:2: is not valid JSON"),
        ("a.json", "[1, 2]", r"row 1 = 1: each row must be a JSON object"),
        ("a.csv", "a,b\n1,2,3\n", r"a.csv:2: has more fields than the 2 columns"),
        ("a.csv", 'a,b\n"1,2\n', r"a.csv:\d: is not valid CSV"),
        ("a.jsonl", "", "holds no rows"),
        ("a.parquet", "no parquet", "is not a readable Parquet file"),
        ("a.xlsx", "x", r"files must end in .jsonl"),
    ],
)
def test_load_rows_names_place_and_rule_of_damaged_files(write: Write, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_rows(write(name, text))


def test_load_rows_names_the_line_of_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\nx,\xff\n")
    with pytest.raises(DataError, match=r"a.csv:2: must be UTF-8"):
        load_rows(str(tmp_path / "a.csv"))


def test_load_rows_names_a_damaged_gzip_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"a.jsonl.gz: cannot be read"):
        load_rows(str(tmp_path / "a.jsonl.gz"))


def test_open_source_suggests_the_nearest_name(write: Write, tmp_path: Path) -> None:
    write("d/train.jsonl", "{}")
    with pytest.raises(DataError, match=r"no such file or folder. Did you mean 'train.jsonl'"):
        open_source(str(tmp_path / "d" / "trian.jsonl"))
    with pytest.raises(DataError, match=r"folder .*/e does not exist"):
        open_source(str(tmp_path / "e" / "train.jsonl"))
    with pytest.raises(DataError, match="no source is given"):
        open_source("")


def test_open_source_refuses_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no data file"):
        open_source(str(tmp_path))


def test_hub_source_out_of_reach_is_one_quick_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    hub.is_reachable.cache_clear()
    try:
        with pytest.raises(DataError, match="neither cached nor can the hub be reached"):
            load_rows("nobody/no-such-data:main")
    finally:
        hub.is_reachable.cache_clear()


def test_testbed_source_gives_rows_and_a_stable_digest() -> None:
    source = open_source("testbed:sft?rows=6")
    assert len(source.rows()) == 6
    assert source.digest() == open_source("testbed:sft?rows=6").digest()
    assert source.digest() != open_source("testbed:sft?rows=7").digest()
    with pytest.raises(DataError, match="Did you mean 'sft'"):
        open_source("testbed:stf").rows()


def test_digest_follows_content_not_place(write: Write) -> None:
    one, other = write("a/x.jsonl", '{"a": 1}'), write("b/y.jsonl", '{"a": 1}')
    assert open_source(one).digest() == open_source(other).digest()
    before = open_source(one).digest()
    write("a/x.jsonl", '{"a": 2}')
    assert open_source(one).digest() != before


def test_load_texts_splits_documents_and_reads_text_columns(write: Write) -> None:
    text = write("a.txt", "one\n\nstill one\n<|endoftext|>\ntwo\n<|endoftext|>\n\n")
    assert load_texts(open_source(text)) == ["one\n\nstill one", "two"]
    rows = write("a.jsonl", '{"text": "x"}\n{"text": null}\n')
    assert load_texts(open_source(rows)) == ["x"]
    with pytest.raises(DataError, match="must stand in a column 'text'; the columns are body"):
        load_texts(open_source(write("b.jsonl", '{"body": "x"}')))
    with pytest.raises(DataError, match="must be text"):
        load_texts(open_source(write("c.jsonl", '{"text": 3}')))


def test_sample_spreads_a_limit_evenly_and_keeps_row_numbers(write: Write) -> None:
    source = open_source(write("a.jsonl", "\n".join(json.dumps({"n": number}) for number in range(1, 11))))
    rows, numbers = source.sample(4)
    assert numbers == [1, 3, 6, 8]
    assert [row["n"] for row in rows] == numbers
    assert source.sample(99)[1] == list(range(1, 11))
