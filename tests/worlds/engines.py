"""The stopping engine as tests drive it: milestones in short, and an engine that remembers what it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from orchestrator.decisions.engine.engine import StoppingEngine, StoppingPolicy, SweepOutline, TrialFacts
from orchestrator.decisions.trials import Answer
from orchestrator.records import Decision, Milestone, TrainingSignal, TrialState


def reached(
    engine: StoppingEngine,
    trial_id: str,
    index: int,
    samples_seen: int,
    scores: Mapping[str, float],
    signals: Sequence[TrainingSignal] = (),
    state: TrialState = TrialState.RUNNING,
) -> Milestone:
    """Return a milestone as a worker would report it."""
    level = engine.levels[index] if index < len(engine.levels) else 0
    return Milestone(trial_id, index, level, samples_seen, 0, state, scores, tuple(signals), 0.0, 0.0)


def observe(
    engine: StoppingEngine,
    trial_id: str,
    index: int,
    samples_seen: int,
    scores: Mapping[str, float],
    signals: Sequence[TrainingSignal] = (),
    state: TrialState = TrialState.RUNNING,
    halted: Decision | None = None,
) -> Decision:
    """Report a milestone and return the decision."""
    return engine.observe(reached(engine, trial_id, index, samples_seen, scores, signals, state), halted).decision


Call = tuple[str, tuple[Any, ...]]


class RememberingEngine(StoppingEngine):
    """Keeps every call that changes it, and the answer to every milestone."""

    def __init__(self, policy: StoppingPolicy, sweep: SweepOutline) -> None:
        super().__init__(policy, sweep)
        self.calls: list[Call] = []
        self.answers: list[Answer] = []

    @classmethod
    def told(cls, policy: StoppingPolicy, sweep: SweepOutline, calls: Iterable[Call]) -> RememberingEngine:
        """Return the engine that calls lead to."""
        engine = cls(policy, sweep)
        for name, arguments in calls:
            method: Callable[..., object] = getattr(engine, name)
            method(*arguments)
        return engine

    def add_trial(self, facts: TrialFacts) -> None:
        self.calls.append(("add_trial", (facts,)))
        super().add_trial(facts)

    def close_arrivals(self, cohort: str | None = None) -> None:
        self.calls.append(("close_arrivals", (cohort,)))
        super().close_arrivals(cohort)

    def observe(self, milestone: Milestone, halted: Decision | None = None) -> Answer:
        self.calls.append(("observe", (milestone, halted)))
        self.answers.append(super().observe(milestone, halted))
        return self.answers[-1]

    def settle(self, idle_slots: int, runnable: int) -> list[Decision]:
        made = super().settle(idle_slots, runnable)
        if made:
            self.calls.append(("settle", (idle_slots, runnable)))
        return made
