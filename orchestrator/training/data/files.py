"""Rows and texts out of one file: JSON, JSON Lines, CSV, Parquet, plain text, each also gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import DataError

Row = dict[str, Any]
DOCUMENT_END = "<|endoftext|>"
"""A line that holds this alone separates the documents of a plain text file."""


def read_rows(path: Path) -> list[Row]:
    """Read every row of one data file.

    Args:
        path: A file with one of the endings of `ROW_READERS`, optionally followed by ``.gz``.

    Returns:
        One dictionary (column to value) per row, in file order; may be empty.

    Raises:
        DataError: If the file cannot be read or parsed (names the file and the line).
    """
    return ROW_READERS[kind_of(path)](path)


def read_documents(path: Path) -> Iterator[str]:
    """Yield the documents of one plain text file; `DOCUMENT_END` lines separate them."""
    text = _read_text(path)
    for document in f"\n{text}\n".split(f"\n{DOCUMENT_END}\n"):
        if document.strip():
            yield document.strip("\n")


def kind_of(path: Path) -> str:
    """Return the file ending that says how to read a file, without ``.gz``: ``.jsonl`` for ``a.jsonl.gz``."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _read_bytes(path: Path) -> bytes:
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path, "rb") as stream:
                return stream.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(str(path), rule=f"cannot be read: {error}") from error


def _read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}", rule="must be UTF-8 text", mend="convert the file to UTF-8") from error


def _read_json(path: Path) -> list[Row]:
    """Read JSON: a list of objects, an object that holds one such list, or one object per line."""
    text = _read_text(path)
    start = text.lstrip()[:1]
    if not start:
        return []
    if start != "[" and kind_of(path) in {".jsonl", ".ndjson"}:
        return _read_json_lines(path, text)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if start == "{" and error.msg == "Extra data":
            return _read_json_lines(path, text)
        raise _json_error(path, error.lineno, error) from error
    return _rows_of(path, value)


def _rows_of(path: Path, value: Row | list[object]) -> list[Row]:
    if isinstance(value, dict):
        lists = [entry for entry in value.values() if isinstance(entry, list) and entry and isinstance(entry[0], dict)]
        value = lists[0] if len(lists) == 1 else [value]
    rows: list[Row] = []
    for number, row in enumerate(value, start=1):
        if not isinstance(row, dict):
            raise _not_an_object(f"{path}: row {number}", row)
        rows.append(row)
    return rows


def _read_json_lines(path: Path, text: str) -> list[Row]:
    rows: list[Row] = []
    # Not splitlines(): JSON strings may hold U+2028 and other characters that it takes for line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise _json_error(path, number, error) from error
        if not isinstance(row, dict):
            raise _not_an_object(f"{path}:{number}", row)
        rows.append(row)
    return rows


def _json_error(path: Path, line: int, error: json.JSONDecodeError) -> DataError:
    return DataError(f"{path}:{line}", rule=f"is not valid JSON: {error.msg} (column {error.colno})")


def _not_an_object(where: str, row: object) -> DataError:
    return DataError(where, value=row, rule="each row must be a JSON object with named columns")


def _read_csv(path: Path) -> list[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    separator = "\t" if kind_of(path) == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(_read_text(path), newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    try:
        for row in reader:
            if None in row:
                rule = f"has more fields than the {len(reader.fieldnames or ())} columns of the header"
                raise DataError(f"{path}:{reader.line_num}", rule=rule, mend="quote fields that hold the separator")
            rows.append(dict(row))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}", rule=f"is not valid CSV: {error}") from error
    return rows


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(io.BytesIO(_read_bytes(path))).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(str(path), rule=f"is not a readable Parquet file: {error}") from error
    return rows


def _read_text_rows(path: Path) -> list[Row]:
    return [{"text": document} for document in read_documents(path)]


ROW_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".txt": _read_text_rows,
    ".text": _read_text_rows,
}
