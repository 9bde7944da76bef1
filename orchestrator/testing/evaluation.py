"""What every scorer of evaluation sets promises, as tests on a small language model that comes with the package."""

from __future__ import annotations

import math
import pickle
import random
from pathlib import Path

import numpy as np
import torch
from torch import nn

from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.spec.evaluations.kinds import kind_of
from orchestrator.spec.evaluations.sets import check_set, may_give, metrics_of
from orchestrator.training.evaluations.scoring.evaluator import Scores
from orchestrator.training.model.load import fresh_copy
from orchestrator.training.setup.session import TrainingSession

NAME = "contract"
TRAINING_ROWS = 60


class EvaluationContract:
    """Override `settings`; pytest runs the rest, each with a folder of its own.

    Attributes:
        name: Name that the set must have.
        relative_tolerance: How far two scores of the same model may lie apart: for scorers that ask somebody else.
    """

    name: str = NAME
    relative_tolerance: float = 0.0

    def settings(self, folder: Path) -> EvaluationSet:
        """Return a small set of the kind (a few rows; files may be written into the folder); override it."""
        raise NotImplementedError

    def session(self, folder: Path) -> TrainingSession:
        """Return a session whose model is scored; its training and held-out rows are questions with short answers."""
        data = DataSettings(f"testbed:sft?rows={TRAINING_ROWS}", held_out=6)
        setup = TrialSetup(ModelSettings("testbed"), data, (self.settings(folder),), TrainingSettings())
        return TrainingSession(setup, folder / "cache", device="cpu")

    # -- the promises -----------------------------------------------------------------------------

    def test_a_sweep_file_may_hold_the_set(self, tmp_path: Path) -> None:
        """The set passes the checks of its own kind, and says what it gives."""
        entry = self.settings(tmp_path)
        assert entry.name == self.name, f"name the set {self.name!r}"
        check_set(entry, "evaluation.0")
        assert metrics_of(entry) or kind_of(entry).by_task, "a set that gives no metric says nothing"

    def test_it_gives_what_it_declares(self, tmp_path: Path) -> None:
        """Every declared metric and no other; each a number with an error that is none or not negative."""
        entry = self.settings(tmp_path)
        scores = _score(self.session(tmp_path))
        assert all(may_give(entry, metric) for metric in scores.values), f"not declared: {sorted(scores.values)}"
        missing = set(metrics_of(entry)) - set(scores.values)
        assert not missing, f"declared, and not given: {sorted(missing)}"
        assert all(isinstance(value, float) for value in scores.values.values())
        broken = sorted(name for name, value in scores.values.items() if not math.isfinite(value))
        assert not broken, f"no numbers: {broken}"
        errors = scores.standard_errors
        assert set(errors) == set(scores.values)
        assert all(math.isnan(error) or error >= 0 for error in errors.values()), f"negative errors: {errors}"

    def test_the_same_model_has_the_same_scores(self, tmp_path: Path) -> None:
        """Scores are a function of model and rows: no random number, no memory of the model before."""
        session = self.session(tmp_path)
        first, second = _score(session), _score(session)
        for name, value in first.values.items():
            assert math.isclose(value, second.values[name], rel_tol=self.relative_tolerance), (
                f"{name} is {value} and then {second.values[name]}"
            )

    def test_other_weights_are_looked_at(self, tmp_path: Path) -> None:
        """A ruined model is scored without an error, whatever it says."""
        session = self.session(tmp_path)
        model = _model(session)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.0)
        scores = session.evaluate(model)
        assert all(may_give(self.settings(tmp_path), metric) for metric in scores.values)

    def test_it_leaves_no_trace(self, tmp_path: Path) -> None:
        """Weights, modes, gradients and random states are as before: training goes on after it."""
        session = self.session(tmp_path)
        model = _model(session)
        model.train()
        weights = [parameter.detach().clone() for parameter in model.parameters()]
        states = random.getstate(), torch.get_rng_state(), pickle.dumps(np.random.get_state())
        session.evaluate(model)
        assert random.getstate() == states[0], "Python's random state has moved"
        assert torch.equal(torch.get_rng_state(), states[1]), "torch's random state has moved"
        assert pickle.dumps(np.random.get_state()) == states[2], "numpy's random state has moved"
        assert all(module.training for module in model.modules()), "a module is left in evaluation mode"
        assert all(map(torch.equal, model.parameters(), weights)), "the scorer has changed weights"
        assert all(parameter.grad is None for parameter in model.parameters()), "the scorer leaves gradients"

    def test_rows_are_the_same_when_they_are_read_again(self, tmp_path: Path) -> None:
        """A resumed sweep reads the same rows, from the cache or anew: equal digests."""
        first, again = (self.session(tmp_path).parts.sets[0] for _ in range(2))
        assert first.digest == again.digest
        assert first.digest, "the digest of rows that the cache of scores goes by is empty"


def _model(session: TrainingSession) -> nn.Module:
    return fresh_copy(session.base, session.device)


def _score(session: TrainingSession) -> Scores:
    return session.evaluate(_model(session))
