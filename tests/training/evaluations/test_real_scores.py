"""MMLU, GSM8K, IFEval and MT-Bench from real files on a really pretrained model; skipped where the folder is absent."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.settings.trial_setup import (
    DataSettings,
    EvaluationSet,
    JudgeSettings,
    ModelSettings,
    TrainingSettings,
    TrialSetup,
)
from orchestrator.training.data.sources import load_rows
from orchestrator.training.evaluations.exact_match.exact_match import comparable
from orchestrator.training.evaluations.multiple_choice.rows import read_questions
from orchestrator.training.setup.session import TrainingSession
from tests.worlds.judge_server import serving

pytestmark = pytest.mark.real_data
Make = Callable[..., TrainingSession]

MMLU_TASK = """
task: local_mmlu
dataset_path: json
dataset_kwargs: {data_files: {test: mmlu.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}\\n{% for choice in choices %}{{'ABCD'[loop.index0]}}. {{choice}}\\n{% endfor %}Answer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module")
def stories(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from convert_stories260k import convert

    folder = tmp_path_factory.mktemp("scored") / "stories260k"
    convert(real_data / "weights_stories260K", folder)
    return folder


@pytest.fixture
def make(stories: Path, tmp_path: Path) -> Make:
    train = tmp_path / "train.jsonl"
    train.write_text("\n".join(json.dumps({"question": f"Once {n}", "answer": "there was a cat"}) for n in range(8)))

    def _make(*sets: EvaluationSet) -> TrainingSession:
        setup = TrialSetup(ModelSettings(str(stories)), DataSettings(str(train)), sets, TrainingSettings())
        return TrainingSession(setup, tmp_path / "c", device="cpu")

    return _make


def test_mmlu_here_equals_mmlu_in_lm_eval(real_data: Path, make: Make, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    file = real_data / "mmlu_1444" / "mmlu_test_1444.jsonl"
    rows = load_rows(str(file))
    found = read_questions(rows, {}, str(file), range(1, len(rows) + 1))
    assert len(found) == 1444
    four = [question for question in found if len(question.choices) == 4 and len(question.text) < 150]
    assert len(four) > 600
    shown = [{"question": q.text, "choices": q.choices, "answer": q.gold} for q in four[:: len(four) // 30]]
    (tmp_path / "mmlu.jsonl").write_text("\n".join(map(json.dumps, shown)))
    (tmp_path / "mmlu.yaml").write_text(MMLU_TASK)
    ours = EvaluationSet(
        "ours", "multiple_choice", str(tmp_path / "mmlu.jsonl"), choices="letters", prompt="plain", too_long="truncate"
    )
    theirs = EvaluationSet("theirs", "lm_eval", tasks=["local_mmlu"], task_folders=[str(tmp_path)])
    session = make(ours, theirs)
    scores = session.evaluate(session.base)
    assert scores.values["ours/accuracy"] == scores.values["theirs/local_mmlu/acc"]
    assert scores.standard_errors["ours/accuracy"] == pytest.approx(scores.standard_errors["theirs/local_mmlu/acc"])


def test_every_answer_of_gsm8k_holds_a_number(real_data: Path) -> None:
    rows = load_rows(str(real_data / "gsm8k" / "test.jsonl"))
    found = [comparable(row["answer"], "#### (.*)") for row in rows]
    wanted = [str(int(row["answer"].split("####")[1].replace(",", ""))) for row in rows]
    assert found == wanted


def test_ifeval_is_checked_on_real_prompts(real_data: Path, make: Make) -> None:
    pytest.importorskip("lm_eval")
    file = str(real_data / "ifeval" / "input_data.jsonl")
    session = make(
        EvaluationSet("follow", "instructions", file, max_new_tokens=24, unverifiable="drop", too_long="drop", limit=30)
    )
    scores = session.evaluate(session.base)
    values = scores.values
    assert 0 <= values["follow/prompt_strict"] <= values["follow/prompt_loose"] < 1
    assert values["follow/instruction_strict"] > 0, "short stories hold no comma now and then"
    whole = make(EvaluationSet("follow", "instructions", file, unverifiable="drop", too_long="drop")).parts.sets[0]
    assert len(whole.note["rows"]) > 250


def test_mt_bench_is_judged_in_two_turns(real_data: Path, make: Make) -> None:
    def reply(system: str, user: str, times: int) -> str:
        return f"Rating: [[{4 if 'two questions in a row' in system else 6}]]"

    file = str(real_data / "mtbench" / "mt_bench" / "question.jsonl")
    with serving(reply) as judge:
        settings = JudgeSettings(judge.base_url, "loopback")
        entry = EvaluationSet("talk", "judge", file, max_new_tokens=16, limit=8, too_long="drop", judge=settings)
        session = make(entry)
        scores: dict[str, Any] = dict(session.evaluate(session.base).values)
    questions = len(session.parts.sets[0].note["tasks"])
    assert len(judge.asked) == 2 * questions
    assert (scores["talk/score"], scores["talk/failures"]) == (5, 0)
