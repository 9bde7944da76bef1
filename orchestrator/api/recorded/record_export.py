"""``record-export``: from the storage folder of a finished sweep that stopped nothing to a `RecordedSweep`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.errors import StorageError
from orchestrator.history.build_result import read_base_scores
from orchestrator.history.journal_facts import standing_plan
from orchestrator.progress import Say, silent
from orchestrator.records import TrainingSignal, TrialConfig, TrialState
from orchestrator.simulation.recorded.files import MIN_TRIALS
from orchestrator.simulation.recorded.sweep import SIGNAL_COLUMNS, RecordedSweep, RecordedTrial
from orchestrator.storage.journal import read_journal
from orchestrator.storage.journal_records.sequence import JournalRecords
from orchestrator.storage.journal_records.sessions import SessionEndRecord
from orchestrator.storage.journal_records.sweeps import SweepRecord
from orchestrator.storage.journal_records.trials import FailureRecord, MilestoneRecord, TrialRecord
from orchestrator.storage.milestone_reports import read_report
from orchestrator.storage.sweep_folder import SweepFolder

_STOPPERS = ("rungs", "early_dynamics")
"""Rules that end trials by comparison; the forecast compares where rungs are."""
_ENDED = (TrialState.COMPLETED, TrialState.DIVERGED)


@dataclass
class _Course:
    """What the journal says of one trial, milestones in order."""

    trial: str
    name: str
    config: TrialConfig
    milestones: list[MilestoneRecord] = field(default_factory=list)
    failed: bool = False

    @property
    def ended(self) -> bool:
        """Whether it was trained to its end or until it diverged."""
        return bool(self.milestones) and self.milestones[-1].state in _ENDED

    @property
    def evaluations(self) -> list[tuple[int, Mapping[str, float]]]:
        """Samples seen and scores of every milestone that was evaluated."""
        return [(record.samples_seen, record.scores) for record in self.milestones if record.scores]


def export_recorded(folder: SweepFolder, say: Say = silent) -> RecordedSweep:
    """Return a finished recorded sweep with all its training signals and evaluations.

    The base model's scores, where they are known, are every trial's evaluation at 0 samples. Metrics that are
    measured at the end only stand in ``final`` alone. Failed trials are left out.

    Args:
        folder: Where the sweep was run.
        say: Is told how many trials were left out.

    Raises:
        StorageError: If there is no such sweep, its rules could stop weak trials (``--record`` and a sweep file that
            turns them off keep them from it), it is not complete, fewer than two of its trials ended, or a report
            is missing or damaged.
    """
    records = read_journal(folder.journal)
    courses = _courses(records)
    _check_recorded(folder, records)
    _check_complete(folder, records, courses)
    kept = [course for course in courses if course.ended]
    if len(kept) < len(courses):
        say(f"{len(courses) - len(kept)} of {len(courses)} trials failed and are left out.")
    if len(kept) < MIN_TRIALS:
        raise _refusal(
            folder,
            f"{len(kept)} of its trials ended, and a recorded sweep has at least {MIN_TRIALS}",
            "see why the others failed, and record more trials",
        )
    metrics = _common_metrics(scores for course in kept for _, scores in course.evaluations)
    base = read_base_scores(folder)
    start = [(0, dict(base))] if metrics and metrics <= base.keys() else []
    epochs = standing_plan(records).epochs
    extra = {} if epochs is None else {"epochs": epochs}
    return RecordedSweep(folder.name, tuple(_trial(folder, course, metrics, start, extra) for course in kept))


def past_recorded(storage: Path, say: Say = silent) -> list[RecordedSweep]:
    """Return every complete sweep of a storage in which no rule could stop a weak trial, by name.

    Args:
        storage: Storage folder.
        say: Is told of each, and of those that were recorded but cannot be used.

    Raises:
        StorageError: If there is none.
    """
    found: list[RecordedSweep] = []
    for journal in sorted(storage.glob("*/journal.jsonl")):
        folder = SweepFolder(storage, journal.parent.name)
        first = read_journal(journal).first(SweepRecord)
        if first is None or not _trains_all(first.content):
            continue
        try:
            found.append(export_recorded(folder))
        except StorageError as error:
            say(f"Left out: {error}")
            continue
        say(f"Learns from {folder.name}, {len(found[-1].trials)} trials.")
    if not found:
        raise StorageError(
            str(storage),
            rule="no complete sweep of this storage trained every trial to its end",
            mend="record one with: orchestrate run FILE --record, or leave --past out",
        )
    return found


def _courses(records: JournalRecords) -> list[_Course]:
    courses: dict[str, _Course] = {}
    told: Iterable[TrialRecord | MilestoneRecord | FailureRecord] = records.of(
        TrialRecord, MilestoneRecord, FailureRecord
    )
    for record in told:
        if isinstance(record, TrialRecord):
            courses[record.trial] = _Course(record.trial, record.name, record.config)
        elif record.trial not in courses:
            continue  # a repeat of one of the best, which is no trial of the search
        elif isinstance(record, MilestoneRecord):
            courses[record.trial].milestones.append(record)
            courses[record.trial].failed = False  # a later session took it up again
        else:
            courses[record.trial].failed = True
    return list(courses.values())


def _check_recorded(folder: SweepFolder, records: JournalRecords) -> None:
    first = records.first(SweepRecord)
    if first is None:
        raise _refusal(folder, "there is no sweep in this folder", "check the name and --storage")
    if not _trains_all(first.content):
        raise _refusal(
            folder,
            "this sweep was not run with --record, so its weak trials were stopped",
            f"record one with: orchestrate run FILE --record --set name={folder.name}-recorded",
        )


def _trains_all(content: Mapping[str, Any]) -> bool:
    """Whether a sweep's rules let every trial train to its end, or until it diverges."""
    stopping = content["stopping"]
    stops = any(stopping[name]["enabled"] for name in _STOPPERS) or bool(stopping.get("rules"))
    return bool(content["record"]) or not stops


def _check_complete(folder: SweepFolder, records: JournalRecords, courses: list[_Course]) -> None:
    planned = max(record.plan.trials for record in records.of(SweepRecord))
    ends = [record.status for record in records.of(SessionEndRecord)]
    # A search space may hold fewer trials than were planned; then only the end of the last session tells.
    whole = len(courses) >= planned or (ends and ends[-1] == "completed")
    ended = sum(course.ended or course.failed for course in courses)
    if not whole or ended < len(courses):
        raise _refusal(
            folder,
            f"this sweep is not complete: {ended} of {planned} trials have ended",
            "run the same command again to finish it",
        )


def _common_metrics(scores: Iterable[Mapping[str, float]]) -> set[str]:
    """Return the metrics that every milestone of every trial has; those measured at the end only are not among them."""
    names = [set(found) for found in scores]
    return set.intersection(*names) if names else set()


def _trial(
    folder: SweepFolder,
    course: _Course,
    metrics: set[str],
    start: list[tuple[int, dict[str, float]]],
    extra: Mapping[str, float],
) -> RecordedTrial:
    last = course.milestones[-1]
    completed = last.state == TrialState.COMPLETED
    signals = [signal for record in course.milestones for signal in _signals(folder, course, record)]
    # A large batch reaches several milestones at once and is evaluated at each: one row of them stays.
    evaluations = sorted(dict([*start, *course.evaluations]).items()) if metrics else []
    return RecordedTrial(
        trial=course.trial,
        config={**course.config.as_dict(), **extra, "name": course.name},
        cohort=last.decision.cohort,
        signals=np.array([_row(signal) for signal in signals], dtype=np.float64).reshape(-1, len(SIGNAL_COLUMNS)),
        evals=tuple((samples, {name: scores[name] for name in sorted(metrics)}) for samples, scores in evaluations),
        final=dict(last.scores) if completed else {},
        samples=course.config.samples,
        seconds=sum(record.training_seconds for record in course.milestones),
        status="completed" if completed else "diverged",
    )


def _signals(folder: SweepFolder, course: _Course, record: MilestoneRecord) -> tuple[TrainingSignal, ...]:
    path = folder.report(course.trial, record.index)
    try:
        return read_report(path)[0].signals
    except OSError as error:
        rule = f"the report of a milestone cannot be read: {error.strerror}"
        raise StorageError(str(path), rule=rule, mend="restore the file from a copy") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            str(path), rule="the report of a milestone is damaged", mend="restore the file from a copy"
        ) from error


def _row(signal: TrainingSignal) -> list[float | None]:
    return [signal.samples_seen, signal.loss, signal.grad_norm, signal.learning_rate, signal.noise_corrected_grad_norm]


def _refusal(folder: SweepFolder, rule: str, mend: str) -> StorageError:
    return StorageError(str(folder.root), rule=rule, mend=mend)
