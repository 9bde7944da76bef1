"""The storage is checked before anything is written."""

import os
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import StorageError
from orchestrator.storage.sweep_folder import SweepFolder, check_storage


def test_new_folder_below_a_writable_one_passes_and_is_not_made(tmp_path: Path) -> None:
    check_storage(tmp_path / "a" / "b")
    assert not any(tmp_path.iterdir())


def test_relative_folder_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_storage(Path("runs"))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_file_in_the_way_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StorageError, match="is a file, not a folder") as caught:
        check_storage(tmp_path / "runs" / below)
    assert (caught.value.where, caught.value.value) == ("storage", str(tmp_path / "runs" / below))
    assert str(tmp_path / "runs") in caught.value.rule
    assert "--storage" in caught.value.mend


def test_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="not writable for you"):
            check_storage(tmp_path / "runs")
    finally:
        tmp_path.chmod(0o700)


def test_folder_that_may_not_be_looked_into_is_an_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may look everywhere")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with pytest.raises(StorageError, match="not writable for you"):
        check_storage(closed / "runs" / "here")


def test_too_small_a_disk_says_how_much_is_needed(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(StorageError, match=r"the disk has \d+ MiB free, the sweep needs \d+ MiB"):
        check_storage(tmp_path, needed_bytes=4 * free)


def test_paths_of_a_sweep_lie_in_its_folder(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "tiny")
    inside = [
        folder.journal,
        folder.base_scores,
        folder.ray,
        folder.checkpoint("t", 3),
        folder.report("t", 3),
        folder.progress("t"),
    ]
    assert all(path.is_relative_to(tmp_path / "tiny") for path in inside)
    assert len(set(inside)) == len(inside)
    assert folder.checkpoint("t", 3).name == "m0003"
    assert not folder.cache.is_relative_to(folder.root)
