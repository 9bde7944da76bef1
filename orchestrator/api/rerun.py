"""``rerun``: train a trial's recipe again from its capsule, outside the sweep's folder, and say whether it is the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.api.journal_state import JournalState, read_state
from orchestrator.api.places import Sweep, check_built_in, find_trial, rebased_setup, sweep_folder
from orchestrator.api.policy import make_divergence
from orchestrator.api.rerun_capsule import (
    Capsule,
    CapsuleLine,
    compare_digests,
    compare_environment,
    read_capsule,
)
from orchestrator.api.rerun_compare import (
    ROUNDING,
    MetricSameness,
    Sameness,
    SignalSameness,
    compare_scores,
    compare_signals,
    overall,
)
from orchestrator.api.sweep_history import read_sweep
from orchestrator.errors import InputError, StorageError
from orchestrator.records import TrainingSignal
from orchestrator.results import MilestoneResult, TrialHistory
from orchestrator.tracking.provenance import environment
from orchestrator.tuning.layout import SweepFolder

if TYPE_CHECKING:
    from orchestrator.training.session import TrainingSession

Say = Callable[[str], None]


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
    say: Say = lambda text: None,
) -> RerunResult:
    """Train a trial again, as far as it was trained, in this process; the sweep's folder is only read.

    Args:
        sweep: Name, folder, or what `find_sweep` returned.
        trial: Id or name.
        storage: Where a name is looked up.
        keep: Folder for the new checkpoint (for ``export --checkpoint``); must not exist or be empty.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        rounding: Relative difference that counts as rounding.
        say: Receives a line at each milestone.

    Raises:
        InputError: If there is no such sweep or trial, it has reached no milestone, or model or data are gone.
    """
    began = time.perf_counter()
    folder = sweep_folder(sweep, storage)
    state, history = read_state(folder), read_sweep(folder, signals=True)
    check_built_in(state)
    chosen = history.trial(find_trial(history.result.trials, trial).trial_id)
    _check(folder, chosen, keep)
    capsule = read_capsule(state, chosen.result.trial_id)
    session = _session(state, capsule, device)
    lines = _capsule_lines(capsule, session, say)
    again = _Again(state, chosen, session, rounding, say)
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
        device=str(session.device),
        seconds=round(time.perf_counter() - began, 2),
        kept=kept,
    )


class _Again:
    """The trial, being trained a second time."""

    def __init__(
        self, state: JournalState, before: TrialHistory, session: TrainingSession, rounding: float, say: Say
    ) -> None:
        self._state, self._before, self._session = state, before, session
        self._rounding, self._say = rounding, say
        self._trial = session.trial(before.result.config, before.result.trial_id)
        self.scores: list[MetricSameness] = []
        self.signals: list[TrainingSignal] = []

    def train(self) -> None:
        """Train to every milestone that the trial reached, and score it there."""
        rule = make_divergence(self._state.spec, self._state.plan, bool(self._state.first["content"].get("record")))
        watch = None if rule is None else rule.watch(self._before.result.trial_id)
        for milestone in self._before.milestones:
            advance = self._trial.advance(min(milestone.level, self._trial.total_samples), watch)
            self.signals += advance.signals
            if advance.halted is not None:
                self._say(f"{self._trial.samples_seen:,} samples: {advance.halted.reason}")
                return
            self._score(milestone)

    def _score(self, milestone: MilestoneResult) -> None:
        if not milestone.scores:
            return
        found = compare_scores(milestone, self._trial.evaluate(self._trial.done), self._rounding)
        self.scores += found
        told = ", ".join(f"{each.metric} {each.now:.6g} ({each.verdict})" for each in found if each.now is not None)
        self._say(f"{milestone.samples_seen:,} samples: {told}")

    def same_weights(self, folder: SweepFolder) -> bool | None:
        """Compare with the checkpoint of the sweep, bit for bit; None where there is none."""
        import torch

        from orchestrator.errors import CheckpointError
        from orchestrator.training.checkpoints import load_checkpoint

        saved = [milestone.index for milestone in self._before.milestones if milestone.checkpoint]
        if not saved or self._trial.samples_seen != self._before.result.samples_seen:
            return None
        try:
            before = load_checkpoint(folder.checkpoint(self._before.result.trial_id, saved[-1])).weights
        except CheckpointError:
            return None
        now = self._trial.method.trainable_state(self._trial.model)
        return before.keys() == now.keys() and all(
            torch.equal(tensor, now[name].detach().cpu()) for name, tensor in before.items()
        )

    def keep(self, place: Path | str | None) -> str:
        """Save the new checkpoint."""
        if place is None:
            return ""
        self._trial.save(Path(place))
        return str(place)


def _check(folder: SweepFolder, trial: TrialHistory, keep: Path | str | None) -> None:
    if not trial.milestones:
        raise InputError("TRIAL", value=trial.result.name, rule="this trial has reached no milestone, so there is nothing to compare with",
                         mend="choose another, or wait for its first milestone")  # fmt: skip
    origin = trial.result.origin
    if origin is not None and origin.takes != "configuration":
        raise InputError("TRIAL", value=trial.result.name, rule=f"this trial began from the {origin.takes} of trial {origin.trial_id}, not from the base model",
                         mend=f"rerun {origin.trial_id} ({origin.name}) instead")  # fmt: skip
    place = None if keep is None else Path(keep)
    if place is not None and place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise StorageError("--keep", value=str(place), rule="this folder is not empty", mend="choose another")


def _session(state: JournalState, capsule: Capsule, device: str) -> TrainingSession:
    from orchestrator.training.session import TrainingSession

    setup = rebased_setup(state.spec.trial_setup, capsule.folder)
    return TrainingSession(setup, state.folder.cache, threads=capsule.threads, device=device)


def _capsule_lines(capsule: Capsule, session: TrainingSession, say: Say) -> list[CapsuleLine]:
    from orchestrator.training.models import find_model, weights_digest

    model = session.setup.model
    inputs = {
        "training data": session.train_digest,
        "base model": weights_digest(find_model(model), model.revision),
    }
    sets = {entry.name: entry.data.digest for entry in session.parts.sets}
    lines = compare_digests("", capsule.inputs, inputs) + compare_digests("evaluation set ", capsule.evaluation, sets)
    lines += compare_environment(capsule.environment, environment())
    for line in lines:
        if line.agreement == "differs":
            say(f"{line.what} is not the same: {line.before} then, {line.now} now")
    if capsule.several:
        say("Sessions with different environments trained this trial; compared with the last.")
    return lines
