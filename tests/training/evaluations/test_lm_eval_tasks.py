"""lm-eval on the trial's own model: equal to lm-eval's own Hugging Face model, from local tasks made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval")

from orchestrator.errors import DataError
from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.training.setup.session import TrainingSession

WORDS = ["red", "blue", "five", "a cat sat", "hello world"]
CHOICE = """
task: tiny_choice
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl, train: shots.jsonl}}
output_type: multiple_choice
test_split: test
training_split: train
doc_to_text: "what is {{n}}?"
doc_to_choice: choices
doc_to_target: gold
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
ANSWER = """
task: tiny_answer
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "what is {{n}}?"
doc_to_target: "{{choices[gold]}}"
generation_kwargs: {until: ["at", "\\n"], max_gen_toks: 12, do_sample: false}
filter_list:
  - name: first
    filter: [{function: take_first}]
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
TEXT = """
task: tiny_text
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{' '.join(choices) * 12}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
"""
GROUP = """
group: tiny
task: [tiny_choice, tiny_answer]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
"""
UNSAFE = CHOICE.replace("tiny_choice", "tiny_unsafe") + "unsafe_code: true\n"
DRAWN = ANSWER.replace("tiny_answer", "tiny_drawn").replace("do_sample: false", "do_sample: true, temperature: 0.7")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [{"n": n, "choices": [WORDS[(n + k) % 5] for k in range(4)], "gold": n % 4} for n in range(15)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "shots.jsonl").write_text("\n".join(map(json.dumps, rows[:3])))
    for text in (CHOICE, ANSWER, TEXT, GROUP, UNSAFE, DRAWN):
        name = text.split(":")[1].split()[0] + (".yaml")
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def session(shared_model_folder: Path, tmp_path: Path, tasks: Path) -> Callable[..., TrainingSession]:
    train = tmp_path / "train.jsonl"
    train.write_text("\n".join(json.dumps({"question": f"what is {n}", "answer": "red"}) for n in range(8)))

    def make(**values: Any) -> TrainingSession:
        entry = EvaluationSet("bench", "lm_eval", task_folders=[str(tasks)], **values)
        setup = TrialSetup(
            ModelSettings(str(shared_model_folder)), DataSettings(str(train)), (entry,), TrainingSettings()
        )
        return TrainingSession(setup, tmp_path / "c", device="cpu")

    return make


def lively(model: Any) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)
    return model


def test_scores_equal_those_of_lm_evals_own_model(session: Callable[..., TrainingSession], tokenizer: Any) -> None:
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    from orchestrator.training.evaluations.lm_eval.lm_eval import quiet

    made = session(tasks=["tiny_choice", "tiny_answer", "tiny_text"], num_fewshot=2)
    model = lively(made.base)
    found = made.evaluate(model)
    loaded = made.parts.sets[0].note["tasks"]
    with quiet():
        theirs = evaluate(
            HFLM(pretrained=model, tokenizer=tokenizer, batch_size=3, max_length=128), loaded, bootstrap_iters=1000
        )["results"]
    for name in ("acc", "acc_norm"):
        assert found.values[f"bench/tiny_choice/{name}"] == pytest.approx(theirs["tiny_choice"][f"{name},none"])
        error = theirs["tiny_choice"][f"{name}_stderr,none"]
        assert found.standard_errors[f"bench/tiny_choice/{name}"] == pytest.approx(error)
    assert found.values["bench/tiny_answer/exact_match.first"] == theirs["tiny_answer"]["exact_match,first"]
    # Windows are one token shorter here, which moves little of a text of several windows.
    ours = found.values["bench/tiny_text/bits_per_byte"]
    assert ours == pytest.approx(theirs["tiny_text"]["bits_per_byte,none"], rel=0.02)
    assert 0 < found.values["bench/tiny_choice/acc"] < 1


def test_answers_equal_those_of_lm_evals_own_model(session: Callable[..., TrainingSession], tokenizer: Any) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from orchestrator.training.evaluations.lm_eval.lm_eval import quiet
    from orchestrator.training.evaluations.lm_eval.model import SubjectModel

    made = session(tasks=["tiny_answer"])
    model = lively(made.base).eval()
    prompts = [f"what is {n} and a {WORDS[n % 5]} cat?" for n in range(12)]
    asked = {"until": ["at", "q"], "max_gen_toks": 24, "do_sample": False}
    requests = [Instance("generate_until", {}, (prompt, dict(asked)), place) for place, prompt in enumerate(prompts)]
    subject = made.evaluator._subject(model, None, None)
    with quiet():
        ours = SubjectModel(subject).generate_until(requests)
        theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, max_length=128).generate_until(requests)
    assert ours == theirs
    assert len(set(ours)) > 3


def test_a_group_tells_its_mean_and_a_limit_is_kept(session: Callable[..., TrainingSession]) -> None:
    made = session(tasks=["tiny"], limit=5)
    entry = made.parts.sets[0]
    assert entry.note["metrics"] == ["tiny/acc"]
    assert entry.note["scored"] == 10
    found = made.evaluate(lively(made.base))
    assert set(found.values) == {"bench/tiny/acc"}
    assert found.standard_errors["bench/tiny/acc"] > 0


def test_evaluation_by_lm_eval_leaves_no_trace_and_repeats(session: Callable[..., TrainingSession]) -> None:
    import random

    import numpy as np

    made = session(tasks=["tiny_choice", "tiny_answer"], num_fewshot=1, prompt="chat")
    trial = made.trial(TrialConfig("lora", 4, 1e-3, 16), "t")
    trial.advance(8)
    random.seed(3)
    np.random.seed(3)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    scores = [trial.evaluate(final=True) for _ in range(2)]
    assert scores[0] == scores[1]
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tasks": ["tiny_choise"]}, r"no such task. Did you mean 'tiny_choice'"),
        ({"tasks": ["tiny_unsafe"]}, "runs code that the model writes. Set unsafe_code"),
        ({"tasks": ["tiny_drawn"]}, "draws answers at random"),
    ],
)
def test_wrong_tasks_are_told_before_anything_is_trained(
    session: Callable[..., TrainingSession], monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], said: str
) -> None:
    from orchestrator.training.evaluations.lm_eval import tasks as lm_eval_tasks

    # The index of lm-eval's own tasks takes half a minute to build.
    monkeypatch.setattr(lm_eval_tasks, "_index", lambda _: {})
    with pytest.raises(DataError, match=said):
        _ = session(**values).parts


def test_an_asked_unsafe_task_runs(session: Callable[..., TrainingSession]) -> None:
    made = session(tasks=["tiny_unsafe"], unsafe_code=True)
    assert "bench/tiny_unsafe/acc" in made.evaluate(made.base).values


def test_missing_data_files_are_told(session: Callable[..., TrainingSession], tasks: Path) -> None:
    (tasks / "rows.jsonl").unlink()
    with pytest.raises(DataError, match="cannot be loaded"):
        _ = session(tasks=["tiny_answer"]).parts


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tiny_choice.yaml", "doc_to_target: gold", "doc_to_target: n"),
        ("tiny_choice.yaml", "metric: acc_norm", "metric: brier_score"),
        ("shots.jsonl", '"n": 1', '"n": 9'),
    ],
)
def test_a_task_that_was_changed_has_another_digest(
    session: Callable[..., TrainingSession], tasks: Path, file: str, old: str, new: str
) -> None:
    def digest() -> str:
        return session(tasks=["tiny_choice"], num_fewshot=1).parts.sets[0].digest

    before = digest()
    assert digest() == before
    (tasks / file).write_text((tasks / file).read_text().replace(old, new))
    assert digest() != before
