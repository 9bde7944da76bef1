"""``status`` from MLflow alone: how sweeps stand whose storage folder cannot be seen from here."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.records import Outcome, Role
from orchestrator.results.statuses import SweepStatus, TrialStatus
from orchestrator.tracking.mlflow.reader import RunReader, TrackedRun
from orchestrator.tracking.naming import clean_key

SILENT_SECONDS = 300.0
"""A driver gives a sign in MLflow every minute; after so many seconds without one the sweep counts as interrupted."""

_STATUS = {"FINISHED": "completed", "KILLED": "interrupted", "FAILED": "interrupted"}


def tracked_sweeps(uri: str) -> tuple[SweepStatus, ...]:
    """Return how every sweep in a tracking store stands, the latest first.

    Raises:
        TrackingError: If the store cannot be reached.
        SinkError: If it fails while it is read.
    """
    reader = RunReader(uri)
    return tuple(replace(_status(reader, run), trials=()) for run in reader.sweeps())


def tracked_sweep(uri: str, name: str) -> SweepStatus:
    """Return how a sweep stands by its runs, with all its trials.

    Raises:
        TrackingError: If the store cannot be reached or has no such sweep.
        SinkError: If it fails while it is read.
    """
    reader = RunReader(uri)
    return _status(reader, reader.sweep(name))


def _status(reader: RunReader, run: TrackedRun) -> SweepStatus:
    objective, mode = run.params.get("objective", ""), run.params.get("mode", "min")
    sign = -1.0 if mode == "max" else 1.0
    runs = reader.trials(run)
    trials = sorted((_trial(each, clean_key(objective)) for each in runs), key=lambda trial: _order(trial, sign))
    told = run.tags.get("trials.planned") or run.params.get("trials") or len(trials)  # it may have been extended
    planned, samples = int(told), int(run.params.get("samples_per_trial", 0))
    beat = _beat(run)
    return SweepStatus(
        name=run.sweep,
        status=_standing(run, beat),
        objective=objective,
        mode=mode,
        counts=_counts(trials, planned),
        trials_planned=planned,
        samples_trained=sum(trial.samples_seen for trial in trials) - sum(map(_taken_over, runs)),
        samples_exhaustive=planned * samples,
        best=_best(run, trials),
        began=run.began,
        updated=run.ended or beat,
        elapsed_seconds=(run.ended or beat or time.time()) - run.began,
        location=reader.uri,
        driver=run.tags.get("host", "") if _standing(run, beat) == "running" else "",
        trials=tuple(trials),
    )


def _standing(run: TrackedRun, beat: float | None) -> str:
    if run.status != "RUNNING":
        return _STATUS.get(run.status, "interrupted")
    return "interrupted" if beat is not None and time.time() - beat > SILENT_SECONDS else "running"


def _beat(run: TrackedRun) -> float | None:
    text = run.tags.get("orchestrate.beat", "")
    return float(text) if text.isdigit() else None


def _trial(run: TrackedRun, objective: str) -> TrialStatus:
    outcome, metrics = _outcome(run), run.metrics
    return TrialStatus(
        trial_id=run.tags.get("orchestrate.trial_id", run.run_id),
        name=run.name.removeprefix("★ ").split(" · ")[0],
        outcome=outcome,
        samples_seen=run.samples_seen,
        samples=int(run.params.get("samples", 0)),
        objective=metrics.get(objective),
        loss=metrics.get("train/loss"),
        grad_norm=metrics.get("train/grad_norm"),
        tokens_per_second=metrics.get("train/tokens_per_second") if outcome is Outcome.RUNNING else None,
        expected=metrics.get("forecast/expected"),
        probability_best=metrics.get("forecast/probability_best"),
        reason=run.tags.get("stop.reason", "") or run.tags.get("failure", ""),
        run_id=run.run_id,
        role=_role(run),
    )


def _role(run: TrackedRun) -> Role:
    told = run.tags.get("role", "")
    return Role(told) if told in set(Role) else Role.SEARCH


def _taken_over(run: TrackedRun) -> int:
    """Return the samples that a trial took over from the one that it trains on."""
    known = min(run.samples_seen, int(run.tags.get("origin.samples_seen", 0)))
    return known if run.tags.get("origin.takes") == "training" else 0


def _outcome(run: TrackedRun) -> Outcome:
    told = run.tags.get("outcome", "")
    if told == Outcome.RUNNING and run.tags.get("verdict", "").startswith("PAUSE"):
        return Outcome.PAUSED
    # A trial that was cut off with its sweep ("interrupted") waits for the next session.
    return Outcome(told) if told in set(Outcome) else Outcome.PENDING


def _order(trial: TrialStatus, sign: float) -> tuple[bool, int, float, str]:
    value = math.inf if trial.objective is None or math.isnan(trial.objective) else sign * trial.objective
    return (trial.outcome is not Outcome.COMPLETED, -trial.samples_seen, value, trial.trial_id)


def _best(run: TrackedRun, trials: Sequence[TrialStatus]) -> TrialStatus | None:
    winner = run.tags.get("winner.trial")
    chosen = next((trial for trial in trials if trial.trial_id == winner), None)
    lost = (Outcome.DIVERGED, Outcome.FAILED)
    return chosen or next((t for t in trials if t.objective is not None and t.outcome not in lost), None)


def _counts(trials: Sequence[TrialStatus], planned: int) -> dict[str, int]:
    counts = {outcome.value: sum(trial.outcome is outcome for trial in trials) for outcome in Outcome}
    counts[Outcome.PENDING.value] += max(0, planned - len(trials))
    return counts
