"""Which MLflow runs belong to a sweep: from the outbox's receipt, which is there while the sweep still runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator.history.journal_state import JournalState
from orchestrator.results.records import SweepResult, TrackingIds
from orchestrator.storage.journal_records.sessions import TrackingRecord
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tracking.mlflow.opening import default_tracking_uri
from orchestrator.tracking.outbox.outbox import read_acknowledged
from orchestrator.tracking.trackers import tracker_kind


@dataclass(frozen=True)
class TrackedRuns:
    """Where MLflow holds a sweep.

    Args:
        uri: Tracking store; empty where the sweep was not tracked.
        experiment: Name of its experiment.
        experiment_id: Its id; empty before the store was first reached.
        run_ids: Run ids by trial id, the sweep's own under the empty string.
    """

    uri: str = ""
    experiment: str = ""
    experiment_id: str = ""
    run_ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def sweep_run(self) -> str:
        """Run id of the sweep itself; empty while unknown."""
        return self.run_ids.get("", "")


def find_runs(state: JournalState) -> TrackedRuns:
    """Return the runs of a sweep as far as they are known; of a tracker other than MLflow there is nothing to read."""
    found = _recorded_runs(state)
    return found if tracker_kind(found.uri).in_mlflow else TrackedRuns("", found.experiment)


def _recorded_runs(state: JournalState) -> TrackedRuns:
    receipt = read_acknowledged(state.folder.outbox)
    told = state.session.tracking or {}
    experiment = told.get("experiment", state.folder.name)
    if receipt.sink:
        uri = _moved(receipt.sink, state.folder)
        return TrackedRuns(uri, experiment, receipt.experiment_id, receipt.run_ids)
    record = state.records.last(TrackingRecord)
    if record is None:
        return TrackedRuns(_moved(told.get("uri", ""), state.folder), experiment)
    uri = told.get("uri") or default_tracking_uri(state.folder.storage)
    return TrackedRuns(_moved(uri, state.folder), experiment, record.experiment_id, record.run_ids)


def with_runs(result: SweepResult, runs: TrackedRuns) -> SweepResult:
    """Return a result with the run ids of its trials."""
    if not runs.uri:
        return result
    trials = tuple(replace(trial, run_id=runs.run_ids.get(trial.trial_id)) for trial in result.trials)
    by_id = {trial.trial_id: trial for trial in trials}
    return replace(
        result,
        trials=trials,
        winner=None if result.winner is None else by_id[result.winner.trial_id],
        runner_up=None if result.runner_up is None else by_id[result.runner_up.trial_id],
        tracking=TrackingIds(uri=runs.uri, experiment=runs.experiment, parent_run_id=runs.sweep_run),
    )


def _moved(uri: str, folder: SweepFolder) -> str:
    """Return the URI, or that of the storage's own store where the storage was moved or copied with it."""
    from orchestrator.tracking.mlflow.sqlite_store import database_file

    file = database_file(uri)
    if file is None or file.exists() or file.name != "mlflow.db":
        return uri
    return default_tracking_uri(folder.storage)
