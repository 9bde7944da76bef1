"""Which trials of a running sweep have ended, told from what its journal gains."""

from __future__ import annotations

import time
from collections.abc import Iterator

from orchestrator.history.journal_state import JournalState, read_state
from orchestrator.history.read_sweep import history_of
from orchestrator.results.records import TrialHistory
from orchestrator.storage.driver_presence import is_driven
from orchestrator.storage.journal import JournalReader
from orchestrator.storage.journal_records.trials import DecisionRecord, FailureRecord, MilestoneRecord
from orchestrator.storage.journal_records.users import StopRecord
from orchestrator.storage.sweep_folder import SweepFolder

FOLLOW_SECONDS = 2.0

_ENDING = (MilestoneRecord, DecisionRecord, FailureRecord, StopRecord)
"""Records by which a trial may come to its end."""


def ended_so_far(state: JournalState) -> list[TrialHistory]:
    """Return the trials that have ended and left a checkpoint."""
    found = history_of(state).trials
    return [each for each in found if each.result.outcome.is_final and any(at.checkpoint for at in each.milestones)]


def ended_trials(folder: SweepFolder) -> Iterator[TrialHistory]:
    """Yield each trial once it has ended, until the sweep has; of one that was trained on, the later checkpoint, too.

    Only what the journal gained is read and parsed, and trials are looked at only where one may have ended.
    """
    reader = JournalReader(folder.journal)
    told: set[tuple[str, int]] = set()
    seen = 0
    while True:
        # Before the trials are read: one that ends in between is found in the next round.
        running = is_driven(folder)
        records = reader.read()
        new, seen = records[seen if seen <= len(records) else 0 :], len(records)
        may_have_ended = any(isinstance(record, _ENDING) for record in new)
        ended = ended_so_far(read_state(folder, records)) if may_have_ended else []
        due = [trial for trial in ended if _mark(trial) not in told]
        told |= set(map(_mark, due))
        yield from due
        if not due:
            if not running:
                return
            time.sleep(FOLLOW_SECONDS)


def _mark(trial: TrialHistory) -> tuple[str, int]:
    return trial.result.trial_id, len(trial.milestones)
