"""Where rows come from: files, folders, saved data sets, hub ids, and the built-in test bed.

A `Source` knows the digest of its content without parsing it, so that a worker that finds the
tokenised data in the cache never reads the rows.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import DataError, nearest
from orchestrator.testbed import sources as testbed
from orchestrator.training.data.files import ROW_READERS, Row, kind_of, read_rows
from orchestrator.training.data.taxonomy import FILE_NAME, read_qna, taxonomy_files
from orchestrator.training.model import hub
from orchestrator.training.model.paths import looks_local, nearest_path

if TYPE_CHECKING:
    from datasets import Dataset

_SAVED_MARKS = ("dataset_dict.json", "state.json")
_BRANCHES = frozenset({"knowledge", "compositional_skills", "foundational_skills"})


@dataclass(frozen=True)
class Source(ABC):
    """One place of rows.

    Attributes:
        reference: What the user wrote.
        split: Split to take where the place has several.
    """

    reference: str
    split: str = "train"

    @abstractmethod
    def digest(self) -> str:
        """Return a digest of the content (hexadecimal)."""

    @abstractmethod
    def _read(self, limit: int | None) -> tuple[list[Row], list[int]]:
        """Return the rows that `spread` picks, and their positions."""

    def rows(self, limit: int | None = None) -> list[Row]:
        """Return the rows, or ``limit`` of them as in `sample`, in the order of the source."""
        return self.sample(limit)[0]

    def sample(self, limit: int | None = None) -> tuple[list[Row], list[int]]:
        """Return rows and their numbers (from 1), in the order of the source.

        Args:
            limit: At most so many, spread evenly over the source (whose rows may be sorted by kind); None
                for all.

        Raises:
            DataError: If the source cannot be read, is damaged, or holds no rows.
        """
        rows, places = self._read(limit)
        if not rows:
            raise DataError(self.reference, rule="holds no rows", mend="give a source with at least one row")
        return rows, [place + 1 for place in places]


def spread(count: int, limit: int | None) -> list[int]:
    """Return ``limit`` of ``count`` positions, spread evenly and in order; all of them when there are not more."""
    if limit is None or limit >= count:
        return list(range(count))
    return [place * count // limit for place in range(limit)]


def _pick(rows: list[Row], limit: int | None) -> tuple[list[Row], list[int]]:
    places = spread(len(rows), limit)
    return [rows[place] for place in places], places


@dataclass(frozen=True)
class FileSource(Source):
    """One or several files, read in the order given."""

    files: tuple[Path, ...] = ()

    def digest(self) -> str:
        """Return the digest of the bytes of all files."""
        total = hashlib.blake2b(digest_size=16)
        for path in self.files:
            try:
                with path.open("rb") as stream:
                    content = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16))
            except OSError as error:
                raise DataError(str(path), rule=f"cannot be read: {error}") from error
            # The ending decides how the bytes are read.
            total.update(f"{kind_of(path)}{path.suffix}\0".encode() + content.digest())
        return total.hexdigest()

    def _read(self, limit: int | None) -> tuple[list[Row], list[int]]:
        return _pick([row for path in self.files for row in read_rows(path)], limit)


@dataclass(frozen=True)
class SavedSource(Source):
    """A folder written by ``datasets.save_to_disk``."""

    folder: Path = Path()

    def digest(self) -> str:
        """Return a digest of the data set's fingerprint and size."""
        data = hub.load_saved_data(self.folder, self.split)
        return _digest_text(f"saved\0{data._fingerprint}\0{len(data)}\0{data.column_names}")

    def _read(self, limit: int | None) -> tuple[list[Row], list[int]]:
        data = hub.load_saved_data(self.folder, self.split)
        places = spread(len(data), limit)
        return hub.rows_of(data, places), places


@dataclass(frozen=True)
class HubSource(Source):
    """A data set on the hub; its fingerprint covers the revision that was downloaded."""

    def digest(self) -> str:
        """Return a digest of the data set's fingerprint and size."""
        data = self._load()
        return _digest_text(f"hub\0{data._fingerprint}\0{len(data)}\0{data.column_names}")

    def _read(self, limit: int | None) -> tuple[list[Row], list[int]]:
        data = self._load()
        places = spread(len(data), limit)
        return hub.rows_of(data, places), places

    def _load(self) -> Dataset:
        return hub.load_hub_data(self.reference.partition("#")[0], self.split)


@dataclass(frozen=True)
class TestbedSource(Source):
    """Rows of the built-in test bed, made from their reference."""

    __test__ = False

    def digest(self) -> str:
        """Return a digest of the rows, so that a change of the test bed shows."""
        return _digest_text(repr(testbed.load_rows(self.reference)))

    def _read(self, limit: int | None) -> tuple[list[Row], list[int]]:
        return _pick(testbed.load_rows(self.reference), limit)


@dataclass(frozen=True)
class TaxonomySource(Source):
    """The ``qna.yaml`` files of an InstructLab taxonomy; ``root`` is where the places of its leaves begin."""

    root: Path = Path()
    files: tuple[Path, ...] = ()

    def digest(self) -> str:
        """Return the digest of the bytes and places of all files."""
        total = hashlib.blake2b(digest_size=16)
        for path in self.files:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise DataError(str(path), rule=f"cannot be read: {error}") from error
            total.update(f"qna\0{self._leaf(path)}\0".encode() + hashlib.blake2b(content, digest_size=16).digest())
        return total.hexdigest()

    def _read(self, limit: int | None) -> tuple[list[Row], list[int]]:
        return _pick([row for path in self.files for row in read_qna(path, self._leaf(path))], limit)

    def _leaf(self, path: Path) -> str:
        return path.parent.relative_to(self.root).as_posix()


def open_source(reference: str, split: str = "train") -> Source:
    """Find out what a reference means.

    Args:
        reference: A ``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet`` or ``.txt`` file (also ``.gz``), a
            folder of such files, a ``qna.yaml`` file or a folder with such files anywhere below it (an InstructLab
            taxonomy), a folder written by ``datasets.save_to_disk``, a hub id (``owner/name`` or
            ``owner/name:config``), or ``testbed:NAME?parameter=value``. A folder or hub id may end in
            ``#SPLIT``, which goes before ``split``.
        split: Split to take from a saved data set or a hub id. In a folder of files, those named after
            the split are taken when there are any, else all.

    Raises:
        DataError: If there is no such place, or it holds nothing that can be read.
    """
    if not reference.strip():
        raise DataError("data", rule="no source is given", mend="give a file, a folder, a hub id or testbed:sft")
    if testbed.is_reference(reference):
        return TestbedSource(reference, split)
    place, _, named_split = reference.rpartition("#")
    if named_split and place and not Path(reference).expanduser().exists():
        return replace(open_source(place, named_split), reference=reference)
    path = Path(reference).expanduser()
    try:
        if path.is_dir():
            return _open_folder(reference, path, split)
        if path.exists():
            if path.name == FILE_NAME:
                return TaxonomySource(reference, split, *_taxonomy_of(path.parent, (path,)))
            return FileSource(reference, split, (_readable(path),))
    except OSError as error:
        raise DataError(reference, rule=f"cannot be read: {error.strerror}") from error
    if looks_local(reference.partition(":")[0]) or kind_of(path) in ROW_READERS:
        raise DataError(reference, rule="there is no such file or folder", mend=nearest_path(path))
    return HubSource(reference, split)


def load_rows(reference: str, split: str = "train", limit: int | None = None) -> list[Row]:
    """Return the rows of a reference (see `open_source`), or ``limit`` of them spread evenly over it.

    Raises:
        DataError: If there is no such source, or it is damaged or empty.
    """
    return open_source(reference, split).rows(limit)


def load_texts(source: Source) -> list[str]:
    """Return the documents of a plain text source: text files, or rows with a ``text`` column.

    Raises:
        DataError: If the source cannot be read, is empty, or its rows have no text.
    """
    reference, rows = source.reference, source.rows()
    columns = list(rows[0])
    if "text" not in columns:
        rule = f"plain text must stand in a column 'text'; the columns are {', '.join(columns)}"
        raise DataError(reference, rule=rule, mend=nearest("text", columns))
    texts = [row.get("text") for row in rows]
    for number, text in enumerate(texts, start=1):
        if text is not None and not isinstance(text, str):
            raise DataError(f"{reference}: row {number}", "text", text, "must be text")
    found = [text for text in texts if text and text.strip()]
    if not found:
        raise DataError(reference, "text", rule="every row is empty")
    return found


def _open_folder(reference: str, folder: Path, split: str) -> Source:
    if any((folder / mark).is_file() for mark in _SAVED_MARKS):
        return SavedSource(reference, split, folder)
    files = sorted(path for path in folder.iterdir() if path.is_file() and kind_of(path) in ROW_READERS)
    # Licences and read-me files often stand beside the data.
    data_files = [path for path in files if kind_of(path) not in {".txt", ".text"}]
    if not data_files and (leaves := tuple(taxonomy_files(folder))):
        return TaxonomySource(reference, split, *_taxonomy_of(folder, leaves))
    files = data_files or files
    if not files:
        rule = f"the folder holds no data file ({', '.join(ROW_READERS)})"
        raise DataError(reference, rule=rule)
    return FileSource(reference, split, tuple(_of_split(files, split)))


def _taxonomy_of(folder: Path, files: tuple[Path, ...]) -> tuple[Path, tuple[Path, ...]]:
    """Return the root of the taxonomy that a folder lies in (knowledge or skills begin right below it), and the files."""
    whole = folder.resolve()
    for place in (whole, *whole.parents):
        if place.name in _BRANCHES:
            return place.parent, tuple(file.resolve() for file in files)
    return whole, tuple(file.resolve() for file in files)


def _of_split(files: list[Path], split: str) -> list[Path]:
    exact = [path for path in files if path.name.split(".")[0] == split]
    words = re.compile(rf"(?<![a-z]){re.escape(split)}(ing)?(?![a-z])", re.IGNORECASE)
    return exact or [path for path in files if words.search(path.name.split(".")[0])] or files


def _readable(path: Path) -> Path:
    if kind_of(path) not in ROW_READERS:
        rule = f"files must end in {', '.join(ROW_READERS)} (or that with .gz)"
        raise DataError(str(path), rule=rule, mend=nearest(kind_of(path), ROW_READERS))
    return path


def _digest_text(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def source_record(source: Source) -> dict[str, str]:
    """Return what a tracker wants to know of a source: reference, split and digest of its content."""
    return {"reference": source.reference, "split": source.split, "digest": source.digest()}
