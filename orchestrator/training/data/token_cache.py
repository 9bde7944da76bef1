"""Tokenised rows in a memory-mapped cache on disk, made once and shared by all processes of a node.

One folder per key holds ``ids.npy`` (int32, all rows end to end), ``is_answer.npy`` (bool),
``offsets.npy`` (int64, rows + 1) and ``meta.json``. A folder appears whole or not at all: it is written
beside its place and renamed; processes that race for the same key wait for the first one where the file
system can lock, and otherwise each builds its own and the first to finish wins.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import StorageError
from orchestrator.training.data.plans.stages import PhaseRows
from orchestrator.training.data.token_rows import Ids, Mask, TokenRow

FORMAT_VERSION = 1
Meta = dict[str, Any]
Builder = Callable[[], tuple[Sequence[TokenRow], Meta]]


class TokenisedData:
    """Rows of tokens, read from memory-mapped arrays; a view may show some of the rows only.

    Attributes:
        lengths: Tokens of each row, int32 ``[rows]``.
        digest: Digest of the content and order of the rows.
        phases: Name -> row numbers of each named part, in training order; empty when there are none.
        replay: Phase name -> share of the earlier phases' rows that it trains again; empty when none does.
    """

    def __init__(
        self,
        ids: NDArray[np.int32],
        is_answer: NDArray[np.bool_],
        offsets: NDArray[np.int64],
        digest: str,
        phases: Mapping[str, PhaseRows] | None = None,
        rows: NDArray[np.int64] | None = None,
        replay: Mapping[str, float] | None = None,
    ) -> None:
        self._ids, self._is_answer, self._offsets = ids, is_answer, offsets
        self._rows = np.arange(len(offsets) - 1, dtype=np.int64) if rows is None else rows
        self.lengths: NDArray[np.int32] = (offsets[self._rows + 1] - offsets[self._rows]).astype(np.int32)
        self.digest = digest
        self.phases: dict[str, PhaseRows] = dict(phases or {})
        self.replay: dict[str, float] = dict(replay or {})

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Ids, Mask]:
        """Return token ids int32 ``[T]`` and the mask of learned tokens bool ``[T]`` of one row."""
        row = self._rows[index]
        part = slice(self._offsets[row], self._offsets[row + 1])
        return self._ids[part], self._is_answer[part]

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return int(self.lengths.sum(dtype=np.int64))

    def answer_lengths(self) -> NDArray[np.int64]:
        """Return the learned tokens of each row, int64 ``[rows]``."""
        # A running sum rather than a loop: there may be millions of rows.
        counts = np.concatenate([[0], np.cumsum(self._is_answer, dtype=np.int64)])
        learned: NDArray[np.int64] = counts[self._offsets[self._rows + 1]] - counts[self._offsets[self._rows]]
        return learned

    def select(self, rows: NDArray[np.int64]) -> TokenisedData:
        """Return a view of some rows, given in increasing order; phases shrink with their rows.

        Raises:
            ValueError: If the rows do not increase.
        """
        if len(rows) > 1 and not (np.diff(rows) > 0).all():
            raise ValueError("rows of a view must be in increasing order")
        digest = hashlib.blake2b(self.digest.encode() + rows.astype(np.int64).tobytes(), digest_size=16).hexdigest()
        phases = {name: _kept(part, rows) for name, part in self.phases.items()}
        return TokenisedData(self._ids, self._is_answer, self._offsets, digest, phases, self._rows[rows], self.replay)

    def with_phases(self, phases: Mapping[str, PhaseRows], replay: Mapping[str, float]) -> TokenisedData:
        """Return a view of the same rows, divided into these phases."""
        return TokenisedData(self._ids, self._is_answer, self._offsets, self.digest, phases, self._rows, replay)

    def row_digests(self) -> list[bytes]:
        """Return a digest of each row's token ids (to find duplicates)."""
        return [hashlib.blake2b(self[row][0].tobytes(), digest_size=8).digest() for row in range(len(self))]


def _kept(part: PhaseRows, rows: NDArray[np.int64]) -> PhaseRows:
    """Return where the rows of a phase that are kept stand among all that are kept."""
    if isinstance(part, range):
        start, stop = np.searchsorted(rows, [part.start, part.stop]).tolist()
        return range(start, stop)
    return np.flatnonzero(np.isin(rows, part)).astype(np.int64)


@dataclass(frozen=True)
class Stored:
    """A cache entry: the rows, and what was noted when they were made."""

    data: TokenisedData
    meta: Meta


def key_of(*parts: object) -> str:
    """Return a stable key of JSON-able parts (hexadecimal)."""
    text = json.dumps([FORMAT_VERSION, *parts], sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def open_or_build(cache_dir: Path, key: str, build: Builder) -> Stored:
    """Open the cache entry of a key, building it first when there is none.

    Args:
        cache_dir: Folder of the cache; made when missing.
        key: Key of everything that decides the rows (`key_of`).
        build: Makes the rows and the notes kept with them.

    Raises:
        StorageError: If the cache cannot be written.
    """
    folder = cache_dir / key
    if stored := _open(folder):
        return stored
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _locked(cache_dir / f".{key}.lock"):
            if stored := _open(folder):
                return stored
            rows, meta = build()
            _write(folder, rows, meta)
    except OSError as error:
        mend = "free some space, or choose another storage folder"
        raise StorageError(
            str(cache_dir), rule=f"the cache of tokenised data cannot be written: {error}", mend=mend
        ) from error
    stored = _open(folder)
    if stored is None:
        raise StorageError(str(folder), rule="the cache entry vanished while it was made", mend="run the command again")
    return stored


def _open(folder: Path) -> Stored | None:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        ids, is_answer, offsets = (
            np.load(folder / f"{name}.npy", mmap_mode="r" if name != "offsets" else None)
            for name in ("ids", "is_answer", "offsets")
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    phases = {name: range(start, stop) for name, start, stop in meta["phases"]}
    return Stored(TokenisedData(ids, is_answer, offsets, meta["digest"], phases), meta)


def _write(folder: Path, rows: Sequence[TokenRow], meta: Meta) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        lengths = [len(row.ids) for row in rows]
        arrays: dict[str, NDArray[np.generic]] = {
            "ids": np.concatenate([row.ids for row in rows]) if rows else np.zeros(0, np.int32),
            "is_answer": np.concatenate([row.is_answer for row in rows]) if rows else np.zeros(0, np.bool_),
            "offsets": np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        }
        digest = hashlib.blake2b(digest_size=16)
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
            digest.update(np.ascontiguousarray(array).data)
        whole = {"phases": [], **meta, "digest": digest.hexdigest()}
        (temporary / "meta.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False), encoding="utf-8")
        temporary.chmod(0o755)
        # Where locks do not work another process may have been faster; its entry is the same.
        with contextlib.suppress(FileExistsError):
            _rename_new(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_new(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if target.is_dir():
            raise FileExistsError(str(target)) from error
        raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        # Network file systems without locks: build without waiting, the rename stays atomic.
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
