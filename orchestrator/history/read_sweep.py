"""Read a sweep back from its folder while it runs, when it was interrupted, and when it is done; needs no driver."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.history.build_result import build_result
from orchestrator.history.journal_facts import recorded_inputs, spent_before, sweep_content
from orchestrator.history.journal_state import JournalState, read_state
from orchestrator.history.tracked_runs import find_runs, with_runs
from orchestrator.records import Decision, TrainingSignal
from orchestrator.results.records import MilestoneResult, SweepHistory, SweepResult, TrialHistory
from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.storage.journal_records.kinds import DecidedRecord
from orchestrator.storage.journal_records.trials import MilestoneRecord
from orchestrator.storage.later_scores import LaterScores, latest, read_scores
from orchestrator.storage.milestone_reports import read_report
from orchestrator.storage.sweep_folder import SweepFolder


def read_sweep(folder: SweepFolder, signals: bool = False) -> SweepHistory:
    """Return a sweep as its journal tells it; writes nothing, and other processes may be writing.

    Args:
        folder: From `find_sweep`.
        signals: Also read every training signal from the trials' reports (a file per milestone).

    Raises:
        StorageError: If the journal is damaged or holds no sweep.
    """
    return history_of(read_state(folder), signals)


def history_of(state: JournalState, signals: bool = False) -> SweepHistory:
    """Return a sweep as a state that has been read already tells it; as `read_sweep`."""
    folder, records, first = state.folder, state.records, state.first
    entries = state.trials
    result = result_of(state)
    milestones, decisions = _milestones(records.of(MilestoneRecord)), _decisions(records)
    later = read_scores(folder.later_scores)
    trials = tuple(
        TrialHistory(
            trial,
            entries[trial.trial_id].cohort,
            tuple(_milestone(record, later) for record in milestones.get(trial.trial_id, ())),
            tuple(decisions.get(trial.trial_id, ())),
            _signals(folder, trial.trial_id, milestones.get(trial.trial_id, ())) if signals else (),
        )
        for trial in result.trials
    )
    return SweepHistory(
        result=result,
        trials=trials,
        content=sweep_content(records),
        levels=first.plan.levels,
        inputs=recorded_inputs(state.records) or {},
        began=records[0].time,
        ended=records[-1].time,
        environment=state.session.environment,
    )


def result_of(state: JournalState) -> SweepResult:
    """Return how a sweep stands as a result; milestones and decisions are left out."""
    spent = spent_before(state.records, state.records[-1].epoch + 1)
    result = build_result(
        state.spec,
        state.plan,
        state.trials.values(),
        state.folder,
        state.slots,
        state.first.sweep_id,
        state.status,
        spent.wall_seconds,
        spent.slot_seconds,
    )
    return with_runs(result, find_runs(state))


def _milestones(records: Iterable[MilestoneRecord]) -> dict[str, list[MilestoneRecord]]:
    found: dict[str, list[MilestoneRecord]] = {}
    for record in records:
        found.setdefault(record.trial, []).append(record)
    return found


def _decisions(records: Iterable[JournalRecord]) -> dict[str, list[Decision]]:
    found: dict[str, list[Decision]] = {}
    for record in records:
        if isinstance(record, DecidedRecord) and record.decision is not None:
            found.setdefault(record.decision.trial_id, []).append(record.decision)
    return found


def _milestone(record: MilestoneRecord, later: Sequence[LaterScores]) -> MilestoneResult:
    scores, errors = latest(later, record.trial, record.index)
    return MilestoneResult(
        index=record.index,
        level=record.level,
        samples_seen=record.samples_seen,
        tokens_seen=record.tokens_seen,
        scores={**scores, **record.scores},
        standard_errors={**errors, **record.standard_errors},
        training_seconds=record.training_seconds,
        evaluation_seconds=record.evaluation_seconds,
        checkpoint=record.checkpoint,
    )


def _signals(folder: SweepFolder, trial_id: str, milestones: Iterable[MilestoneRecord]) -> tuple[TrainingSignal, ...]:
    """Return a trial's signals; a report that is gone (the user made room) leaves a gap, no error."""
    found: list[TrainingSignal] = []
    for record in milestones:
        try:
            found += read_report(folder.report(trial_id, record.index))[0].signals
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(found)
