"""What a stopping rule is: the one protocol that the live engine and the replay speak.

A rule is a frozen dataclass of its options with up to three hooks, each of which does nothing unless the rule says so:

* `StoppingRule.in_worker`: it looks at every optimizer step, in the worker (as `divergence` does);
* `StoppingRule.comparison`: it compares the trials of a cohort at milestones, where they pause (as `rungs` and `forecast` do);
* `StoppingRule.begin`: it may stop a trial that the comparison lets pass (as `early_dynamics` does, and rules of a
  user's own; see `orchestrator.decisions.rules.peers.PeerRule` for the short form).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from orchestrator.decisions.early_dynamics.features import EarlyDynamics
from orchestrator.decisions.objective import Key, Objective
from orchestrator.decisions.rungs.cohort import Evidence, RungSystem, Verdict
from orchestrator.decisions.rungs.rung import Entry
from orchestrator.decisions.trials import UNKNOWN_EPOCHS, TrialFacts
from orchestrator.records import Decision, Scalar, TrainingSignal

Judged = tuple[int, int, float | None]
"""A judged milestone: its index, its level in samples, and one in how many goes on (None: no fixed share does)."""


@dataclass(frozen=True)
class SweepOutline:
    """What rules may know of a sweep beforehand.

    Args:
        levels: Milestones in samples seen, rising; the last is the whole budget of a trial.
        objective: What best means.
        epochs: How often a whole trial sees each training row.

    Raises:
        ValueError: If the levels do not rise from above 0, or the epochs are not a finite number above 0.
    """

    levels: tuple[int, ...]
    objective: Objective
    epochs: float = UNKNOWN_EPOCHS

    def __post_init__(self) -> None:
        levels = list(self.levels)
        if not levels or levels != sorted(set(levels)) or levels[0] <= 0:
            raise ValueError(f"levels are rising numbers of samples above 0, got {levels}")
        if not (self.epochs > 0 and math.isfinite(self.epochs)):
            raise ValueError(f"epochs must be a finite number above 0, got {self.epochs}")


@dataclass(frozen=True, slots=True)
class Standing:
    """A trial at a milestone, as a rule sees it.

    ``milestone`` counts from 0; ``level`` is the same for every trial there, ``samples_seen`` may exceed it by less than
    one effective batch. ``scores`` are those measured there. ``dynamics`` is None where no training signal came.
    ``key`` ranks by the objective, smaller is better.
    """

    facts: TrialFacts
    milestone: int
    level: int
    samples_seen: int
    scores: Mapping[str, float]
    dynamics: EarlyDynamics | None
    key: Key


@dataclass(frozen=True, slots=True)
class Case:
    """A trial that the comparison lets pass, to be judged by the further rules."""

    standing: Standing
    system: RungSystem
    rung: int
    entry: Entry

    @property
    def leads(self) -> bool:
        """Whether no trial of its cohort that has arrived there is better."""
        return self.system.rungs[self.rung].rank(self.entry) == 1

    @property
    def kept_by_quota(self) -> bool:
        """Whether it is among the best of a method whose best learning rate is not bracketed yet."""
        return self.system.kept_by_quota(self.rung, self.entry)


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a rule stops a trial: most of a sentence, and the numbers behind it."""

    reason: str
    evidence: Mapping[str, Scalar] = field(default_factory=dict)


class Judging(Protocol):
    """One rule's view of one sweep; a function of what it was told, so that a restarted sweep judges as before.

    Contract: `arrive` for every trial that reaches one of ``milestones``, before any judgement of it there; a trial that
    arrives again replaces what it was. Where it is known how many come, `judge` is asked once all have arrived, but for a
    trial that a slot takes which would be idle otherwise.
    """

    @property
    def name(self) -> str:
        """The rule's name, as decisions give it."""
        ...

    @property
    def milestones(self) -> Collection[int]:
        """Indices of the milestones at which it judges, each before the last."""
        ...

    def arrive(self, standing: Standing) -> None:
        """Hear of a trial that has reached one of ``milestones``."""
        ...

    def leave(self, cohort: str, trial_id: str) -> None:
        """Hear that a trial does not count any more; unknown ones are ignored."""
        ...

    def judge(self, case: Case) -> Finding | None:
        """Return why the trial stops, or None where it goes on."""
        ...


StepWatch = Callable[[TrainingSignal], Decision | None]
"""Looks at every optimizer step of one trial, in order; returns a STOP where the trial ends at this step."""


class StepRule(Protocol):
    """What travels to the workers; it pickles."""

    def watch(self, trial_id: str, cohort: str = "") -> StepWatch:
        """Return a fresh watch for one trial."""
        ...


class Comparison(Protocol):
    """Where the trials of a cohort are compared, and what compares them there."""

    @property
    def factors(self) -> Mapping[int, float | None]:
        """Milestone index -> one in how many goes on; None where no fixed share does."""
        ...

    @property
    def quota(self) -> int:
        """Best trials per method that go on until the method's best learning rate is bracketed."""
        ...

    def system(self, cohort: str, judged: Sequence[Judged]) -> RungSystem:
        """Return the rungs of a cohort.

        Args:
            cohort: Its name.
            judged: Every milestone at which some rule judges, rising.
        """
        ...

    def evidence(self, system: RungSystem, rung: int, entry: Entry, objective: Objective) -> Evidence:
        """Return the numbers behind a verdict of such rungs."""
        ...

    def reason(self, system: RungSystem, rung: int, verdict: Verdict, objective: Objective) -> str:
        """Return the sentence of a verdict of such rungs."""
        ...


class StoppingRule:
    """Base of all rules: one that stops nothing. A rule derives from it and is a frozen dataclass of its options."""

    name: ClassVar[str]
    """As decisions and sweep files give it."""

    enabled: bool = True
    """Whether the rule runs."""

    def in_worker(self, record: bool) -> StepRule | None:
        """Return what workers check at every optimizer step; None: nothing.

        Args:
            record: The sweep records and stops nothing that could still train.
        """
        return None

    def comparison(self, sweep: SweepOutline, before: Comparison | None) -> Comparison | None:
        """Return how the trials of a cohort are compared; None leaves that to the rules before this one.

        Args:
            sweep: The sweep.
            before: The comparison of the rules before this one.

        Raises:
            ValueError: If a milestone of the rule is none of the sweep's.
        """
        return None

    def begin(self, sweep: SweepOutline) -> Judging | None:
        """Return a fresh view of a sweep; None: this rule stops no trial that the comparison lets pass.

        Raises:
            SpecError: If the rule could never judge in this sweep.
        """
        return None
