"""From the coordinator's state to what users see: snapshots while it runs, the result at its end."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from orchestrator.decisions.objective import WORST, Key, Objective
from orchestrator.history.objective import make_objective
from orchestrator.records import Decision, Outcome, Role
from orchestrator.results.records import (
    AuditResult,
    SweepResult,
    SweepView,
    TrackingIds,
    TrialResult,
    TrialView,
    WinnerVerdict,
)
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import SweepPlan
from orchestrator.storage.later_scores import LaterScores, latest, read_scores, unscored
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry
from orchestrator.storage.trial_progress import running_view
from orchestrator.tracking.tracker import TrackerHealth

RUNNING_ROWS = 12


class SweepState(Protocol):
    """What a snapshot shows: the coordinator of a running sweep, or what its journal says from another process."""

    @property
    def trials(self) -> Mapping[str, TrialEntry]:
        """All trials that were proposed, by id."""

    @property
    def running(self) -> Sequence[TrialEntry]:
        """Those that train now."""

    @property
    def last_decision(self) -> Decision | None:
        """The latest decision, None before the first."""

    @property
    def compares(self) -> bool:
        """Whether trials are compared at rungs, and some go on."""

    @property
    def stopping(self) -> bool:
        """Whether the session ends after the running milestones."""


def build_view(
    spec: SweepSpec,
    plan: SweepPlan,
    state: SweepState,
    folder: SweepFolder,
    slots: int,
    elapsed: float,
    health: TrackerHealth,
) -> SweepView:
    """Return a snapshot for the live table."""
    objective = make_objective(spec)
    entries = list(state.trials.values())
    rows = [running_view(entry, folder, _value(objective, entry)) for entry in state.running[:RUNNING_ROWS]]
    judged = [entry for entry in entries if entry.scores and entry.role is not Role.REPEAT]
    # Trials further along are better known: the best is looked for among those at the latest milestone.
    latest = max((_stage(entry) for entry in judged), default=0)
    best = min((e for e in judged if _stage(e) == latest), key=lambda e: _key(objective, e), default=None)
    last = state.last_decision
    return SweepView(
        name=spec.name,
        objective=objective.label,
        mode=spec.objective.mode,
        elapsed_seconds=elapsed,
        remaining_seconds=_remaining(plan, entries, slots, state.compares),
        counts=_counts(entries, plan),
        trials_planned=plan.trials,
        samples_trained=sum(entry.samples_trained for entry in entries),
        samples_exhaustive=plan.exhaustive_samples,
        running=tuple(rows),
        best=None if best is None else _best_view(best, objective),
        last_decision="" if last is None else f"{state.trials[last.trial_id].name}: {last.reason}",
        tracking_state=health.warning(),
        stopping=state.stopping,
    )


def build_result(
    spec: SweepSpec,
    plan: SweepPlan,
    entries: Collection[TrialEntry],
    folder: SweepFolder,
    slots: int,
    sweep_id: str,
    status: str,
    wall_seconds: float,
    slot_seconds: float,
) -> SweepResult:
    """Return the result of a sweep as it stands."""
    objective = make_objective(spec)
    order = sorted(entries, key=lambda entry: _order(objective, entry))
    later = read_scores(folder.later_scores)
    trials = tuple(_trial_result(entry, objective, later) for entry in order)
    audit, verdict = _after_search(spec, entries)
    winner, runner_up = _winners(trials, verdict)
    return SweepResult(
        name=spec.name,
        sweep_id=sweep_id,
        status=status,
        objective=objective.label,
        mode=spec.objective.mode,
        winner=winner,
        runner_up=runner_up,
        base_scores={**read_base_scores(folder), **latest(later, "", -1)[0]},
        trials=trials,
        counts=_counts(entries, plan),
        samples_trained=sum(entry.samples_trained for entry in entries),
        samples_exhaustive=plan.exhaustive_samples,
        wall_seconds=wall_seconds,
        training_seconds=sum(entry.training_seconds for entry in entries),
        evaluation_seconds=sum(entry.evaluation_seconds for entry in entries),
        slot_seconds=slot_seconds,
        slots=slots,
        storage=str(folder.root),
        tracking=TrackingIds(),
        audit=audit,
        verdict=verdict,
        beside_seconds=sum(each.seconds for each in later),
        unscored=unscored(later),
    )


def _after_search(spec: SweepSpec, entries: Collection[TrialEntry]) -> tuple[AuditResult | None, WinnerVerdict | None]:
    """Return what audit and repeats say.

    Their statistics (numpy, scipy) are imported only where there are any: they take longer than a sweep takes to read.
    """
    audited = spec.stopping.audit or any(entry.role is Role.AUDIT for entry in entries)
    if not audited and not spec.winner.repeats:
        return None, None
    from orchestrator.history.after_search import audit_result, winner_verdict

    return audit_result(spec, entries), winner_verdict(spec, entries)


def _winners(
    trials: Sequence[TrialResult], verdict: WinnerVerdict | None
) -> tuple[TrialResult | None, TrialResult | None]:
    """Return winner and runner-up: of the recipes that the repeats put first, else the two best trials of the search."""
    if verdict is not None and verdict.recipes:
        by_id = {trial.trial_id: trial for trial in trials}
        ended = [by_id[recipe.trial_id] for recipe in verdict.recipes]
    else:
        ended = [trial for trial in trials if trial.outcome is Outcome.COMPLETED and trial.role is not Role.REPEAT]
    return ended[0] if ended else None, ended[1] if len(ended) > 1 else None


def read_base_scores(folder: SweepFolder) -> Mapping[str, float]:
    """Return the base model's scores that a worker left in the sweep's folder; empty while there are none."""
    try:
        scores: dict[str, float] = json.loads(folder.base_scores.read_text())
    except (OSError, ValueError):
        return {}
    return scores


def _trial_result(entry: TrialEntry, objective: Objective, later: Sequence[LaterScores]) -> TrialResult:
    scores, errors = latest(later, entry.trial_id, entry.milestones - 1)
    stopped = entry.outcome in (Outcome.STOPPED, Outcome.DIVERGED, Outcome.FAILED)
    # An audited trial that completed still says why the search stopped it.
    ending = entry.verdict if stopped else entry.stop
    # A clone says what it was made of.
    ending = entry.begin if ending is None and entry.origin is not None else ending
    return TrialResult(
        trial_id=entry.trial_id,
        name=entry.name,
        config=entry.config,
        outcome=entry.outcome,
        samples_seen=entry.samples_seen,
        scores={**scores, **entry.scores},
        objective=_value(objective, entry),
        standard_errors={**errors, **entry.standard_errors},
        rule=ending.rule if ending else "",
        reason=ending.reason if ending else "",
        training_seconds=entry.training_seconds,
        evaluation_seconds=entry.evaluation_seconds,
        role=entry.role,
        stopped_at=entry.stopped_at,
        origin=entry.origin,
    )


def _order(objective: Objective, entry: TrialEntry) -> tuple[object, ...]:
    return (entry.outcome is not Outcome.COMPLETED, -_stage(entry), _key(objective, entry), entry.trial_id)


def _stage(entry: TrialEntry) -> float:
    """Return how far a trial is: its milestones, and more than any where it has completed (on levels of its own, too)."""
    return math.inf if entry.outcome is Outcome.COMPLETED else entry.milestones


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
        expected=entry.forecast_of("expected_final"),
        probability_best=entry.forecast_of("probability_best"),
    )


def _counts(entries: Collection[TrialEntry], plan: SweepPlan) -> dict[str, int]:
    counts = {outcome.value: sum(entry.outcome is outcome for entry in entries) for outcome in Outcome}
    counts[Outcome.PENDING.value] += max(0, plan.trials - _proposed(entries))
    return counts


def _remaining(plan: SweepPlan, entries: list[TrialEntry], slots: int, compares: bool) -> float | None:
    """Estimate the seconds left: seconds per sample so far, times samples that trials alive would still take.

    Where trials are compared, those of the search that wait or have not begun are taken to survive as halving lets them:
    each later milestone is reached by half as many. Audits and repeats that have been listed are trained to their end.
    """
    trained = sum(entry.samples_trained for entry in entries)
    seconds = sum(entry.training_seconds + entry.evaluation_seconds for entry in entries)
    if not trained or not seconds:
        return None
    alive = [entry for entry in entries if not entry.outcome.is_final and entry.in_search]
    by_place: dict[int, int] = {0: plan.trials - _proposed(entries)}
    for entry in alive:
        by_place[entry.milestones] = by_place.get(entry.milestones, 0) + 1
    extra = [entry for entry in entries if not entry.outcome.is_final and not entry.in_search]
    samples, flow = float(sum(entry.config.samples - entry.samples_seen for entry in extra)), 0.0
    for place, level in enumerate(plan.levels):
        flow += by_place.get(place, 0)
        samples += flow * (level - (plan.levels[place - 1] if place else 0))
        flow = flow / 2 if compares and place in plan.rung_indices else flow
    return samples * seconds / trained / slots


def _proposed(entries: Collection[TrialEntry]) -> int:
    return sum(entry.role.proposed for entry in entries)
