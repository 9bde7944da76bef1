"""The single trials that an extension asks for: resumed, cloned, or trained on to a larger budget."""

from __future__ import annotations

import math
import time

from orchestrator.api.control.control import check_clone
from orchestrator.api.extend.request import ExtendRequest
from orchestrator.coordinating.continued_trials import continued_record, inexact
from orchestrator.coordinating.controls import check_action, check_checkpoint
from orchestrator.coordinating.user_decisions import asked_by
from orchestrator.errors import InputError
from orchestrator.history.find_trial import find_trial
from orchestrator.history.journal_state import JournalState
from orchestrator.history.read_sweep import result_of
from orchestrator.records import Outcome, Role
from orchestrator.spec.sweep_plan import SweepPlan
from orchestrator.storage.journal_records.users import AddedTrialRecord
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry
from orchestrator.storage.user_actions import ControlAction, whoever
from orchestrator.tuning.own_training.kept import check_saved


def asked_actions(state: JournalState, request: ExtendRequest) -> tuple[ControlAction, ...]:
    """Return the actions on single trials, each of them checked.

    Raises:
        InputError: If there is no such trial, or it stands otherwise.
    """
    who, found = whoever(), []
    for word in request.resume:
        entry = _entry(state, word)
        action = ControlAction("resume", entry.trial_id, who)
        check_action(action, entry, state.folder, state.spec)
        found.append(action)
    if request.clone is not None:
        entry = _entry(state, request.clone)
        action = ControlAction(
            "clone", entry.trial_id, who, changes=tuple(request.clone_changes), from_weights=request.from_weights
        )
        check_clone(state, entry, action)
        found.append(action)
    return tuple(found)


def _entry(state: JournalState, word: str) -> TrialEntry:
    return state.trials[find_trial(result_of(state).trials, word).trial_id]


def continued_trials(state: JournalState, plan: SweepPlan, request: ExtendRequest, rows: int) -> list[AddedTrialRecord]:
    """Return the trials that train the best ones on; those that the sweep has already are left out."""
    if request.best is None:
        return []
    own = state.spec.entrypoint is not None
    if own and request.epochs is not None:
        raise InputError(
            "--epochs",
            value=request.epochs,
            rule="the size of the data that your own code trains on is unknown",
            mend="say it in samples: --samples M",
        )
    samples = request.samples or math.ceil(round((request.epochs or 0.0) * rows, 6))
    if samples <= plan.samples:
        raise InputError(
            "--samples", value=samples, rule=f"must be more than the budget that the trials had ({plan.samples:,})"
        )
    ended = [
        state.trials[trial.trial_id]
        for trial in result_of(state).trials
        if trial.outcome is Outcome.COMPLETED and trial.role not in (Role.REPEAT, Role.EXTENDED)
    ]
    if not ended:
        raise InputError(
            "--best", value=request.best, rule="no trial of this sweep has completed", mend="resume one: --resume TRIAL"
        )
    asked = asked_by(whoever(), time.time())
    found = []
    for parent in ended[: request.best]:
        if own:
            _check_own(parent, state.folder, samples, request.restart_schedule)
        else:
            check_checkpoint(parent, state.folder)
        record = continued_record(parent, samples, plan.levels, request.restart_schedule, asked)
        if record.trial not in state.trials:
            found.append(record)
    return found


def _check_own(parent: TrialEntry, folder: SweepFolder, samples: int, restart: bool) -> None:
    """Raise unless training of the user's own can go on from what its code saved."""
    check_saved(folder, parent.trial_id, parent.name, parent.samples_seen)
    why = inexact(parent.config, samples)
    if why and restart:
        raise InputError(
            "--restart-schedule",
            value=parent.name,
            rule="only your own code could start anew from its weights, and it is not told to",
            mend="search a constant schedule, and leave --restart-schedule out",
        )
    if why:
        raise InputError(
            "--samples",
            value=parent.name,
            rule=f"this trial cannot go on as if it had the larger budget: {why}",
            mend="run it as a sweep of another name with a larger budget",
        )
