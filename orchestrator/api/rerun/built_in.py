"""A trial of built-in training, trained once more in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.api.plan.policy import make_step_rule
from orchestrator.api.rerun.capsule import Capsule, CapsuleLine, compare_digests
from orchestrator.api.rerun.compare import MetricSameness, compare_scores
from orchestrator.history.find_trial import rebased_setup
from orchestrator.history.journal_state import JournalState
from orchestrator.history.moved_paths import Whereabouts
from orchestrator.progress import Say
from orchestrator.records import TrainingSignal
from orchestrator.results.records import MilestoneResult, TrialHistory
from orchestrator.storage.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from orchestrator.training.setup.session import TrainingSession


class BuiltInAgain:
    """The trial, being trained a second time.

    Args:
        state: Its sweep.
        before: What was recorded of it.
        capsule: What its result depends on.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        rounding: Relative difference that counts as rounding.
        say: Receives a line at each milestone.

    Raises:
        InputError: If model or data are gone.
    """

    def __init__(
        self, state: JournalState, before: TrialHistory, capsule: Capsule, device: str, rounding: float, say: Say
    ) -> None:
        self._state, self._before, self._capsule = state, before, capsule
        self._rounding, self._say = rounding, say
        self._session = _session(state, capsule, device)
        self._trial = self._session.trial(before.result.config, before.result.trial_id)
        self.scores: list[MetricSameness] = []
        self.signals: list[TrainingSignal] = []

    @property
    def device(self) -> str:
        """Where it is trained now."""
        return str(self._session.device)

    def inputs(self) -> list[CapsuleLine]:
        """Compare data, evaluation sets and base model with those of the capsule."""
        from orchestrator.training.model.load import find_model, weights_digest

        session, capsule = self._session, self._capsule
        model = session.setup.model
        now = {
            "training data": session.train_digest,
            "base model": weights_digest(find_model(model), model.revision),
        }
        sets = {entry.name: entry.data.digest for entry in session.parts.sets}
        return compare_digests("", capsule.inputs, now) + compare_digests("evaluation set ", capsule.evaluation, sets)

    def train(self) -> None:
        """Train to every milestone that the trial reached, and score it there."""
        rule = make_step_rule(self._state.spec, self._state.plan, bool(self._state.first.content.get("record")))
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
        from orchestrator.training.loop.checkpoints import load_checkpoint

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


def _session(state: JournalState, capsule: Capsule, device: str) -> TrainingSession:
    from orchestrator.training.setup.session import TrainingSession

    setup = rebased_setup(state.spec.trial_setup, Whereabouts.of(state, capsule.folder))
    return TrainingSession(setup, state.folder.cache, threads=capsule.threads, device=device)
