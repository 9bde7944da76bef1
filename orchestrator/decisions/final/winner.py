"""The final ranking: among trials that trained to the same, largest budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.decisions.objective import Objective, is_judgeable


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial's last scores; ``level`` is the milestone (nominal samples) where they were measured."""

    trial_id: str
    level: int
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its objective; ``violation`` is 0 when it keeps all constraints."""

    trial_id: str
    value: float
    violation: float

    @property
    def feasible(self) -> bool:
        """Whether all constraints hold."""
        return self.violation == 0


@dataclass(frozen=True, slots=True)
class Selection:
    """The outcome: all candidates of the largest budget, best first (never empty)."""

    level: int
    ranking: tuple[Ranked, ...]

    @property
    def winner(self) -> Ranked:
        """The best candidate; look at `Ranked.feasible`, all candidates may break a constraint."""
        return self.ranking[0]

    @property
    def runner_up(self) -> Ranked | None:
        """The second best, None when there is one candidate only."""
        return self.ranking[1] if len(self.ranking) > 1 else None


def select_winner(candidates: Iterable[Candidate], objective: Objective) -> Selection | None:
    """Rank the candidates with the largest budget; ties by trial id.

    Candidates whose objective is not a finite number are left out before the largest budget is taken.
    Returns None when nothing is left.

    Raises:
        SpecError: If a candidate lacks a metric of the objective or of a constraint.
    """
    keyed = [(objective.key(candidate.scores), candidate) for candidate in candidates]
    finite = [(key, candidate) for key, candidate in keyed if is_judgeable(key)]
    if not finite:
        return None
    level = max(candidate.level for _, candidate in finite)
    ranked = sorted((key, candidate.trial_id) for key, candidate in finite if candidate.level == level)
    return Selection(level, tuple(Ranked(trial_id, objective.value_of(key), key[0]) for key, trial_id in ranked))
