"""Read a sweep back from its folder while it runs, when it was interrupted, and when it is done; needs no driver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from orchestrator.api.history import spent_before
from orchestrator.api.results import build_result
from orchestrator.errors import StorageError
from orchestrator.records import Decision, TrainingSignal
from orchestrator.results import MilestoneResult, SweepHistory, SweepResult, TrackingIds, TrialHistory
from orchestrator.spec.sweep import SweepSpec
from orchestrator.tuning.entries import TrialEntry, read_entries
from orchestrator.tuning.journal import Record, read_journal
from orchestrator.tuning.layout import SweepFolder
from orchestrator.tuning.planning import SweepPlan
from orchestrator.tuning.reports import decision_from, read_report


def read_sweep(folder: SweepFolder, signals: bool = False) -> SweepHistory:
    """Return a sweep as its journal tells it; writes nothing, and other processes may be writing.

    Args:
        folder: From `find_sweep`.
        signals: Also read every training signal from the trials' reports (a file per milestone).

    Raises:
        StorageError: If the journal is damaged or holds no sweep.
    """
    records = read_journal(folder.journal)
    first = next((record for record in records if record["kind"] == "sweep"), None)
    if first is None:
        raise StorageError(
            str(folder.root), rule="no sweep has begun in this folder", mend="check the name and --storage"
        )
    entries = read_entries(records)
    result = _result(folder, first, records, entries)
    milestones, decisions = _milestones(records), _decisions(records)
    trials = tuple(
        TrialHistory(
            trial,
            entries[trial.trial_id].cohort,
            tuple(_milestone(record) for record in milestones.get(trial.trial_id, ())),
            tuple(decisions.get(trial.trial_id, ())),
            _signals(folder, trial.trial_id, milestones.get(trial.trial_id, ())) if signals else (),
        )
        for trial in result.trials
    )
    return SweepHistory(
        result=result, trials=trials, content=first["content"], levels=tuple(first["plan"]["levels"]),
        inputs=first["inputs"], began=records[0]["time"], ended=records[-1]["time"],
    )  # fmt: skip


def _result(
    folder: SweepFolder, first: Record, records: list[Record], entries: Mapping[str, TrialEntry]
) -> SweepResult:
    content = {name: value for name, value in first["content"].items() if name != "record"}
    spec = SweepSpec.model_validate({**content, "storage": str(folder.storage)})
    values = first["plan"]
    plan = SweepPlan(values["trials"], values["samples"], tuple(values["levels"]), tuple(values["rung_indices"]))
    spent = spent_before(records, records[-1]["epoch"] + 1)
    slots = next((record["slots"] for record in reversed(records) if record["kind"] == "session"), 0)
    result = build_result(
        spec,
        plan,
        entries.values(),
        folder,
        slots,
        first["sweep_id"],
        _status(records),
        spent.wall_seconds,
        spent.slot_seconds,
    )
    tracking = next((record for record in reversed(records) if record["kind"] == "tracking"), None)
    return result if tracking is None else _with_runs(result, tracking["run_ids"])


def _status(records: list[Record]) -> str:
    """Return how the last session ended; without an end it runs still, or was killed (the caller may know more)."""
    last = next((record for record in reversed(records) if record["kind"] in ("session", "session_end")), None)
    return "running" if last is None or last["kind"] == "session" else str(last["status"])


def _with_runs(result: SweepResult, run_ids: Mapping[str, str]) -> SweepResult:
    trials = tuple(replace(trial, run_id=run_ids.get(trial.trial_id)) for trial in result.trials)
    by_id = {trial.trial_id: trial for trial in trials}
    return replace(
        result,
        trials=trials,
        winner=None if result.winner is None else by_id[result.winner.trial_id],
        runner_up=None if result.runner_up is None else by_id[result.runner_up.trial_id],
        tracking=TrackingIds(parent_run_id=run_ids.get("", "")),
    )


def _milestones(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"] == "milestone":
            found.setdefault(record["trial"], []).append(record)
    return found


def _decisions(records: Iterable[Record]) -> dict[str, list[Decision]]:
    found: dict[str, list[Decision]] = {}
    for record in records:
        decision = decision_from(record["decision"]) if "decision" in record else None
        if decision is not None:
            found.setdefault(decision.trial_id, []).append(decision)
    return found


def _milestone(record: Record) -> MilestoneResult:
    return MilestoneResult(
        index=record["index"], level=record["level"], samples_seen=record["samples_seen"],
        tokens_seen=record["tokens_seen"], scores=record["scores"], standard_errors=record["standard_errors"],
        training_seconds=record["training_seconds"], evaluation_seconds=record["evaluation_seconds"],
        checkpoint=record["checkpoint"],
    )  # fmt: skip


def _signals(folder: SweepFolder, trial_id: str, milestones: Iterable[Record]) -> tuple[TrainingSignal, ...]:
    """Return a trial's signals; a report that is gone (the user made room) leaves a gap, no error."""
    found: list[TrainingSignal] = []
    for record in milestones:
        try:
            found += read_report(folder.report(trial_id, record["index"]))[0].signals
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(found)
