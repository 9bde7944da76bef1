"""How far a running trial is: what its worker rewrites about once a second, beside what the journal says."""

from __future__ import annotations

import json
from typing import TypedDict

from orchestrator.records import Outcome
from orchestrator.results.records import TrialView
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry


class Progress(TypedDict, total=False):
    """What a worker last wrote of a trial; ``time`` is Unix time."""

    samples_seen: int
    loss: float
    grad_norm: float
    tokens_per_second: float
    time: float


def running_view(entry: TrialEntry, folder: SweepFolder, objective: float | None) -> TrialView:
    """Return a trial's line of the live table, with what its worker last wrote about its progress."""
    progress = read_progress(folder, entry.trial_id) if entry.outcome is Outcome.RUNNING else Progress()
    last = entry.last_signal
    return TrialView(
        name=entry.name,
        outcome=entry.outcome,
        samples_seen=max(entry.samples_seen, int(progress.get("samples_seen", 0))),
        samples=entry.config.samples,
        loss=progress.get("loss", last.loss if last else None),
        grad_norm=progress.get("grad_norm", last.grad_norm if last else None),
        objective=objective,
        tokens_per_second=progress.get("tokens_per_second", last.tokens_per_second if last else None),
        expected=entry.forecast_of("expected_final"),
        probability_best=entry.forecast_of("probability_best"),
        role=entry.role,
    )


def read_progress(folder: SweepFolder, trial_id: str) -> Progress:
    """Return what a worker last wrote of a trial (see `trainable`); empty without."""
    try:
        values: Progress = json.loads(folder.progress(trial_id).read_text())
    except (OSError, ValueError):
        return Progress()
    return values
