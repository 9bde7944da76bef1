"""Production's stopping engine under replay, driven call for call as `orchestrator.coordinating.coordinator` drives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.decisions.engine.engine import StoppingEngine
from orchestrator.decisions.engine.policy import StoppingPolicy
from orchestrator.decisions.forecast.model import ForecastModel
from orchestrator.decisions.rules.forecast import ForecastRule
from orchestrator.decisions.rules.rule import StepRule, SweepOutline
from orchestrator.records import Action, Decision, Milestone, TrainingSignal, TrialState
from orchestrator.simulation.engine.scheduler import Arrival, Problem, Verdicts


class EngineScheduler:
    """`StoppingEngine` as a simulated scheduler.

    Args:
        policy: The rules, as a sweep file resolves to.
        name: How it is shown.
        with_dynamics: Hand training signals to the engine. Only a policy none of whose rules looks at them may do
            without, which saves most of a large simulation's time.
    """

    def __init__(self, policy: StoppingPolicy, name: str = "ours", with_dynamics: bool = True) -> None:
        self.policy, self.name, self._with_dynamics = policy, name, with_dynamics
        self._halts: dict[str, Decision] = {}
        self._engine: StoppingEngine | None = None

    def with_weights(self, weights: ForecastModel) -> EngineScheduler:
        """Return the same rules with other weights of the forecast."""
        rules = (
            replace(rule, fitted=weights) if isinstance(rule, ForecastRule) else rule for rule in self.policy.rules
        )
        return EngineScheduler(replace(self.policy, rules=tuple(rules)), self.name, self._with_dynamics)

    @property
    def engine(self) -> StoppingEngine:
        """The engine of the running or last sweep.

        Raises:
            RuntimeError: Before `begin`.
        """
        if self._engine is None:
            raise RuntimeError(f"{self.name} has not begun a sweep")
        return self._engine

    @property
    def worker_rule(self) -> StepRule | None:
        """What workers check at every step."""
        return self.policy.worker_rule()

    def halted(self, decision: Decision) -> None:
        """Take the decision that halted a trial inside its worker."""
        self._halts[decision.trial_id] = decision

    def begin(self, problem: Problem) -> None:
        """Announce all trials to a fresh engine.

        Raises:
            ValueError: If levels and policy do not fit together.
        """
        self._halts.clear()
        self._engine = StoppingEngine(self.policy, SweepOutline(problem.levels, problem.objective, problem.epochs))
        for facts in problem.trials:
            self._engine.add_trial(facts)
        self._engine.close_arrivals()

    def arrive(self, arrival: Arrival) -> Action:
        """Return the engine's decision on a milestone."""
        signals = arrival.signals if self._with_dynamics else ()
        answer = self.engine.observe(
            _milestone(arrival, self.engine.levels, signals), self._halts.get(arrival.trial_id)
        )
        return answer.decision.action

    def settle(self, idle_workers: int, waiting: int) -> Verdicts:
        """Return the engine's verdicts on paused trials."""
        return [(each.trial_id, each.action) for each in self.engine.settle(idle_workers, waiting)]

    def winner(self) -> str | None:
        """Return the engine's winner."""
        selection = self.engine.winner()
        return None if selection is None else selection.winner.trial_id


def _milestone(arrival: Arrival, levels: Sequence[int], signals: Sequence[TrainingSignal]) -> Milestone:
    """Return an arrival as the worker would report it."""
    return Milestone(
        arrival.trial_id,
        arrival.level_index,
        levels[arrival.level_index],
        arrival.samples_seen,
        tokens_seen=0,
        state=_state(arrival),
        scores=arrival.scores,
        signals=tuple(signals),
        training_seconds=0.0,
        evaluation_seconds=0.0,
    )


def _state(arrival: Arrival) -> TrialState:
    if arrival.diverged:
        return TrialState.DIVERGED
    return TrialState.COMPLETED if arrival.completed else TrialState.RUNNING
