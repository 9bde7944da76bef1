"""Where a sweep keeps its files. Every name of a file or folder in the storage stands here and nowhere else.

``STORAGE/mlflow.db``, ``STORAGE/mlartifacts``   default tracking store, shared by all sweeps of the storage
``STORAGE/cache/``                               tokenised data and scores, keyed by content
``STORAGE/SWEEP/journal.jsonl``                  append-only record of the sweep
``STORAGE/SWEEP/epoch-NNNN``                     which driver took the sweep over, and that it lives
``STORAGE/SWEEP/outbox.jsonl``                   tracking events on their way to MLflow
``STORAGE/SWEEP/scores.jsonl``                   scores that came beside or after the training
``STORAGE/SWEEP/actions/``                       what users ask of its trials, until the driver takes it up
``STORAGE/SWEEP/trials/ID/mNNNN/``               checkpoint of a milestone (safetensors and JSON)
``STORAGE/SWEEP/trials/ID/waiting/mNNNN/``      weights of a milestone that detached sets have not scored yet
``STORAGE/SWEEP/trials/ID/reports/mNNNN.json``   what the trial reported there, all training signals included
``STORAGE/SWEEP/trials/ID/own/``                 checkpoints that the user's own code saves
``STORAGE/SWEEP/plugins/DIGEST.json``            code that the sweep file names
``STORAGE/SWEEP/ray/``                           Ray Tune's own files, never read back
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import StorageError, nearest

MIN_FREE_BYTES = 200 * 2**20


@dataclass(frozen=True)
class SweepFolder:
    """Paths of one sweep inside a storage folder."""

    storage: Path
    name: str

    @property
    def root(self) -> Path:
        """The sweep's own folder."""
        return self.storage / self.name

    @property
    def journal(self) -> Path:
        """The journal file."""
        return self.root / "journal.jsonl"

    @property
    def outbox(self) -> Path:
        """Tracking events on their way."""
        return self.root / "outbox.jsonl"

    @property
    def report_folder(self) -> Path:
        """Where a run leaves its report."""
        return self.root / "report"

    @property
    def cache(self) -> Path:
        """Tokenised data and base scores, shared by all sweeps of the storage."""
        return self.storage / "cache"

    @property
    def ray(self) -> Path:
        """Ray Tune's files."""
        return self.root / "ray"

    @property
    def base_scores(self) -> Path:
        """Scores of the untouched base model, written by the first worker that knows them."""
        return self.root / "base_scores.json"

    @property
    def later_scores(self) -> Path:
        """Scores that came beside or after the training."""
        return self.root / "scores.jsonl"

    @property
    def actions(self) -> Path:
        """Where commands leave what users ask of a running sweep's trials."""
        return self.root / "actions"

    def trial(self, trial_id: str) -> Path:
        """Folder of one trial."""
        return self.root / "trials" / trial_id

    def checkpoint(self, trial_id: str, index: int) -> Path:
        """Checkpoint folder of a trial's milestone."""
        return self.trial(trial_id) / f"m{index:04d}"

    def waiting(self, trial_id: str, index: int) -> Path:
        """Weights of a trial's milestone that are kept until detached evaluation sets have scored them."""
        return self.trial(trial_id) / "waiting" / f"m{index:04d}"

    @property
    def milestones_waiting(self) -> int:
        """How many milestones' weights are kept until detached evaluation sets have scored them."""
        return sum(1 for _ in self.root.glob("trials/*/waiting/m*"))

    def report(self, trial_id: str, index: int) -> Path:
        """Report file of a trial's milestone."""
        return self.trial(trial_id) / "reports" / f"m{index:04d}.json"

    def start(self, trial_id: str) -> Path:
        """Checkpoint of another trial that a trial starts from."""
        return self.trial(trial_id) / "start"

    def own_checkpoints(self, trial_id: str) -> Path:
        """Folder of the checkpoints that the user's own code saves."""
        return self.trial(trial_id) / "own"

    def plugin(self, digest: str) -> Path:
        """File that keeps the text of a plug-in."""
        return self.root / "plugins" / f"{digest}.json"

    def stop_sign(self, trial_id: str) -> Path:
        """File that stops a running trial at its next optimizer step, by being there."""
        return self.trial(trial_id) / "stop-now"

    def progress(self, trial_id: str) -> Path:
        """Where a running trial says how far it is (rewritten about once a second)."""
        return self.trial(trial_id) / "progress.json"


def sweep_folders(storage: Path) -> list[SweepFolder]:
    """Return the folders of all sweeps in a storage folder, by name; none where there is no such folder."""
    return [SweepFolder(storage, journal.parent.name) for journal in sorted(storage.glob("*/journal.jsonl"))]


def latest_sweep(storage: Path) -> SweepFolder:
    """Return the sweep of a storage folder whose journal was written last: the one that runs, or ran last.

    Raises:
        StorageError: If the storage has none.
    """
    folders = sweep_folders(storage)
    if not folders:
        raise StorageError(
            "--storage",
            value=str(storage),
            rule="no sweep has been run in this storage folder",
            mend="name the storage folder with --storage",
        )
    return max(folders, key=lambda folder: folder.journal.stat().st_mtime)


def find_sweep(sweep: str, storage: Path | str) -> SweepFolder:
    """Return the folder of a sweep that has been run.

    Args:
        sweep: Its name, or the path of its folder.
        storage: Storage folder in which a name is looked up.

    Raises:
        StorageError: If there is no such sweep; names the nearest one.
    """
    storage, path = Path(storage), Path(sweep).resolve()
    by_name = [SweepFolder(storage, sweep)] if Path(sweep).name == sweep else []
    for folder in (*by_name, SweepFolder(path.parent, path.name)):
        if os.path.isfile(folder.journal):
            return folder
    known = [folder.name for folder in sweep_folders(storage)]
    shown = f"the storage '{storage}' has {', '.join(known[:8])}" if known else f"the storage '{storage}' has none"
    raise StorageError(
        "SWEEP",
        value=sweep,
        rule=f"there is no such sweep; {shown}",
        mend=nearest(sweep, known) or "name the storage folder with --storage, or the sweep's folder",
    )


def check_storage(storage: Path, needed_bytes: int = 0) -> None:
    """Raise unless the storage folder (or its nearest existing parent) is writable and has room; writes nothing.

    Raises:
        StorageError: With the path, the rule and the mend.
    """
    place = storage
    # os.path.exists, unlike Path.exists, says False where a parent folder may not be searched.
    while not os.path.exists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise StorageError(
            "storage",
            value=str(storage),
            rule=f"'{place}' is a file, not a folder",
            mend="choose another folder with --storage",
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(
            "storage",
            value=str(storage),
            rule=f"'{place}' is not writable for you",
            mend="choose another folder with --storage",
        )
    free = shutil.disk_usage(place).free
    needed = max(MIN_FREE_BYTES, needed_bytes)
    if free < needed:
        raise StorageError(
            "storage",
            value=str(storage),
            rule=f"the disk has {free / 2**20:.0f} MiB free, the sweep needs {needed / 2**20:.0f} MiB",
            mend="free some space, or choose another folder with --storage",
        )


def is_disk_full(error: OSError) -> bool:
    """Whether an operating-system error says that there is no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
