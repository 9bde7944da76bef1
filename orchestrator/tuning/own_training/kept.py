"""Checkpoints that the user's code saved: the newest one of a trial, and a trial that starts from another's."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.integrations.checkpoints import Sealed, seal, sealed
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry

SAVE = (
    "save them with trial.save_checkpoint where trial.reaches_milestone says so, or give the Trainer SweepCallback "
    "(docs/howto/own-training.md)"
)
"""What code must do whose checkpoints are to be of use after the sweep."""


def newest_checkpoint(folder: SweepFolder, trial_id: str, samples_seen: int) -> Sealed | None:
    """Return the newest complete checkpoint of a trial up to a position; None where its code saved none."""
    fit = [each for each in sealed(folder.own_checkpoints(trial_id)) if each.samples_seen <= samples_seen]
    return fit[-1] if fit else None


def check_saved(folder: SweepFolder, trial_id: str, name: str, samples_seen: int) -> Sealed:
    """Return a trial's newest complete checkpoint.

    Raises:
        InputError: If its code saved none, or it is gone; says what is missing.
    """
    found = newest_checkpoint(folder, trial_id, samples_seen)
    if found is None:
        raise InputError(
            "TRIAL",
            value=name,
            rule=f"its code saved no checkpoint that is complete (looked in {folder.own_checkpoints(trial_id)})",
            mend=SAVE,
        )
    return found


def take_own_checkpoint(folder: SweepFolder, parent: TrialEntry, trial_id: str) -> None:
    """Give a trial the newest checkpoint of another one to go on from, as if its own code had saved it.

    Files are copied, not linked: nothing is known of how the user's code treats what it finds.

    Raises:
        InputError: If there is none, or it cannot be read.
    """
    found = check_saved(folder, parent.trial_id, parent.name, parent.samples_seen)
    # The signals that came with it are the parent's, who has reported them.
    place = folder.own_checkpoints(trial_id) / found.folder.name
    copy_checkpoint(replace(found, signals=()), place, parent.name)


def copy_checkpoint(source: Sealed, place: Path, name: str) -> None:
    """Copy a complete checkpoint; ``place`` (free, or an empty folder) holds all of it afterwards, or nothing.

    Args:
        source: The checkpoint; its copy is marked with the position, time and signals that stand here.
        place: Where to.
        name: Of the trial, for messages.

    Raises:
        InputError: If it cannot be read or written.
    """
    draft = place.with_name(f".{place.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source.folder, draft)
        seal(draft, source)
        draft.replace(place)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise InputError(
            "TRIAL", value=name, rule=f"its checkpoint {source.folder} cannot be copied ({error})"
        ) from error
