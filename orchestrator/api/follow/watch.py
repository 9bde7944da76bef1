"""``watch``: snapshots of a running sweep from another process, until it ends; no driver is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.api.follow.tracked_status import tracked_sweep
from orchestrator.history.build_result import RUNNING_ROWS, build_view
from orchestrator.history.find_trial import Sweep, sweep_folder
from orchestrator.history.journal_state import JournalState, read_state
from orchestrator.history.read_sweep import result_of
from orchestrator.records import Outcome
from orchestrator.results.records import SweepResult, SweepView, TrialView
from orchestrator.results.statuses import SweepStatus, TrialStatus
from orchestrator.storage.journal import JournalReader
from orchestrator.tracking.tracker import TrackerHealth

Observer = Callable[[SweepView], None]


def watch_sweep(
    sweep: Sweep, observer: Observer, every_seconds: float = 1.0, storage: Path | str | None = None
) -> SweepResult:
    """Follow a sweep by its journal and its trials' progress files until no driver runs it any more.

    Args:
        sweep: Name, folder, or what `find_sweep` returned.
        observer: Receives a snapshot at once, then about every ``every_seconds``, and a last one at the end.
        every_seconds: Seconds between two looks.
        storage: Where a name is looked up.

    Returns:
        The result as it stands at the end; its ``status`` tells a complete sweep from an interrupted one.

    Raises:
        StorageError: If there is no such sweep, or its journal is damaged.
    """
    folder = sweep_folder(sweep, storage)
    reader = JournalReader(folder.journal)
    while True:
        state = read_state(folder, reader.read())
        observer(_view(state))
        if state.status != "running":
            return result_of(state)
        time.sleep(every_seconds)


def watch_tracked(uri: str, name: str, observer: Observer, every_seconds: float = 5.0) -> SweepStatus:
    """Follow a sweep by its MLflow runs, where its storage cannot be seen; milestones show, not single steps.

    Args:
        uri: Tracking URI.
        name: The sweep's name.
        observer: As in `watch_sweep`.
        every_seconds: Seconds between two looks.

    Raises:
        TrackingError: If the store cannot be reached or has no such sweep.
        SinkError: If it fails while it is read.
    """
    while True:
        status = tracked_sweep(uri, name)
        observer(status_view(status))
        if status.status != "running":
            return status
        time.sleep(every_seconds)


def status_view(status: SweepStatus) -> SweepView:
    """Return a sweep's status as a snapshot for the live table; the time left is not known."""
    running = [_trial_view(trial) for trial in status.trials if trial.outcome is Outcome.RUNNING]
    return SweepView(
        name=status.name,
        objective=status.objective,
        mode=status.mode,
        elapsed_seconds=time.time() - status.began
        if status.status == "running" and status.began
        else status.elapsed_seconds,
        remaining_seconds=None,
        counts=status.counts or {},
        trials_planned=status.trials_planned,
        samples_trained=status.samples_trained,
        samples_exhaustive=status.samples_exhaustive,
        running=tuple(running[:RUNNING_ROWS]),
        best=None if status.best is None else _trial_view(status.best),
        last_decision="",
    )


def _view(state: JournalState) -> SweepView:
    elapsed = state.elapsed_seconds
    if state.status == "running":
        elapsed += max(0.0, time.time() - state.records[-1].time)
    return build_view(state.spec, state.plan, state, state.folder, max(1, state.slots), elapsed, TrackerHealth())


def _trial_view(trial: TrialStatus) -> TrialView:
    return TrialView(
        trial.name,
        trial.outcome,
        trial.samples_seen,
        trial.samples,
        trial.loss,
        trial.grad_norm,
        trial.objective,
        trial.tokens_per_second,
        trial.expected,
        trial.probability_best,
    )
