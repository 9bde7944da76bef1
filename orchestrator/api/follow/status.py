"""``status``: how the sweeps of a storage stand, and the trials of one; needs neither a driver nor Ray."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.history.find_trial import Sweep, sweep_folder
from orchestrator.history.journal_state import JournalState, read_state
from orchestrator.history.objective import make_objective, objective_error
from orchestrator.history.read_sweep import result_of
from orchestrator.records import Outcome
from orchestrator.results.records import SweepResult, TrialResult
from orchestrator.results.statuses import SweepStatus, TrialStatus
from orchestrator.storage.driver_presence import read_driver
from orchestrator.storage.sweep_folder import SweepFolder, sweep_folders
from orchestrator.storage.trial_entries import TrialEntry
from orchestrator.storage.trial_progress import running_view

_LOST = (Outcome.DIVERGED, Outcome.FAILED)


def sweep_status(sweep: Sweep, storage: Path | str | None = None) -> SweepStatus:
    """Return how a sweep stands, with all its trials.

    Args:
        sweep: Name, folder, or what `find_sweep` returned.
        storage: Where a name is looked up.

    Raises:
        StorageError: If there is no such sweep, or its journal is damaged.
    """
    folder = sweep_folder(sweep, storage)
    state = read_state(folder)
    result = result_of(state)
    trials = tuple(_trial(state, trial) for trial in result.trials)
    sign = read_driver(folder)
    running = state.status == "running" and sign is not None
    return SweepStatus(
        name=folder.name,
        status=state.status,
        objective=result.objective,
        mode=result.mode,
        counts=result.counts,
        trials_planned=state.plan.trials,
        samples_trained=sum(trial.samples_seen for trial in trials) - taken_over(result.trials),
        samples_exhaustive=result.samples_exhaustive,
        best=_best(result, trials),
        began=state.records[0].time,
        updated=max(state.records[-1].time, sign.beat if running and sign else 0.0),
        elapsed_seconds=result.wall_seconds,
        location=str(folder.root),
        driver=sign.label if running and sign else "",
        milestones_waiting=folder.milestones_waiting,
        trials=trials,
    )


def storage_status(storage: Path | str) -> tuple[SweepStatus, ...]:
    """Return how every sweep of a storage folder stands, the latest first; one that cannot be read says why."""
    found = [_status_or_problem(folder) for folder in sweep_folders(Path(storage))]
    return tuple(sorted(found, key=lambda status: (-(status.began or 0.0), status.name)))


def _status_or_problem(folder: SweepFolder) -> SweepStatus:
    try:
        return replace(sweep_status(folder), trials=())
    except (OrchestratorError, ValueError, KeyError, TypeError, OSError) as error:
        # One sweep of another version, or a damaged one, must not hide the others.
        lines = str(error).splitlines() or [type(error).__name__]
        return SweepStatus(folder.name, "unreadable", location=str(folder.root), problem=lines[0])


def _best(result: SweepResult, trials: tuple[TrialStatus, ...]) -> TrialStatus | None:
    """Return the winner; before there is one, the first of the order (furthest along, then best) that was scored."""
    if result.winner is not None:
        return next(trial for trial in trials if trial.trial_id == result.winner.trial_id)
    return next((trial for trial in trials if trial.objective is not None and trial.outcome not in _LOST), None)


def _trial(state: JournalState, trial: TrialResult) -> TrialStatus:
    entry: TrialEntry = state.trials[trial.trial_id]
    view = running_view(entry, state.folder, trial.objective)
    return TrialStatus(
        trial_id=trial.trial_id,
        name=trial.name,
        outcome=trial.outcome,
        samples_seen=view.samples_seen,
        samples=view.samples,
        objective=trial.objective,
        standard_error=objective_error(make_objective(state.spec), trial.standard_errors),
        loss=view.loss,
        grad_norm=view.grad_norm,
        tokens_per_second=view.tokens_per_second if trial.outcome is Outcome.RUNNING else None,
        expected=view.expected,
        probability_best=view.probability_best,
        reason=trial.reason,
        run_id=trial.run_id,
        role=trial.role,
    )


def taken_over(trials: Iterable[TrialResult]) -> int:
    """Return the samples that trials count as their own but took over from the trials that they train on."""
    origins = (trial.origin for trial in trials)
    return sum(origin.samples_seen for origin in origins if origin is not None and origin.takes == "training")
