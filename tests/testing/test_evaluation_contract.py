"""The kinds that need no package of others keep the contract that authors of scorers are given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.spec.evaluations.entry import EvaluationKind
from orchestrator.spec.evaluations.kinds import KINDS
from orchestrator.testing import EvaluationContract
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.evaluations.contract.evaluation import Scorer, SetScores, Subject


class TestLoss(EvaluationContract):
    def settings(self, folder: Path) -> EvaluationSet:
        return EvaluationSet(self.name, perplexity=True, limit=4)


class TestTextLoss(EvaluationContract):
    def settings(self, folder: Path) -> EvaluationSet:
        text = folder / "text.txt"
        text.write_text("the cat sat on the mat and the dog ran to the red house " * 20, encoding="utf-8")
        return EvaluationSet(self.name, "text_loss", str(text), limit=2)


class TestMultipleChoice(EvaluationContract):
    def settings(self, folder: Path) -> EvaluationSet:
        rows = [{"question": f"what is {n}", "choices": ["one", "two", "cat"], "answer": n % 3} for n in range(4)]
        file = folder / "quiz.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return EvaluationSet(self.name, "multiple_choice", str(file))


class TestAToy(EvaluationContract):
    @pytest.fixture(autouse=True)
    def registered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kind = EvaluationKind("toy", f"{__name__}:Lengths", {"length": "max"}, ("data", "format", "columns", "limit"))
        monkeypatch.setitem(KINDS, "toy", kind)

    def settings(self, folder: Path) -> EvaluationSet:
        return EvaluationSet(self.name, "toy", limit=3)


class Lengths(Scorer):
    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        return SetScores({"length": (float(entry.data.lengths.mean()), 0.0)})


class Misnaming(Lengths):
    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        return SetScores({"lenght": (1.0, 0.0)})


def test_a_scorer_that_gives_another_metric_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = EvaluationKind("toy", f"{__name__}:Misnaming", {"length": "max"}, ("data", "limit"))
    monkeypatch.setitem(KINDS, "toy", kind)
    with pytest.raises(AssertionError, match=r"not declared: .'contract/lenght'"):
        TestAToy().test_it_gives_what_it_declares(tmp_path)
