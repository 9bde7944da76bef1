"""Which trial a word names, and where the paths of a sweep lead from another folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.history.find_trial import find_trial, rebased_setup
from orchestrator.records import Outcome, TrialConfig
from orchestrator.results.records import TrialResult
from orchestrator.settings.trial_setup import (
    DataSettings,
    EvaluationSet,
    ModelSettings,
    Phase,
    TrainingSettings,
    TrialSetup,
)


def trial(trial_id: str, name: str) -> TrialResult:
    return TrialResult(trial_id, name, TrialConfig("full", 8, 1e-3, 64), Outcome.COMPLETED, 64, {})


TRIALS = [trial("abcd000001", "full lr1e-3"), trial("abcd000002", "lora r8"), trial("ffff000003", "lora r16")]


@pytest.mark.parametrize(
    ("word", "trial_id"), [("abcd000002", "abcd000002"), ("lora r16", "ffff000003"), ("ffff", "ffff000003")]
)
def test_trial_is_found_by_id_name_and_beginning(word: str, trial_id: str) -> None:
    assert find_trial(TRIALS, word).trial_id == trial_id


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("abcd", "several trials are meant: abcd000001 \\(full lr1e-3\\), abcd000002"),
        ("fff", "no such trial"),
        ("lora r9", "Did you mean 'lora r"),
        ("", "no such trial"),
    ],
)
def test_word_that_names_no_single_trial_is_refused(word: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_trial(TRIALS, word)


def test_relative_paths_lead_from_the_folder_of_the_run(tmp_path: Path) -> None:
    for name in ("model", "rows", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "chat.jinja").write_text("")
    setup = TrialSetup(
        ModelSettings("model", chat_template="chat.jinja"),
        DataSettings("rows:train", held_out="other", phases=[Phase("p", "gone/rows")]),
        (EvaluationSet("a"), EvaluationSet("b", data="testbed:skills"), EvaluationSet("c", data="rows")),
        TrainingSettings(),
    )
    moved = rebased_setup(setup, str(tmp_path))
    assert (moved.model.path, moved.model.chat_template) == (f"{tmp_path}/model", f"{tmp_path}/chat.jinja")
    assert (moved.data.train, moved.data.held_out) == (f"{tmp_path}/rows:train", f"{tmp_path}/other")
    assert moved.data.phases == [Phase("p", "gone/rows")]
    assert [entry.data for entry in moved.evaluation] == ["held_out", "testbed:skills", f"{tmp_path}/rows"]
    assert rebased_setup(setup, "") == setup
    assert rebased_setup(moved, "/") == moved


def test_words_and_shares_are_no_paths(tmp_path: Path) -> None:
    for name in ("testbed", "auto", "held_out", "default"):
        (tmp_path / name).mkdir()
    setup = TrialSetup(
        ModelSettings("testbed"), DataSettings("testbed:sft", held_out=0.1), (EvaluationSet("a"),), TrainingSettings()
    )
    assert rebased_setup(setup, str(tmp_path)) == setup
