"""``stop``, ``resume``, ``clone``: control of a sweep's trials from any process that sees its storage folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from orchestrator.coordinating.clones import clone_record
from orchestrator.coordinating.controls import check_action
from orchestrator.coordinating.user_decisions import asked_by
from orchestrator.errors import InputError, StorageError
from orchestrator.history.find_trial import Sweep, find_trial, sweep_folder
from orchestrator.history.journal_state import JournalState, read_state
from orchestrator.history.read_sweep import result_of
from orchestrator.results.records import ControlResult
from orchestrator.storage.driver_presence import read_driver
from orchestrator.storage.journal import JournalReader
from orchestrator.storage.journal_records.users import ActionRecord, AddedTrialRecord
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry
from orchestrator.storage.user_actions import ControlAction, leave_action, whoever

WAIT_SECONDS = 15.0
_LOOK_SECONDS = 0.2


def stop_trial(
    sweep: Sweep,
    trial: str,
    *,
    storage: Path | str | None = None,
    now: bool = False,
    wait_seconds: float = WAIT_SECONDS,
) -> ControlResult:
    """Stop a trial: one that waits at once, one that trains at its next milestone.

    Args:
        sweep: Name, folder, or what `find_sweep` returned.
        trial: Id (or its first digits) or name.
        storage: Where a name is looked up.
        now: Stop a trial that trains within seconds; what it trained since its last milestone is lost.
        wait_seconds: How long to wait for the driver's answer; 0: not at all.

    Raises:
        StorageError: If there is no such sweep, or its folder cannot be written.
        InputError: If there is no such trial, or it has ended.
    """
    folder = sweep_folder(sweep, storage)
    state, entry = _state_and_entry(folder, trial)
    return _ask(state, entry, ControlAction("stop", entry.trial_id, whoever(), now=now), wait_seconds)


def resume_trial(
    sweep: Sweep, trial: str, *, storage: Path | str | None = None, wait_seconds: float = WAIT_SECONDS
) -> ControlResult:
    """Train a stopped trial on to its end, judged by nobody; it may win.

    Args:
        sweep: Name, folder, or what `find_sweep` returned.
        trial: Id (or its first digits) or name.
        storage: Where a name is looked up.
        wait_seconds: How long to wait for the driver's answer; 0: not at all.

    Raises:
        StorageError: If there is no such sweep, or its folder cannot be written.
        InputError: If there is no such trial, it was not stopped, its checkpoint is gone, or the sweep is complete.
    """
    folder = sweep_folder(sweep, storage)
    state, entry = _state_and_entry(folder, trial)
    action = ControlAction("resume", entry.trial_id, whoever())
    check_action(action, entry, folder, state.spec)
    _check_open(state, f"--resume '{entry.trial_id}'")
    return _ask(state, entry, action, wait_seconds)


def clone_trial(
    sweep: Sweep,
    trial: str,
    changes: Sequence[str],
    *,
    from_weights: bool = False,
    storage: Path | str | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> ControlResult:
    """Add a trial with another one's configuration and some values changed, trained to its end; it may win.

    Args:
        sweep: Name, folder, or what `find_sweep` returned.
        trial: Id (or its first digits) or name of the parent.
        changes: ``field=value`` texts, named as under ``search_space``: ``learning_rate=1e-4``, ``r=16``.
        from_weights: Start from the parent's newest weights; optimizer and data order are new, samples count from 0.
        storage: Where a name is looked up.
        wait_seconds: How long to wait for the driver's answer; 0: not at all.

    Raises:
        StorageError: If there is no such sweep, or its folder cannot be written.
        InputError: If there is no such trial, a change is wrong, the trial exists already, or the sweep is complete.
    """
    folder = sweep_folder(sweep, storage)
    state, entry = _state_and_entry(folder, trial)
    action = ControlAction("clone", entry.trial_id, whoever(), changes=tuple(changes), from_weights=from_weights)
    check_clone(state, entry, action)
    words = "".join(f" --set {text}" for text in changes) + (" --from-weights" if from_weights else "")
    _check_open(state, f"--clone '{entry.trial_id}'{words}")
    return _ask(state, entry, action, wait_seconds)


def check_clone(state: JournalState, entry: TrialEntry, action: ControlAction) -> AddedTrialRecord:
    """Return the clone that an action would make of a trial as it stands.

    Raises:
        InputError: If a change is wrong, or the trial exists already.
    """
    check_action(action, entry, state.folder, state.spec)
    asked = asked_by(action.who, action.asked)
    return clone_record(state.spec, entry, action.changes, action.from_weights, asked, state.trials)


def _state_and_entry(folder: SweepFolder, word: str) -> tuple[JournalState, TrialEntry]:
    state = read_state(folder)
    return state, state.trials[find_trial(result_of(state).trials, word).trial_id]


def _check_open(state: JournalState, words: str) -> None:
    if state.status == "completed":
        raise InputError(
            "SWEEP",
            value=state.folder.name,
            rule="this sweep is complete, so nothing runs that could do it",
            mend=f"extend it: orchestrate extend {state.folder.root} {words}",
        )


def _ask(state: JournalState, entry: TrialEntry, action: ControlAction, wait_seconds: float) -> ControlResult:
    check_action(action, entry, state.folder, state.spec)
    try:
        leave_action(state.folder, action)
    except OSError as error:
        raise StorageError(
            "SWEEP",
            value=str(state.folder.root),
            rule=f"its folder cannot be written ({error})",
            mend="use an account that may, or set the tag orchestrate.action in MLflow",
        ) from error
    found = _wait(state.folder, action.action_id, wait_seconds)
    told = partial(ControlResult, state.folder.name, action.kind, entry.trial_id, entry.name)
    if found is None and not _driven(state.folder):
        return told(state="queued", answer="No driver runs this sweep; the next run carries it out.")
    if found is None:
        return told(state="unanswered", answer="The driver has not answered yet; it will do so on its turn.")
    if found.state == "refused":
        raise InputError(action.kind, value=entry.name, rule=f"the driver refuses: {found.answer}")
    return told(state=found.state, answer=found.answer, made=found.made)


def _wait(folder: SweepFolder, action_id: str, seconds: float) -> ActionRecord | None:
    """Return the journal's record of an action, or None where nobody wrote it in time."""
    reader, until = JournalReader(folder.journal), time.monotonic() + seconds
    while True:
        driven = _driven(folder)
        # Looked at after the driver: one that has just ended may have answered.
        found = next((record for record in reader.read().of(ActionRecord) if record.id == action_id), None)
        if found is not None or not driven or time.monotonic() >= until:
            return found
        time.sleep(_LOOK_SECONDS)


def _driven(folder: SweepFolder) -> bool:
    sign = read_driver(folder)
    return sign is not None and sign.alive
