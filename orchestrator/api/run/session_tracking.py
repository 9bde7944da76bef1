"""What a session tells MLflow of its sweep: what it is, how it ended, and where its runs are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import yaml

from orchestrator.api.run.inputs import datasets_of, subject_params
from orchestrator.api.run.session_start import SessionStart
from orchestrator.records import Scalar
from orchestrator.reporting.terminal.summary import decision_note
from orchestrator.reporting.text.verdicts import certainty_metrics, certainty_tags
from orchestrator.results.records import SweepResult, TrackingIds
from orchestrator.spec.sweep import resolved
from orchestrator.storage.journal_records.sweeps import SweepRecord
from orchestrator.tracking.mlflow.opening import default_tracking_uri
from orchestrator.tracking.no_tracker import NoTracker
from orchestrator.tracking.provenance import provenance_tags
from orchestrator.tracking.tracker import SweepInfo, SweepOutcome, Tracker
from orchestrator.tracking.trackers import TrackerTask, open_tracker, view_of

FLUSH_SECONDS = 30.0
CLOSE_SECONDS = 5.0


@contextmanager
def session_tracker(start: SessionStart, first: SweepRecord) -> Iterator[Tracker]:
    """Give the tracker of a sweep, and close it at the end.

    Args:
        start: The session.
        first: The journal's record of the sweep's beginning.
    """
    if not start.spec.tracking.enabled:
        yield NoTracker()
        return
    tracker = open_tracker(
        TrackerTask(
            start.spec.tracking.uri,
            start.folder.storage,
            _sweep_info(start, first),
            start.folder.outbox,
            start.spec.tracking.tracker,
        )
    )
    try:
        yield tracker
    finally:
        tracker.close(CLOSE_SECONDS)


def _sweep_info(start: SessionStart, first: SweepRecord) -> SweepInfo:
    spec = start.spec
    # As the sweep began: MLflow's parameters cannot change, tags tell of extensions.
    params: dict[str, Scalar] = {
        **subject_params(start.validation),
        "objective": spec.objective.label,
        "mode": spec.objective.mode,
        "searcher": first.content["searcher"]["kind"],
        "trials": first.plan.trials,
        "samples_per_trial": start.plan.samples,
        "methods": ", ".join(first.content["search_space"]["method"]),
        "milestones": ", ".join(map(str, start.plan.levels)),
        **({} if start.plan.epochs is None else {"epochs": start.plan.epochs}),
    }
    return SweepInfo(
        sweep_id=first.sweep_id,
        name=spec.name,
        params=params,
        tags={
            **provenance_tags(),
            "storage": str(start.folder.root.resolve()),
            "spec.digest": spec.digest,
            "trials.planned": str(start.plan.trials),
        },
        config_yaml=yaml.safe_dump(dict(resolved(spec)), sort_keys=False),
        datasets=datasets_of(start.validation),
        experiment=spec.tracking.experiment or "",
        objective=spec.objective.metric if isinstance(spec.objective.metric, str) else "",
        mode=spec.objective.mode,
    )


def tell_end(tracker: Tracker, result: SweepResult, story: str) -> None:
    """Tell MLflow how a session ended: winner, counts, costs, how sure it is, and the text of the report's first lines."""
    headline = f"{sum(result.counts.values())} trials"
    if result.winner is not None and result.status == "completed":
        objective = result.winner.objective
        tracker.mark_winner(result.winner.trial_id, f"best {result.objective} ({result.mode}): {objective:.5g}")
        headline = f"won by {result.winner.name}"
    tracker.log_sweep_metrics(_end_metrics(result), result.samples_trained)
    tracker.set_sweep_tags(certainty_tags(result))
    tracker.describe_sweep(decision_note(result, story), headline)
    tracker.end_sweep(SweepOutcome.COMPLETED if result.status == "completed" else SweepOutcome.INTERRUPTED)
    tracker.flush(FLUSH_SECONDS)


def _end_metrics(result: SweepResult) -> dict[str, float]:
    values = {
        f"best/{name.replace('/', '_')}": score
        for name, score in (result.winner.scores if result.winner else {}).items()
    }
    if result.winner is not None and result.winner.objective is not None:
        # Under the objective's own name, so that the sweep sorts beside its trials in the UI.
        values[result.objective] = result.winner.objective
    values |= {f"count/{name}": float(count) for name, count in result.counts.items()}
    values |= {
        "cost/samples_trained": float(result.samples_trained),
        "cost/samples_share_of_exhaustive": result.samples_trained / result.samples_exhaustive,
        "cost/training_seconds": result.training_seconds,
        "cost/utilisation": result.utilisation,
        "cost/evaluation_share": result.evaluation_share,
    }
    return values | certainty_metrics(result)


def with_tracking(start: SessionStart, result: SweepResult, tracker: Tracker) -> SweepResult:
    """Return a result with the ids of its runs and the command that shows them."""
    if not start.spec.tracking.enabled or start.spec.tracking.tracker is not None:
        return result
    uri = start.spec.tracking.uri or default_tracking_uri(start.folder.storage)
    view = view_of(uri, start.folder.storage, tracker.experiment_id)
    ids = dict(tracker.run_ids)
    trials = tuple(replace(trial, run_id=ids.get(trial.trial_id)) for trial in result.trials)
    by_id = {trial.trial_id: trial for trial in trials}
    return replace(
        result,
        trials=trials,
        winner=None if result.winner is None else by_id[result.winner.trial_id],
        runner_up=None if result.runner_up is None else by_id[result.runner_up.trial_id],
        tracking=TrackingIds(
            uri=uri,
            experiment=start.spec.tracking.experiment or start.spec.name,
            parent_run_id=ids.get("", ""),
            pending_bytes=tracker.health.pending_bytes,
        ),
        ui_command=view.command,
        ui_address=view.address,
    )
