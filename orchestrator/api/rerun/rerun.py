"""``rerun``: train a trial's recipe again from its capsule, outside the sweep's folder, and say whether it is the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.api.rerun.built_in import BuiltInAgain
from orchestrator.api.rerun.capsule import Capsule, CapsuleLine, compare_environment, read_capsule
from orchestrator.api.rerun.compare import (
    ROUNDING,
    MetricSameness,
    Sameness,
    SignalSameness,
    compare_signals,
    overall,
)
from orchestrator.api.rerun.own import OwnAgain
from orchestrator.errors import InputError, StorageError
from orchestrator.history.find_trial import Sweep, find_trial, sweep_folder
from orchestrator.history.journal_state import JournalState, read_state
from orchestrator.history.read_sweep import read_sweep
from orchestrator.progress import Say, silent
from orchestrator.records import TrainingSignal
from orchestrator.results.records import TrialHistory
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tracking.provenance import environment


@dataclass(frozen=True)
class RerunResult:
    """What a rerun found.

    Args:
        sweep: Name of the sweep.
        trial_id: The trial.
        name: Its name.
        verdict: ``identical`` (every score and every training signal bit for bit), ``within rounding``,
            ``within error`` (two standard errors), or ``different``.
        scores: Every score of every milestone.
        signals: The training signals.
        weights: Whether the trained weights are the same bit for bit; None where the checkpoint is gone.
        capsule: What the result depends on, as recorded and as it is here.
        device: Where it was trained now.
        seconds: Wall time.
        kept: Folder of the new checkpoint, empty where it was not to be kept.
    """

    sweep: str
    trial_id: str
    name: str
    verdict: Sameness
    scores: tuple[MetricSameness, ...]
    signals: SignalSameness
    weights: bool | None
    capsule: tuple[CapsuleLine, ...]
    device: str
    seconds: float
    kept: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def rerun_trial(
    sweep: Sweep,
    trial: str,
    *,
    storage: Path | str | None = None,
    keep: Path | str | None = None,
    device: str = "auto",
    rounding: float = ROUNDING,
    say: Say = silent,
) -> RerunResult:
    """Train a trial again, as far as it was trained, in this process; the sweep's folder is only read.

    Args:
        sweep: Name, folder, or what `find_sweep` returned.
        trial: Id or name.
        storage: Where a name is looked up.
        keep: Folder for the new checkpoint (for ``export --checkpoint``); must not exist or be empty.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``; training of your own chooses it itself.
        rounding: Relative difference that counts as rounding.
        say: Receives a line at each milestone.

    Raises:
        InputError: If there is no such sweep or trial, it has reached no milestone, or model or data are gone.
    """
    began = time.perf_counter()
    folder = sweep_folder(sweep, storage)
    state, history = read_state(folder), read_sweep(folder, signals=True)
    chosen = history.trial(find_trial(history.result.trials, trial).trial_id)
    _check(chosen, keep)
    state.load_plugins(say)
    capsule = read_capsule(state, chosen.result.trial_id)
    again = _again(state, chosen, capsule, device, rounding, say)
    lines = _capsule_lines(capsule, again, say)
    again.train()
    weights, kept = again.same_weights(folder), again.keep(keep)
    signals = compare_signals(chosen.signals, again.signals, rounding)
    return RerunResult(
        sweep=folder.name,
        trial_id=chosen.result.trial_id,
        name=chosen.result.name,
        verdict=overall([each.verdict for each in again.scores], signals.verdict),
        scores=tuple(again.scores),
        signals=signals,
        weights=weights,
        capsule=tuple(lines),
        device=again.device,
        seconds=round(time.perf_counter() - began, 2),
        kept=kept,
    )


class Again(Protocol):
    """A trial that is trained once more."""

    scores: list[MetricSameness]
    signals: list[TrainingSignal]

    @property
    def device(self) -> str:
        """Where it is trained now."""
        ...

    def inputs(self) -> Sequence[CapsuleLine]:
        """Compare what it reads with what the capsule says."""
        ...

    def train(self) -> None:
        """Train to every milestone that the trial reached, and score it there."""
        ...

    def same_weights(self, folder: SweepFolder) -> bool | None:
        """Whether the weights are the same bit for bit; None where that cannot be told."""
        ...

    def keep(self, place: Path | str | None) -> str:
        """Keep the new checkpoint; returns its folder, empty where there is none to keep."""
        ...


def _again(
    state: JournalState, before: TrialHistory, capsule: Capsule, device: str, rounding: float, say: Say
) -> Again:
    if state.spec.entrypoint is not None:
        return OwnAgain(state, before, capsule, device, rounding, say)
    return BuiltInAgain(state, before, capsule, device, rounding, say)


def _check(trial: TrialHistory, keep: Path | str | None) -> None:
    if not trial.milestones:
        raise InputError(
            "TRIAL",
            value=trial.result.name,
            rule="this trial has reached no milestone, so there is nothing to compare with",
            mend="choose another, or wait for its first milestone",
        )
    origin = trial.result.origin
    if origin is not None and origin.takes != "configuration":
        raise InputError(
            "TRIAL",
            value=trial.result.name,
            rule=f"this trial began from the {origin.takes} of trial {origin.trial_id}, not from the base model",
            mend=f"rerun {origin.trial_id} ({origin.name}) instead",
        )
    place = None if keep is None else Path(keep)
    if place is not None and place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise StorageError("--keep", value=str(place), rule="this folder is not empty", mend="choose another")


def _capsule_lines(capsule: Capsule, again: Again, say: Say) -> list[CapsuleLine]:
    lines = [*again.inputs(), *compare_environment(capsule.environment, environment())]
    for line in lines:
        if line.agreement == "differs":
            say(f"{line.what} is not the same: {line.before} then, {line.now} now")
    if capsule.several:
        say("Sessions with different environments trained this trial; compared with the last.")
    return lines
