"""What every scorer that is a function promises, as tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from orchestrator.settings.trial_setup import ModelSettings, TrainingSettings
from orchestrator.spec.evaluations.entry import EvaluationKind
from orchestrator.spec.options.declared import as_dataclass, checked_options
from orchestrator.training.evaluations.function.function import Row, checked_scores
from orchestrator.training.model.load import load_model, load_tokenizer

ROWS = (("Who wrote it?", "A poet."), ("How many?", "12"), ("Say nothing.", "..."), ("Where?", "In a small town."))
ANSWERS = ("A poet.", "13", "", "In a small town, they say, near the sea.")


class ScorerContract:
    """Override `scorer`; pytest runs the rest."""

    def scorer(self) -> tuple[Callable[..., Mapping[str, object]], Mapping[str, object]]:
        """Return the function and some of its options; override it."""
        raise NotImplementedError

    def entry(self) -> EvaluationKind:
        """Return the entry that the function carries."""
        found = getattr(self.scorer()[0], "entry", None)
        assert isinstance(found, EvaluationKind), "a scorer carries an entry: put @scorer(metrics={...}) above it"
        return found

    def scores(self) -> Mapping[str, object]:
        """Return what the function says of a few answers, one of them empty, or of a small model."""
        function, given = self.scorer()
        declared = self.entry().options
        options = None if declared is None else as_dataclass(declared, checked_options(declared, given, "options"))
        references = [reference for _, reference in ROWS]
        if self.entry().gives == "answers":
            return function(list(ANSWERS), references, options)
        settings = ModelSettings("testbed")
        model = load_model(settings, TrainingSettings(), torch.device("cpu")).eval()
        with torch.no_grad():
            return function(model, load_tokenizer(settings), [Row(*row) for row in ROWS], options)

    # -- the promises -----------------------------------------------------------------------------

    def test_it_returns_what_it_declares(self) -> None:
        """Every declared metric and no other, each a finite number or a pair of one and its standard error."""
        found = checked_scores(self.scores(), self.entry().metrics, "contract", "scorer")
        assert all(math.isfinite(score) for score, _ in found.values())

    def test_the_same_answers_have_the_same_scores(self) -> None:
        """A score is a function of model and rows."""
        assert self.scores() == self.scores()
