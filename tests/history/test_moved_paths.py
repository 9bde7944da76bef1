"""Where the paths of a sweep lead after its storage folder was moved or copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.history.moved_paths import Whereabouts


def project(folder: Path) -> Path:
    (folder / "runs").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "data" / "rows.jsonl").write_text(folder.name)
    return folder


def after(then: Path, now: Path) -> Whereabouts:
    return Whereabouts(str(then), str(then / "runs"), now / "runs", "the sweep")


def test_path_is_found_where_it_was_moved_with_the_storage(tmp_path: Path) -> None:
    then, now = tmp_path / "then", project(tmp_path / "now")
    found = after(then, now)
    rows = str(now / "data" / "rows.jsonl")
    assert found.find(str(then / "data" / "rows.jsonl")) == rows
    assert found.find("data/rows.jsonl") == rows
    assert found.find("./data/rows.jsonl:part") == f"{rows}:part"


def test_path_that_is_where_it_was_stays(tmp_path: Path) -> None:
    then, now = project(tmp_path / "then"), project(tmp_path / "now")
    absolute = str(then / "data" / "rows.jsonl")
    assert after(then, now).find(absolute) == absolute
    assert after(then, now).find("data/rows.jsonl") == absolute


def test_path_from_the_present_folder_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = project(tmp_path / "here")
    monkeypatch.chdir(here)
    assert after(here, here).find("data/rows.jsonl") == "data/rows.jsonl"
    assert after(tmp_path / "gone", tmp_path / "far").find("data/rows.jsonl") == "data/rows.jsonl"


def test_what_is_gone_is_named_with_the_places(tmp_path: Path) -> None:
    then, now = tmp_path / "then", project(tmp_path / "now")
    with pytest.raises(InputError) as caught:
        after(then, now).find("data/other.jsonl")
    told = str(caught.value)
    assert "'data/other.jsonl'" in told
    assert str(then / "data" / "other.jsonl") in told
    assert str(now / "data" / "other.jsonl") in told


@pytest.mark.parametrize(
    "word", ["testbed", "testbed:sft?rows=10", "Qwen/Qwen2.5-0.5B", "tatsu-lab/alpaca:train", "held_out", ""]
)
def test_words_and_hub_ids_stay(tmp_path: Path, word: str) -> None:
    assert after(tmp_path / "then", project(tmp_path / "now")).find(word) == word
