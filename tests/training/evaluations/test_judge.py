"""The judge, against a real HTTP server on loopback."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import (
    DataSettings,
    EvaluationSet,
    JudgeSettings,
    ModelSettings,
    TrainingSettings,
    TrialSetup,
)
from orchestrator.training.evaluations import scorers
from orchestrator.training.evaluations.judge import client as judge_client
from orchestrator.training.evaluations.judge.prompts import read_rating, read_verdict
from orchestrator.training.setup.session import TrainingSession
from tests.worlds.judge_server import serving

Make = Callable[..., TrainingSession]
QUESTIONS = [
    {"question_id": 81, "turns": ["what is red", "and blue"]},
    {"question_id": 82, "turns": ["what is a cat", "a mat"]},
    {"question_id": 83, "turns": ["what is two plus three"], "reference": ["five"]},
]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_client, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def make(shared_model_folder: Path, tmp_path: Path) -> Make:
    train, rows = tmp_path / "train.jsonl", tmp_path / "questions.jsonl"
    train.write_text("\n".join(json.dumps({"question": f"what is {n}", "answer": "red"}) for n in range(8)))
    rows.write_text("\n".join(map(json.dumps, QUESTIONS)))

    def _make(base_url: str, **values: Any) -> TrainingSession:
        judge = JudgeSettings(base_url, "some-judge", **values)
        entry = EvaluationSet("talk", "judge", str(rows), max_new_tokens=8, judge=judge)
        setup = TrialSetup(
            ModelSettings(str(shared_model_folder)), DataSettings(str(train)), (entry,), TrainingSettings()
        )
        return TrainingSession(setup, tmp_path / "c", device="cpu")

    return _make


def graded(system: str, user: str, times: int) -> str:
    """Grade second turns lower, and the question with a reference highest."""
    if "Reference answer 1" in user:
        return "As the reference. Rating: [[10]]"
    return "So so. Rating: [[4]]" if "two questions in a row" in system else "Good. Rating: [[7]]"


def test_single_grading_means_over_turns_with_questions_as_the_unit(make: Make) -> None:
    with serving(graded) as judge:
        session = make(judge.base_url, concurrency=4)
        found = session.evaluate(session.base)
    assert found.values["talk/score"] == pytest.approx((7 + 4 + 7 + 4 + 10) / 5)
    assert found.values["talk/score_first_turn"] == pytest.approx(8)
    assert (found.values["talk/score_second_turn"], found.values["talk/failures"]) == (4, 0)
    # Ratio estimator by hand: questions with sums 11, 11, 10 over counts 2, 2, 1.
    residuals = np.array([11, 11, 10]) - 6.4 * np.array([2, 2, 1])
    assert found.standard_errors["talk/score"] == pytest.approx(math.sqrt((residuals**2).sum() * 3 / 2) / 5)
    assert len(judge.asked) == 5
    assert {body["model"] for body in judge.asked} == {"some-judge"}
    assert all(body["temperature"] == 0 for body in judge.asked)


def test_second_turns_see_the_first_answer_and_equal_plain_generation(make: Make, tokenizer: Any) -> None:
    import torch

    with serving(graded) as judge:
        session = make(judge.base_url)
        answers = session.evaluate(session.base).answers["talk"]

    def plainly(text: str) -> str:
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        stops = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
        with torch.no_grad():
            made = session.base.generate(ids, do_sample=False, max_new_tokens=8, eos_token_id=stops, pad_token_id=0)
        return str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))

    first = plainly("<|im_start|>user\nwhat is red<|im_end|>\n<|im_start|>assistant\n")
    assert answers["81"][0] == first
    before = f"<|im_start|>user\nwhat is red<|im_end|>\n<|im_start|>assistant\n{first}<|im_end|>\n"
    assert answers["81"][1] == plainly(f"{before}<|im_start|>user\nand blue<|im_end|>\n<|im_start|>assistant\n")
    assert len(answers["83"]) == 1


@pytest.mark.parametrize(
    ("verdicts", "rate"),
    [(("A", "B"), 1.0), (("B", "A"), 0.0), (("A", "A"), 0.5), (("C", "C"), 0.5), (("B", "C"), 0.5)],
)
def test_pairwise_asks_in_both_orders(make: Make, tmp_path: Path, verdicts: tuple[str, str], rate: float) -> None:
    baseline = tmp_path / "baseline.jsonl"
    rows = [{"question_id": q["question_id"], "choices": [{"turns": ["MINE"] * 2}]} for q in QUESTIONS]
    baseline.write_text("\n".join(map(json.dumps, rows)))

    def reply(system: str, user: str, times: int) -> str:
        swapped = user.index("MINE") < user.index("of Assistant B")
        return f"Hm. [[{verdicts[1] if swapped else verdicts[0]}]]"

    with serving(reply) as judge:
        session = make(judge.base_url, grading="pairwise", baseline=str(baseline))
        found = session.evaluate(session.base)
    assert found.values == {"talk/win_rate": rate, "talk/failures": 0}
    assert len(judge.asked) == 10


def test_pairwise_against_the_base_model(make: Make) -> None:
    import torch

    with serving(lambda *_: "[[A]]") as judge:
        session = make(judge.base_url, grading="pairwise")
        base = session.base_scores()
        assert base == {"talk/win_rate": 0.5, "talk/failures": 0.0}
        assert not judge.asked
        changed = session.base
        with torch.no_grad():
            changed.model.norm.weight.mul_(-1)
        found = session.evaluate(changed)
    assert found.values["talk/win_rate"] == 0.5
    assert len(judge.asked) == 10


def test_failures_are_counted_and_never_scored(make: Make) -> None:
    def reply(system: str, user: str, times: int) -> str | int | None:
        if "what is red" in user:
            return "I would rather not say."
        if "two questions in a row" in system:
            return None
        return 400 if "Reference" in user else "Rating: [[8]]"

    with serving(reply) as judge:
        session = make(judge.base_url)
        found = session.evaluate(session.base)
    assert found.values["talk/score"] == 8
    assert found.values["talk/failures"] == 4
    assert math.isnan(found.values["talk/score_second_turn"])


def test_what_may_pass_is_tried_again_and_what_will_not_is_not(make: Make) -> None:
    def reply(system: str, user: str, times: int) -> str | int:
        if "what is red" in user:
            return 429 if times < 3 else "Rating: [[5]]"
        return 401

    with serving(reply) as judge:
        session = make(judge.base_url, retries=3)
        found = session.evaluate(session.base)
    assert (found.values["talk/score"], found.values["talk/failures"]) == (5, 3)
    assert len(judge.asked) == 2 * 3 + 3


def test_a_judge_that_dies_half_way_only_costs_its_judgments(make: Make) -> None:
    session = make("http://127.0.0.1:9/v1", retries=1)
    found = session.evaluate(session.base)
    assert found.values["talk/failures"] == 5
    assert math.isnan(found.values["talk/score"])


def test_a_slow_judge_is_given_up_in_time(make: Make) -> None:
    def reply(system: str, user: str, times: int) -> str:
        time.sleep(0.4)
        return "Rating: [[5]]"

    with serving(reply) as judge:
        session = make(judge.base_url, timeout_seconds=0.1, retries=0, max_minutes=0.3 / 60, concurrency=1)
        found = session.evaluate(session.base)
    assert found.values["talk/failures"] == 5
    assert len(judge.asked) < 5


def test_requests_run_at_once_up_to_the_limit(make: Make) -> None:
    def reply(system: str, user: str, times: int) -> str:
        time.sleep(0.1)
        return "Rating: [[5]]"

    with serving(reply) as judge:
        session = make(judge.base_url, concurrency=2)
        session.evaluate(session.base)
    assert judge.at_once == 2


def test_the_key_is_sent_and_told_nowhere(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "very-secret")
    with serving(lambda *_: 403) as judge:
        entry = make(judge.base_url, api_key_env="JUDGE_KEY").parts.sets[0]
        with pytest.raises(DataError, match="refuses: status 403") as caught:
            scorers.check(entry)
    assert judge.keys == ["Bearer very-secret"]
    assert "very-secret" not in str(caught.value)
    assert "very-secret" not in repr(entry.settings)


@pytest.mark.parametrize(
    ("url", "values", "said"),
    [
        ("http://127.0.0.1:9/v1", {}, "the judge does not answer"),
        ("http://127.0.0.1:9/v1", {"api_key_env": "NO_SUCH_KEY"}, "environment variable is not set"),
    ],
)
def test_a_judge_that_cannot_be_asked_is_told_at_once(make: Make, url: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        scorers.check(make(url, **values).parts.sets[0])


def test_an_address_that_is_no_judge_is_told(make: Make) -> None:
    with serving(lambda *_: None) as judge, pytest.raises(DataError, match="not as an OpenAI-compatible endpoint"):
        scorers.check(make(judge.base_url).parts.sets[0])
    with serving(lambda *_: "OK") as judge:
        with pytest.raises(DataError, match="status 404"):
            scorers.check(make(judge.base_url.removesuffix("/v1")).parts.sets[0])
        assert "answers" in scorers.check(make(judge.base_url).parts.sets[0])


def test_a_baseline_without_answers_is_told(make: Make, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.jsonl"
    baseline.write_text(json.dumps({"question_id": 81, "turns": ["one"]}))
    with pytest.raises(DataError, match="no answer to each of the 2 turns"):
        _ = make("http://127.0.0.1:9/v1", grading="pairwise", baseline=str(baseline)).parts


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("Rating: [[7]]", 7),
        ("[[3]] then [[6.5]]", 6.5),
        ("Rating: [8]", 8),
        ("[[0]]", None),
        ("[[11]]", None),
        ("7", None),
    ],
)
def test_ratings_are_read_from_their_brackets(text: str, grade: float | None) -> None:
    assert read_rating(text) == grade


def test_verdicts_are_read_from_their_brackets() -> None:
    assert (read_verdict("[[A]] no, [[B]]"), read_verdict("[[D]]"), read_verdict("A")) == ("B", None, None)
