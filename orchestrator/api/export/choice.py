"""Which trial is exported, and where its weights are."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import InputError, StorageError
from orchestrator.history.find_trial import find_trial
from orchestrator.records import Outcome
from orchestrator.results.records import SweepHistory, TrialHistory
from orchestrator.storage.sweep_folder import SweepFolder


def choose_trial(history: SweepHistory, word: str | None) -> TrialHistory:
    """Return the named trial, or the winner.

    Raises:
        InputError: If there is none.
    """
    result = history.result
    if word is not None:
        return history.trial(find_trial(result.trials, word).trial_id)
    if result.winner is not None:
        return history.trial(result.winner.trial_id)
    some = next((each.name for each in result.trials if each.samples_seen), "")
    mend = f"wait for the first, or name one that has begun, e.g. --trial '{some}'" if some else "wait for the first"
    raise InputError(
        result.storage, rule="no trial of this sweep was trained to its end, so there is no winner", mend=mend
    )


def find_checkpoint(folder: SweepFolder, trial: TrialHistory, in_place: bool = False) -> Path:
    """Return the folder of a trial's latest checkpoint.

    Args:
        folder: The sweep.
        trial: The trial.
        in_place: Whether one that is gone had best be trained again where it was, rather than beside; for the message.

    Raises:
        StorageError: If it has none, or it is gone.
    """
    result = trial.result
    where = f"{folder.root}: trial {result.trial_id}"
    saved = [milestone.index for milestone in trial.milestones if milestone.checkpoint]
    if result.outcome is Outcome.DIVERGED:
        raise StorageError(
            where,
            value=result.name,
            rule="this trial diverged, and what it had learned before was not kept",
            mend="choose another with --trial",
        )
    if not saved:
        raise StorageError(
            where,
            value=result.name,
            rule="this trial has reached no milestone, so nothing of it is saved",
            mend="wait for its first milestone, or choose another with --trial",
        )
    place = folder.checkpoint(result.trial_id, saved[-1])
    if not place.is_dir():
        kept = str(place) if in_place else "DIR, then export with --checkpoint DIR"
        raise StorageError(
            where,
            value=str(place),
            rule="the checkpoint of this trial is gone",
            mend=f"train it again: orchestrate rerun {folder.root} {result.trial_id} --keep {kept}",
        )
    return place
