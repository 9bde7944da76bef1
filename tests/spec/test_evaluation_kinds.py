"""Evaluation sets in a sweep file: which fields belong to which kind, which metrics there are, and what identity is."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.spec.evaluations.entry import EvaluationKind
from orchestrator.spec.evaluations.identity import LATER_FIELDS
from orchestrator.spec.evaluations.kinds import KINDS
from orchestrator.spec.evaluations.sets import metrics_of
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.schema import sweep_schema
from orchestrator.spec.sweep import SweepSpec
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.evaluations.contract.evaluation import Scorer, SetScores, Subject
from orchestrator.training.evaluations.scorers import scorer_of

EVAL = {"name": "eval"}
BENCH = {"name": "bench", "kind": "lm_eval", "tasks": ["arc_easy"], "when": "end"}


def sweep(*sets: dict[str, Any], **changes: Any) -> SweepSpec:
    values = {
        "name": "s",
        "model": "testbed",
        "data": {"train": "testbed:sft"},
        "evaluation": [EVAL, *sets],
        "search_space": {"method": "full", "effective_batch_size": 8},
        "budget": {"samples": 64},
    }
    return parse_sweep({**values, **changes})


def test_every_kind_has_its_scorer_and_reads_known_fields() -> None:
    assert all(isinstance(scorer_of(EvaluationSet("e", name)), Scorer) for name in KINDS)
    known = {field.name for field in fields(EvaluationSet)}
    assert all(set(kind.reads) <= known for kind in KINDS.values())
    of_all = {"name", "kind", "when", "detached"}
    # `options` are a plug-in's: none of ours reads them.
    assert {name for kind in KINDS.values() for name in kind.reads} == known - of_all - {"options"}


def test_metrics_are_known_before_anything_is_read() -> None:
    judged = EvaluationSet("talk", "judge")
    assert metrics_of(EvaluationSet("a", perplexity=True)) == ["a/loss", "a/perplexity"]
    assert metrics_of(EvaluationSet("a", "text_loss")) == ["a/loss", "a/forgetting"]
    assert metrics_of(EvaluationSet("q", "multiple_choice", choices="letters")) == ["q/accuracy"]
    assert metrics_of(judged) == ["talk/score", "talk/score_first_turn", "talk/score_second_turn", "talk/failures"]


def test_a_task_of_lm_eval_can_be_the_objective() -> None:
    late = {"metric": "bench/arc_easy/acc", "mode": "max"}
    spec = sweep({**BENCH, "when": "milestones"}, objective=late)
    assert "bench/arc_easy/acc" in spec.metrics
    with pytest.raises(SpecError, match="no evaluation set gives this metric"):
        sweep(BENCH, objective={"metric": "bench/acc", "mode": "max"})
    with pytest.raises(SpecError, match="evaluated only at the end"):
        sweep(BENCH, objective=late)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "q", "kind": "multiple_choice"}, "kind multiple_choice cannot read the held-out rows"),
        ({"name": "q", "kind": "instructions"}, "kind instructions cannot read the held-out rows"),
        ({"name": "q", "kind": "lm_eval"}, "kind lm_eval needs tasks"),
        ({"name": "q", "tasks": ["mmlu"]}, "tasks .*has no meaning for kind loss, only for lm_eval"),
        ({"name": "q", "kind": "lm_eval", "tasks": ["a"], "data": "x.jsonl"}, "data .*has no meaning for kind lm_eval"),
        ({"name": "q", "kind": "exact_match", "extract": "(("}, "is no regular expression"),
        ({"name": "q", "kind": "exact_match", "extract": "####"}, "has no group"),
        ({"name": "q", "kind": "multiple_choice", "data": "x", "fewshot_data": "y"}, "no example is asked for"),
        ({"name": "q", "kind": "judge", "data": "x"}, "needs to know who judges"),
        ({"name": "q", "kind": "judge", "data": "x", "judge": {"base_url": "ftp://x", "model": "m"}}, "base_url"),
        (
            {"name": "q", "kind": "judge", "data": "x", "judge": {"base_url": "http://me:pw@x/v1", "model": "m"}},
            "holds a login",
        ),
        (
            {
                "name": "q",
                "kind": "judge",
                "data": "x",
                "judge": {"base_url": "http://x", "model": "m", "baseline": "b"},
            },
            "grading single compares with nothing",
        ),
        ({"name": "q", "kind": "perplexity"}, "must be one of"),
    ],
)
def test_wrong_sets_are_told_with_their_field(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        sweep(entry)
    assert "pw" not in str(caught.value)


def test_a_detached_set_that_says_nothing_of_when_is_scored_at_the_end() -> None:
    spec = sweep({"name": "b", "detached": True}, {"name": "c", "detached": True, "when": "milestones"})
    assert [entry.when for entry in spec.evaluation] == ["milestones", "end", "milestones"]
    assert parse_sweep({**spec.content(), "storage": "runs"}).evaluation == spec.evaluation
    assert spec.content()["evaluation"][0]["when"] == "milestones"


@pytest.mark.parametrize("when", ["milestones", "end"])
@pytest.mark.parametrize("judged", ["objective", "constraint"])
def test_nothing_is_judged_by_a_detached_set(judged: str, when: str) -> None:
    later = {"name": "later", "kind": "exact_match", "data": "testbed:skills", "detached": True, "when": when}
    objective: dict[str, Any] = {"metric": "later/exact_match", "mode": "max"}
    if judged == "constraint":
        objective = {"metric": "eval/loss", "constraints": [{"metric": "later/exact_match", "at_least": 0.1}]}
    assert sweep(later).evaluation[1].detached
    with pytest.raises(SpecError, match="belongs to a detached evaluation set"):
        sweep(later, objective=objective)


def test_identity_ignores_later_fields_at_their_defaults_and_how_patiently_a_judge_is_asked() -> None:
    plain = sweep().content()["evaluation"][0]
    assert not set(plain) & set(LATER_FIELDS)
    judge = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    talk = {"name": "talk", "kind": "judge", "data": "x.jsonl", "when": "end"}
    one = sweep({**talk, "judge": judge})
    other = sweep({**talk, "judge": {**judge, "timeout_seconds": 5, "api_key_env": "KEY", "concurrency": 2}})
    third = sweep({**talk, "judge": {**judge, "model": "another"}})
    assert one.digest == other.digest != third.digest
    again = parse_sweep({**one.content(), "storage": "runs"})
    assert again.digest == one.digest


def test_a_kind_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="must be one of loss, "):
        sweep({"name": "t", "kind": "toy", "data": "x.txt"})
    toy = EvaluationKind(
        "toy", f"{__name__}:ToyScorer", {"wins": "max", "ties": "max"}, ("data", "limit"), own_data=True
    )
    monkeypatch.setitem(KINDS, "toy", toy)
    spec = sweep({"name": "t", "kind": "toy", "data": "x.txt"}, objective={"metric": "t/wins", "mode": "max"})
    assert spec.metrics == ["eval/loss", "t/wins", "t/ties"]
    assert isinstance(scorer_of(spec.evaluation[1]), ToyScorer)
    assert "toy" in sweep_schema()["$defs"]["EvaluationSet"]["properties"]["kind"]["anyOf"][0]["enum"]
    with pytest.raises(SpecError, match="kind toy cannot read the held-out rows"):
        sweep({"name": "t", "kind": "toy"})
    with pytest.raises(SpecError, match="has no meaning for kind toy, only for lm_eval"):
        sweep({"name": "t", "kind": "toy", "data": "x.txt", "tasks": ["a"]})


class ToyScorer(Scorer):
    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        return SetScores({"wins": (1.0, 0.0), "ties": (0.0, 0.0)})


def test_an_unknown_kind_is_told_beside_what_else_is_wrong() -> None:
    with pytest.raises(SpecError, match=r"evaluation.1.kind = 'los': .*Did you mean 'loss'; .* at: evaluation.1.limit"):
        sweep({"name": "t", "kind": "los", "limit": 0})
    with pytest.raises(SpecError, match=r"evaluation.1.limitt = 3: this key is not known.*at: evaluation.1.kind"):
        sweep({"name": "t", "kind": 3, "limitt": 3})
    with pytest.raises(SpecError, match=r"evaluation.1 = 'los': must be one of"):
        sweep(EvaluationSet("t", "los"))  # type: ignore[arg-type]
