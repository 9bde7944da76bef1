"""How the plain rules order the trials of a rung: by the objective, by a training signal, by both halves of the paper, or at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from orchestrator.decisions.objective import WORST, Key, Objective
from orchestrator.decisions.trials import TrialFacts
from orchestrator.simulation.engine.scheduler import Arrival


@dataclass
class Observed:
    """What a plain rule remembers of a trial.

    ``loss`` and ``grad_norm`` are sample-weighted means over the signals since the milestone before (nats per
    token; L2 norm before clipping); NaN before the first signal.
    """

    facts: TrialFacts
    level_index: int = -1
    samples_seen: int = 0
    diverged: bool = False
    latest: Arrival | None = None
    loss: float = float("nan")
    grad_norm: float = float("nan")

    def take(self, arrival: Arrival) -> None:
        """Take a milestone in; its signals are looked at only when `read_signals` asks."""
        self._before, self.samples_seen = self.samples_seen, arrival.samples_seen
        self.level_index, self.diverged, self.latest = arrival.level_index, arrival.diverged, arrival

    def read_signals(self) -> None:
        """Bring the means up to date; a milestone without new signals keeps those of the one before."""
        if self.latest is None or not len(self.latest.signals):
            return
        signals = self.latest.signals
        ends = np.array([signal.samples_seen for signal in signals], dtype=float)
        weights = np.maximum(np.diff(ends, prepend=float(self._before)), 1.0)
        self.loss = float(np.average([signal.loss for signal in signals], weights=weights))
        self.grad_norm = float(np.average([signal.grad_norm for signal in signals], weights=weights))

    def key(self, objective: Objective) -> Key:
        """Rank by the objective at the last milestone, smaller is better."""
        return WORST if self.latest is None or self.diverged else objective.key(self.latest.scores, partial=True)


Ranking = Callable[[Sequence[Observed], Objective, np.random.Generator], list[Observed]]
"""Orders trials, best first."""


def by_objective(trials: Sequence[Observed], objective: Objective, random: np.random.Generator) -> list[Observed]:
    """Order by the objective's own early score."""
    return sorted(trials, key=lambda trial: (trial.key(objective), trial.facts.trial_id))


def by_loss(trials: Sequence[Observed], objective: Objective, random: np.random.Generator) -> list[Observed]:
    """Order by smoothed training loss, lowest first."""
    return _by_columns(trials, [_losses(trials)])


def by_grad_norm(trials: Sequence[Observed], objective: Objective, random: np.random.Generator) -> list[Observed]:
    """Order by smoothed gradient norm, lowest first."""
    return _by_columns(trials, [_norms(trials)])


def by_paper(trials: Sequence[Observed], objective: Objective, random: np.random.Generator) -> list[Observed]:
    """Order by the sum of two ranks: lower gradient norm, and higher training loss (arXiv 2412.13337).

    As written: no guard against trials that have hardly learned, and none against larger batches.
    """
    return _by_columns(trials, [_norms(trials), -_losses(trials)])


def at_random(trials: Sequence[Observed], objective: Objective, random: np.random.Generator) -> list[Observed]:
    """Order at random."""
    return [trials[int(index)] for index in random.permutation(len(trials))]


def _losses(trials: Sequence[Observed]) -> np.ndarray:
    for trial in trials:
        trial.read_signals()
    return np.array([trial.loss for trial in trials])


def _norms(trials: Sequence[Observed]) -> np.ndarray:
    for trial in trials:
        trial.read_signals()
    return np.array([trial.grad_norm for trial in trials])


def _by_columns(trials: Sequence[Observed], columns: Sequence[np.ndarray]) -> list[Observed]:
    """Order by the sum of ranks over columns (smaller is better); what is not a number ranks last, ties by trial id."""
    total = sum(rankdata(np.where(np.isfinite(column), column, np.inf)) for column in columns)
    paired = zip(np.asarray(total).tolist(), trials, strict=True)
    return [trial for _, trial in sorted(paired, key=lambda pair: (pair[0], pair[1].facts.trial_id))]
