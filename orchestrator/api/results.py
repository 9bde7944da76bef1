"""From the coordinator's state to what users see: snapshots while it runs, the result at its end."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from orchestrator.api.policy import make_objective
from orchestrator.decisions.objective import WORST, Key, Objective
from orchestrator.records import Outcome
from orchestrator.results import SweepResult, SweepView, TrackingIds, TrialResult, TrialView
from orchestrator.spec.sweep import SweepSpec
from orchestrator.tracking.tracker import TrackerHealth
from orchestrator.tuning.coordinator import Coordinator
from orchestrator.tuning.driver import running_view
from orchestrator.tuning.entries import TrialEntry
from orchestrator.tuning.layout import SweepFolder
from orchestrator.tuning.planning import SweepPlan

RUNNING_ROWS = 12


def build_view(
    spec: SweepSpec, plan: SweepPlan, coordinator: Coordinator, folder: SweepFolder, slots: int, elapsed: float,
    health: TrackerHealth,
) -> SweepView:  # fmt: skip
    """Return a snapshot for the live table."""
    objective = make_objective(spec)
    entries = list(coordinator.trials.values())
    rows = [running_view(entry, folder, _value(objective, entry)) for entry in coordinator.running[:RUNNING_ROWS]]
    judged = [entry for entry in entries if entry.scores]
    # Trials further along are better known: the best is looked for among those at the latest milestone.
    latest = max((entry.milestones for entry in judged), default=0)
    best = min((e for e in judged if e.milestones == latest), key=lambda e: _key(objective, e), default=None)
    last = coordinator.last_decision
    return SweepView(
        name=spec.name,
        objective=objective.label,
        mode=spec.objective.mode,
        elapsed_seconds=elapsed,
        remaining_seconds=_remaining(plan, entries, slots),
        counts=_counts(entries, plan),
        trials_planned=plan.trials,
        samples_trained=sum(entry.samples_seen for entry in entries),
        samples_exhaustive=plan.exhaustive_samples,
        running=tuple(rows),
        best=None if best is None else _best_view(best, objective),
        last_decision="" if last is None else f"{coordinator.trials[last.trial_id].name}: {last.reason}",
        tracking_state=health.warning(),
        stopping=coordinator.stopping,
    )


def build_result(
    spec: SweepSpec, plan: SweepPlan, entries: Collection[TrialEntry], folder: SweepFolder, slots: int, sweep_id: str,
    status: str, wall_seconds: float, slot_seconds: float,
) -> SweepResult:  # fmt: skip
    """Return the result of a sweep as it stands."""
    objective = make_objective(spec)
    order = sorted(entries, key=lambda entry: _order(objective, entry))
    trials = tuple(_trial_result(entry, objective) for entry in order)
    ended = [trial for trial in trials if trial.outcome is Outcome.COMPLETED]
    return SweepResult(
        name=spec.name,
        sweep_id=sweep_id,
        status=status,
        objective=objective.label,
        mode=spec.objective.mode,
        winner=ended[0] if ended else None,
        runner_up=ended[1] if len(ended) > 1 else None,
        base_scores=read_base_scores(folder),
        trials=trials,
        counts=_counts(entries, plan),
        samples_trained=sum(entry.samples_seen for entry in entries),
        samples_exhaustive=plan.exhaustive_samples,
        wall_seconds=wall_seconds,
        training_seconds=sum(entry.training_seconds for entry in entries),
        evaluation_seconds=sum(entry.evaluation_seconds for entry in entries),
        slot_seconds=slot_seconds,
        slots=slots,
        storage=str(folder.root),
        tracking=TrackingIds(),
    )


def read_base_scores(folder: SweepFolder) -> Mapping[str, float]:
    """Return the base model's scores that a worker left in the sweep's folder; empty while there are none."""
    try:
        scores: dict[str, float] = json.loads(folder.base_scores.read_text())
    except (OSError, ValueError):
        return {}
    return scores


def _trial_result(entry: TrialEntry, objective: Objective) -> TrialResult:
    stopped = entry.outcome in (Outcome.STOPPED, Outcome.DIVERGED, Outcome.FAILED)
    return TrialResult(
        trial_id=entry.trial_id,
        name=entry.name,
        config=entry.config,
        outcome=entry.outcome,
        samples_seen=entry.samples_seen,
        scores=dict(entry.scores),
        objective=_value(objective, entry),
        standard_errors=dict(entry.standard_errors),
        rule=entry.verdict.rule if stopped and entry.verdict else "",
        reason=entry.verdict.reason if stopped and entry.verdict else "",
        training_seconds=entry.training_seconds,
        evaluation_seconds=entry.evaluation_seconds,
    )


def _order(objective: Objective, entry: TrialEntry) -> tuple[object, ...]:
    return (entry.outcome is not Outcome.COMPLETED, -entry.milestones, _key(objective, entry), entry.trial_id)


def _key(objective: Objective, entry: TrialEntry) -> Key:
    """Return a sort key, worst where the objective was not measured (a trial that diverged before its first score)."""
    if _value(objective, entry) is None:
        return WORST
    return objective.key(entry.scores, partial=entry.outcome is not Outcome.COMPLETED)


def _value(objective: Objective, entry: TrialEntry) -> float | None:
    if any(metric not in entry.scores for metric in objective.weights):
        return None
    return objective.value(entry.scores)


def _best_view(entry: TrialEntry, objective: Objective) -> TrialView:
    last = entry.last_signal
    return TrialView(
        name=entry.name,
        outcome=entry.outcome,
        samples_seen=entry.samples_seen,
        samples=entry.config.samples,
        loss=last.loss if last else None,
        grad_norm=last.grad_norm if last else None,
        objective=_value(objective, entry),
        expected=entry.forecast.get("expected_final"),
        probability_best=entry.forecast.get("probability_best"),
    )


def _counts(entries: Collection[TrialEntry], plan: SweepPlan) -> dict[str, int]:
    counts = {outcome.value: sum(entry.outcome is outcome for entry in entries) for outcome in Outcome}
    counts[Outcome.PENDING.value] += max(0, plan.trials - len(entries))
    return counts


def _remaining(plan: SweepPlan, entries: list[TrialEntry], slots: int) -> float | None:
    """Estimate the seconds left: seconds per sample so far, times samples that trials alive would still take.

    Trials that wait or have not begun are taken to survive as halving lets them: each later milestone is
    reached by half as many.
    """
    trained = sum(entry.samples_seen for entry in entries)
    seconds = sum(entry.training_seconds + entry.evaluation_seconds for entry in entries)
    if not trained or not seconds:
        return None
    alive = [entry for entry in entries if not entry.outcome.is_final]
    by_place: dict[int, int] = {0: plan.trials - len(entries)}
    for entry in alive:
        by_place[entry.milestones] = by_place.get(entry.milestones, 0) + 1
    samples, flow = 0.0, 0.0
    for place, level in enumerate(plan.levels):
        flow += by_place.get(place, 0)
        samples += flow * (level - (plan.levels[place - 1] if place else 0))
        flow = flow / 2 if place in plan.rung_indices else flow
    return samples * seconds / trained / slots
