from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import StorageError
from orchestrator.training.data.token_cache import TokenisedData, key_of, open_or_build
from orchestrator.training.data.token_rows import TokenRow


def make_rows(seed: int = 0, count: int = 20) -> list[TokenRow]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 12, size=count)
    return [TokenRow(rng.integers(0, 99, n).astype(np.int32), np.arange(n) >= n // 2) for n in lengths]


def test_open_or_build_builds_once_and_maps_what_was_built(tmp_path: Path) -> None:
    rows, built = make_rows(), []

    def build() -> tuple[list[TokenRow], dict[str, Any]]:
        built.append(1)
        return rows, {"note": "é", "phases": [["a", 0, 8], ["b", 8, 20]]}

    for _ in range(2):
        stored = open_or_build(tmp_path, "key", build)
        for index, row in enumerate(rows):
            ids, is_answer = stored.data[index]
            np.testing.assert_array_equal(ids, row.ids)
            np.testing.assert_array_equal(is_answer, row.is_answer)
        assert stored.meta["note"] == "é"
        assert stored.data.phases == {"a": range(8), "b": range(8, 20)}
        assert stored.data.tokens == sum(len(row.ids) for row in rows)
        assert stored.data.answer_lengths().tolist() == [int(row.is_answer.sum()) for row in rows]
    assert built == [1]
    assert isinstance(stored.data._ids, np.memmap)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".key.lock", "key"]


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def build() -> tuple[list[TokenRow], dict[str, Any]]:
        raise ValueError("no rows")

    with pytest.raises(ValueError, match="no rows"):
        open_or_build(tmp_path, "key", build)
    assert not (tmp_path / "key").exists()
    assert len(open_or_build(tmp_path, "key", lambda: (make_rows(), {})).data) == 20


def _race(folder: str, queue: Any) -> None:
    stored = open_or_build(Path(folder), "key", lambda: (make_rows(), {"by": os.getpid()}))
    queue.put((stored.data.digest, stored.meta["by"]))


def test_processes_that_race_share_one_entry(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_race, args=(str(tmp_path), queue)) for _ in range(3)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert len(set(results)) == 1


def test_a_cache_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        open_or_build(tmp_path / "file" / "cache", "key", lambda: (make_rows(), {}))


def test_select_shows_some_rows_and_shrinks_phases(tmp_path: Path) -> None:
    rows = make_rows()
    whole = open_or_build(tmp_path, "k", lambda: (rows, {"phases": [["a", 0, 8], ["b", 8, 20]]})).data
    chosen = np.array([1, 5, 7, 8, 19])
    view = whole.select(chosen)
    assert len(view) == 5
    assert view.lengths.tolist() == [len(rows[row].ids) for row in chosen]
    assert view.phases == {"a": range(3), "b": range(3, 5)}
    np.testing.assert_array_equal(view[3][0], rows[8].ids)
    assert view.select(np.array([3])).row_digests() == [whole.row_digests()[8]]
    assert view.digest == whole.select(chosen).digest
    assert view.digest != whole.select(chosen[1:]).digest
    with pytest.raises(ValueError, match="increasing"):
        whole.select(np.array([3, 1]))


def test_digest_depends_on_content_alone(tmp_path: Path) -> None:
    one = open_or_build(tmp_path, "a", lambda: (make_rows(1), {"x": 1})).data
    same = open_or_build(tmp_path, "b", lambda: (make_rows(1), {"x": 2})).data
    other = open_or_build(tmp_path, "c", lambda: (make_rows(2), {})).data
    assert one.digest == same.digest != other.digest


def test_key_of_is_stable_and_tells_parts_apart() -> None:
    assert key_of("a", {"x": 1, "y": 2}) == key_of("a", {"y": 2, "x": 1})
    assert key_of("a", 1) != key_of("a", "1")


def test_tokenised_data_works_without_a_folder() -> None:
    data = TokenisedData(np.arange(5, dtype=np.int32), np.ones(5, dtype=bool), np.array([0, 2, 5]), "d")
    assert [len(data[index][0]) for index in range(len(data))] == [2, 3]
