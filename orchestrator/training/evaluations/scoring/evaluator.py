"""Scores of a model on named evaluation sets; each kind of set has a scorer in `orchestrator.training.evaluations`.

Evaluation leaves no trace: random states, the mode of every module and gradients are as before.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.evaluations.contract.evaluation import AnswerTokens as AnswerTokens
from orchestrator.training.evaluations.contract.evaluation import SetScores, Subject
from orchestrator.training.evaluations.scorers import scorer_of
from orchestrator.training.loop.loss import make_answer_loss
from orchestrator.training.methods.contract.method import Method


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    Attributes:
        values: Metric -> value: ``NAME/loss``, ``NAME/exact_match``, ``NAME/forgetting``, ...
        standard_errors: Metric -> standard error over the set's rows (rows as the sampling unit).
        row_losses: Set -> summed loss of each row, nats (kept for paired comparisons with the base).
        seconds: Wall time.
        answers: Set -> the model's answers by row key (kept for a judge's comparisons with the base).
        set_seconds: Set -> wall time; 0 where its scores were known already.
    """

    values: dict[str, float]
    standard_errors: dict[str, float]
    row_losses: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    answers: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    set_seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, inverse of ``Scores(**values)``."""
        return asdict(self)

    def take(self, name: str, found: SetScores, seconds: float = 0.0) -> None:
        """Add what one set said."""
        for metric, (value, error) in found.metrics.items():
            self.values[f"{name}/{metric}"], self.standard_errors[f"{name}/{metric}"] = float(value), float(error)
        if found.row_losses is not None:
            self.row_losses[name] = found.row_losses.tolist()
        if found.answers:
            self.answers[name] = {key: list(turns) for key, turns in found.answers.items()}
        self.set_seconds[name] = seconds


Known = Callable[[PreparedSet, Callable[[], SetScores]], SetScores]
"""Gives a set's scores, from a store where it has them, else by the call that computes them."""


class Evaluator:
    """Scores models on prepared evaluation sets.

    Args:
        sets: The evaluation sets.
        tokens: Special tokens.
        loss_chunk_tokens: Answer tokens whose logits may live at the same time.
    """

    def __init__(self, sets: Sequence[PreparedSet], tokens: AnswerTokens, loss_chunk_tokens: int = 4096) -> None:
        self.sets, self.tokens, self.loss_chunk_tokens = tuple(sets), tokens, loss_chunk_tokens

    def evaluate(
        self,
        model: nn.Module,
        method: Method | None = None,
        *,
        final: bool = True,
        base: Scores | None = None,
        names: Sequence[str] | None = None,
        known: Known | None = None,
    ) -> Scores:
        """Score a model.

        Args:
            model: The (wrapped) model, on its device.
            method: The method that wrapped it, None for a plain model.
            final: Whether sets that are evaluated only at the end are included.
            base: Scores of the base model; without them forgetting is left out.
            names: Only these sets; None: all.
            known: Asked for each set, see `Known`.
        """
        started = time.perf_counter()
        scores = Scores({}, {})
        chosen = [entry for entry in self.sets if names is None or entry.name in names]
        with untouched(model):
            subject = self._subject(model, method, base)
            for entry in chosen:
                if entry.settings.when == "milestones" or final:
                    began = time.perf_counter()
                    found = _score(entry, subject) if known is None else known(entry, _later(entry, subject))
                    scores.take(entry.name, found, time.perf_counter() - began)
        return replace(scores, seconds=time.perf_counter() - started)

    def _subject(self, model: nn.Module, method: Method | None, base: Scores | None) -> Subject:
        full_logits = method is not None and bool(method.uses_full_logits)
        loss = make_answer_loss(model, chunk_tokens=self.loss_chunk_tokens, full_logits=full_logits, keep_mask=False)
        losses: Mapping[str, Sequence[float]] = {} if base is None else base.row_losses
        return Subject(model, method, loss, self.tokens, losses, {} if base is None else base.answers)


def _score(entry: PreparedSet, subject: Subject) -> SetScores:
    return scorer_of(entry.settings).score(entry, subject)


def _later(entry: PreparedSet, subject: Subject) -> Callable[[], SetScores]:
    return lambda: _score(entry, subject)


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Evaluate without gradients; random states and the mode of every module are restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    devices = [device] if device.type == "cuda" else []
    # Evaluation libraries seed these as they like.
    plain, numbers = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            model.eval()
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(numbers)
        for module, mode in modes:
            module.training = mode
