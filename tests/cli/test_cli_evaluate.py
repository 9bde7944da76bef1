"""evaluate: scores of checkpoints without a driver, kept in the sweep's folder, never computed twice."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import evaluate_sweep, read_sweep
from orchestrator.api.evaluate import follow as evaluate_follow
from orchestrator.errors import InputError, StorageError
from orchestrator.records import Outcome
from orchestrator.storage import later_scores
from orchestrator.storage.later_scores import LaterScores, append_scores, read_scores
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.training.evaluations.held_out_loss import loss
from orchestrator.training.evaluations.multiple_choice import multiple_choice
from tests.worlds.driverless import Driverless, config, tiny_spec, write_rows

Orchestrate = Callable[..., Any]


@pytest.fixture
def folder(trained: Any, tmp_path: Path) -> SweepFolder:
    """A copy of the finished sweep, with its storage, that a test may add to."""
    shutil.copytree(trained.folder.storage, tmp_path / "runs")
    return SweepFolder(tmp_path / "runs", trained.folder.name)


@pytest.fixture
def quiz(tmp_path: Path) -> list[dict[str, Any]]:
    rows = [
        {"question": f"w{n} w{n % 5}", "choices": [f"w{n % 7}", f"w{n % 17}", "w30 w31"], "answer": 1} for n in range(9)
    ]
    file = tmp_path / "quiz.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return [{"name": "quiz", "kind": "multiple_choice", "data": str(file)}]


def test_own_sets_give_what_the_sweep_recorded(folder: SweepFolder, trained: Any) -> None:
    found = evaluate_sweep(folder, every=True, threads=1, device="cpu")
    assert found.skipped == {}
    recorded = {trial.trial_id: trial.scores for trial in read_sweep(trained.folder).result.trials}
    for model in found.models[1:]:
        assert model.scores["eval/loss"] == pytest.approx(recorded[model.trial_id]["eval/loss"], rel=1e-6)
    assert {model.trial_id for model in found.models} == {"", *recorded}
    assert found.models[0].scores["eval/loss"] > found.models[1].scores["eval/loss"]


def test_other_sets_become_scores_of_the_sweep_and_are_computed_once(
    orchestrate: Orchestrate, folder: SweepFolder, quiz: Any, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = f"evaluation={json.dumps(quiz)}"
    words = ["evaluate", folder.root, "--trial", trained.lora, "--set", asked, "--device", "cpu", "--json"]
    first = orchestrate(*words)
    assert first.code == 0, first.err
    model = json.loads(first.out)["models"][1]
    assert (model["trial_id"], model["cached"], model["tracked"]) == (trained.lora, False, False)
    assert set(model["scores"]) == {"quiz/accuracy", "quiz/accuracy_normalised"}
    scored: list[str] = []
    monkeypatch.setattr(multiple_choice.MultipleChoiceScorer, "score", lambda *_: scored.append("again"))
    again = orchestrate(*words)
    assert again.code == 0, again.err
    assert json.loads(again.out)["models"][1]["scores"] == model["scores"]
    assert json.loads(again.out)["models"][1]["cached"]
    assert scored == []
    result = read_sweep(folder).trial(trained.lora).result
    assert result.scores["quiz/accuracy"] == model["scores"]["quiz/accuracy"]
    assert result.standard_errors["quiz/accuracy"] == model["standard_errors"]["quiz/accuracy"]
    assert "eval/loss" in result.scores
    assert "quiz/accuracy" in read_sweep(folder).result.base_scores
    assert "quiz/accuracy" not in read_sweep(folder).trial(trained.full).result.scores
    assert read_sweep(folder).result.beside_seconds > 0


def test_the_winner_is_the_default_and_the_sweeps_order_stays(folder: SweepFolder, quiz: Any, trained: Any) -> None:
    before = [trial.trial_id for trial in read_sweep(folder).result.trials]
    found = evaluate_sweep(folder, sets=quiz, base=False, device="cpu")
    assert [model.trial_id for model in found.models] == [trained.full]
    assert [trial.trial_id for trial in read_sweep(folder).result.trials] == before
    assert found.as_dict()["sets"] == ("quiz",)


def test_a_trained_model_has_other_scores_kept_than_the_base(folder: SweepFolder, quiz: Any) -> None:
    changed = [{**quiz[0], "limit": 5}]
    one, other = (evaluate_sweep(folder, sets=sets, every=True, device="cpu") for sets in (quiz, changed))
    assert [model.cached for model in one.models[1:]] == [False] * 3
    assert not any(model.cached for model in other.models[1:]), "other settings, other scores"
    files = list((folder.cache / "scores").glob("*.json"))
    assert len(files) == 2 * 4


def test_a_running_sweep_is_followed_to_its_end(
    tmp_path: Path, tiny_base: Path, quiz: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_spec(tiny_base, write_rows(tmp_path / "rows.jsonl"), tmp_path / "runs")
    sweep = Driverless(spec)
    first = sweep.train(config("full", 3e-3))
    second: list[str] = []
    monkeypatch.setattr(evaluate_follow, "FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(evaluate_follow, "is_driven", lambda _: not second)

    def go_on() -> None:
        second.append(sweep.train(config("full", 1e-3), outcome=Outcome.STOPPED))

    thread = threading.Timer(0.2, go_on)
    thread.start()
    found = evaluate_sweep(sweep.folder, sets=quiz, follow=True, base=False, device="cpu")
    thread.join()
    assert [model.trial_id for model in found.models] == [first, *second]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trial", "no-such"], "this sweep has no such trial"),
        (["--best", "2", "--all"], "exclude each other"),
        (["--follow", "--best", "2"], "scores every trial as it ends"),
        (["--limit", "5"], "belongs to --tasks"),
        (
            ["--set", "evaluation=[{name: q, kind: multiple_choice}]"],
            "kind multiple_choice cannot read the held-out rows",
        ),
        (["--set", "evaluation=[{name: q, kind: losss}]"], "Did you mean 'loss'"),
        (["--set", "evaluation=[{name: q, tasks: [mmlu]}]"], "has no meaning for kind loss, only for lm_eval"),
        (["--set", "budget.trials=3"], "only the evaluation sets"),
        (["--set", "evaluation=5"], "must be a list of evaluation sets"),
        (["--set", "evaluation=[{name: q, kind: judge, data: x.jsonl}]"], "needs to know who judges"),
        (["--set", "evaluation=[{name: q, kind: multiple_choice, data: nothing.jsonl}]"], "no such file"),
    ],
)
def test_wrong_input_is_one_message_and_leaves_nothing(
    orchestrate: Orchestrate, trained: Any, words: list[str], said: str
) -> None:
    answer = orchestrate("evaluate", trained.folder.root, *words)
    assert answer.code == 2
    assert said in answer.err
    assert not trained.folder.later_scores.exists()


def test_a_lost_checkpoint_is_skipped_among_many_and_told_alone(folder: SweepFolder, trained: Any, quiz: Any) -> None:
    shutil.rmtree(folder.checkpoint(trained.lora, 1))
    found = evaluate_sweep(folder, sets=quiz, every=True, base=False, device="cpu")
    assert len(found.models) == 2
    assert "checkpoint of this trial is gone" in next(iter(found.skipped.values()))
    with pytest.raises(InputError, match="is gone"):
        evaluate_sweep(folder, sets=quiz, trials=[trained.lora], base=False, device="cpu")


def test_a_sweep_without_checkpoints_has_nothing_to_score_and_says_so_at_once(
    orchestrate: Orchestrate, folder: SweepFolder, trained: Any
) -> None:
    for trial in (trained.full, trained.lora, trained.stopped):
        shutil.rmtree(folder.checkpoint(trial, 0), ignore_errors=True)
        shutil.rmtree(folder.checkpoint(trial, 1), ignore_errors=True)
    winner = orchestrate("evaluate", folder.root)
    assert winner.code == 2
    place = folder.checkpoint(trained.full, 1)
    assert f"rerun {folder.root} {trained.full} --keep {place}" in winner.err
    every = orchestrate("evaluate", folder.root, "--all")
    assert every.code == 2
    assert "none of these 3 trials has its checkpoint any more" in every.err
    assert every.err.count("error") == 1
    assert not folder.later_scores.exists()


@pytest.mark.parametrize("device", ["gpu9", "cuda:99", "cpuu"])
def test_a_device_that_is_not_there_is_told(orchestrate: Orchestrate, trained: Any, device: str) -> None:
    answer = orchestrate("evaluate", trained.folder.root, "--device", device)
    assert answer.code == 2
    assert f"--device = '{device}': this machine has no such device; it has cpu" in answer.err
    assert not trained.folder.later_scores.exists()


def test_a_judge_that_does_not_answer_is_told_before_anything_is_scored(
    orchestrate: Orchestrate, trained: Any, tmp_path: Path
) -> None:
    (tmp_path / "q.jsonl").write_text('{"question_id": 1, "turns": ["w1 w2"]}\n')
    judge = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "retries": 0, "timeout_seconds": 2}
    sets = [{"name": "eval"}, {"name": "talk", "kind": "judge", "data": str(tmp_path / "q.jsonl"), "judge": judge}]
    answer = orchestrate("evaluate", trained.folder.root, "--all", "--set", f"evaluation={json.dumps(sets)}")
    assert answer.code == 2
    assert "the judge does not answer" in answer.err
    assert not trained.folder.later_scores.exists()


def test_later_scores_survive_a_torn_line_and_many_writers(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"

    def record(number: int) -> LaterScores:
        return LaterScores("t", 1, 32, {"a/b": float(number), "a/nan": float("nan")}, {"a/b": 0.1}, 1.0)

    threads = [threading.Thread(target=append_scores, args=(path, [record(n)])) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with path.open("ab") as file:
        file.write(b'{"trial_id": "t", "ind')
    append_scores(path, [record(99)])
    found = read_scores(path)
    assert sorted(each.scores["a/b"] for each in found) == [*map(float, range(16)), 99.0]
    assert later_scores.latest(found, "t", 1)[0]["a/b"] == 99
    assert later_scores.latest(found, "t", 0) == ({}, {})


def test_later_scores_that_cannot_be_written_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        append_scores(tmp_path, [LaterScores("t", 1, 32, {"a/b": 1.0}, {}, 1.0)])


def test_perplexity_of_nothing_absurd_overflows_quietly() -> None:
    assert loss.perplexity((5000.0, 1.0))[0] > 1e300
