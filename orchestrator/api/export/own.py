"""``export`` of training of the user's own: the checkpoint that the code saved, with a card that says where it comes from."""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestrator.errors import InputError, StorageError
from orchestrator.integrations.checkpoints import SEAL, Sealed, read_seal
from orchestrator.reporting.cards.own_card import own_card
from orchestrator.results.records import SweepHistory, TrialHistory
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tuning.own_training.kept import SAVE, newest_checkpoint

CARD, THEIRS = "README.md", "README.from-code.md"
"""Name of the card, and what a file of this name that the code wrote is called beside it."""


def check_own_options(merge: bool, dtype: str, register: str | None) -> None:
    """Raise if an option is given that needs to know what the files are.

    Raises:
        InputError: Names the option.
    """
    given = [("--merge", merge), ("--dtype", dtype != "auto"), ("--register", register is not None)]
    option = next((name for name, used in given if used), None)
    if option is not None:
        raise InputError(
            option,
            rule="this sweep trains with code of its own (entrypoint), and only that code knows what its files are",
            mend=f"leave {option} out; the checkpoint is written as it was saved",
        )


def find_own_checkpoint(folder: SweepFolder, trial: TrialHistory, given: Path | None) -> Sealed:
    """Return the checkpoint to export.

    Args:
        folder: The sweep.
        trial: The trial.
        given: A checkpoint kept by ``rerun --keep``, in place of the sweep's own.

    Raises:
        StorageError: If there is none that is complete; says what is missing.
    """
    result = trial.result
    if given is not None:
        found = read_seal(given)
        if found is None:
            raise StorageError(
                "--checkpoint",
                value=str(given),
                rule="this is no complete checkpoint of the user's own code",
                mend="give a folder that rerun --keep wrote, or one below trials/TRIAL/own",
            )
        return found
    found = newest_checkpoint(folder, result.trial_id, result.samples_seen)
    if found is not None:
        return found
    where = f"{folder.root}: trial {result.trial_id}"
    if any(milestone.checkpoint for milestone in trial.milestones):
        raise StorageError(
            where,
            value=result.name,
            rule=f"the checkpoints of this trial are gone from {folder.own_checkpoints(result.trial_id)}",
            mend=f"train it again: orchestrate rerun {folder.root} {result.trial_id} --keep DIR, then export with "
            "--checkpoint DIR",
        )
    raise StorageError(
        where, value=result.name, rule="its code saved no checkpoint, so there is nothing to export", mend=SAVE
    )


def write_own(history: SweepHistory, trial: TrialHistory, checkpoint: Sealed, draft: Path) -> None:
    """Copy a checkpoint into an empty folder, and write its card.

    Raises:
        StorageError: If it cannot be copied.
    """
    try:
        shutil.copytree(checkpoint.folder, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns(SEAL))
    except (OSError, shutil.Error) as error:
        raise StorageError(str(checkpoint.folder), rule=f"the checkpoint cannot be copied ({error})") from error
    names = sorted(str(path.relative_to(draft)) for path in draft.rglob("*") if path.is_file())
    if (draft / CARD).exists():
        (draft / CARD).rename(draft / THEIRS)
    (draft / CARD).write_text(own_card(history, trial, checkpoint.samples_seen, names), encoding="utf-8")
