"""The tracker of a sweep that is not to be tracked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.records import Decision, Outcome, TrainingSignal
from orchestrator.tracking.tracker import AskedAction, SweepInfo, SweepOutcome, TrackerHealth, TrialInfo


class NoTracker:
    """Remembers nothing."""

    run_ids: Mapping[str, str] = {}
    experiment_id = ""
    health = TrackerHealth()

    def start_sweep(self, info: SweepInfo) -> None:
        """See `Tracker.start_sweep`."""

    def start_trial(self, info: TrialInfo) -> None:
        """See `Tracker.start_trial`."""

    def log_signals(self, trial_id: str, signals: Sequence[TrainingSignal]) -> None:
        """See `Tracker.log_signals`."""

    def log_scores(self, trial_id: str, samples_seen: int, scores: Mapping[str, float]) -> None:
        """See `Tracker.log_scores`."""

    def log_system(self, trial_id: str, samples_seen: int, node: str, values: Mapping[str, float]) -> None:
        """See `Tracker.log_system`."""

    def log_decision(self, decision: Decision) -> None:
        """See `Tracker.log_decision`."""

    def end_trial(
        self,
        trial_id: str,
        outcome: Outcome,
        samples_seen: int,
        *,
        decision: Decision | None = None,
        scores: Mapping[str, float] | None = None,
        failure: str = "",
    ) -> None:
        """See `Tracker.end_trial`."""

    def log_sweep_metrics(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker.log_sweep_metrics`."""

    def set_sweep_tags(self, tags: Mapping[str, str]) -> None:
        """See `Tracker.set_sweep_tags`."""

    def describe_sweep(self, markdown: str, headline: str = "") -> None:
        """See `Tracker.describe_sweep`."""

    def mark_winner(self, trial_id: str, reason: str) -> None:
        """See `Tracker.mark_winner`."""

    def log_text_artifact(self, path: str, text: str) -> None:
        """See `Tracker.log_text_artifact`."""

    def log_artifact(self, file: Path, folder: str = "") -> None:
        """See `Tracker.log_artifact`."""

    def end_sweep(self, outcome: SweepOutcome) -> None:
        """See `Tracker.end_sweep`."""

    def asked_actions(self) -> Sequence[AskedAction]:
        """Nobody can ask."""
        return ()

    def answer_action(self, trial_id: str, text: str) -> None:
        """See `Tracker.answer_action`."""

    def flush(self, timeout_seconds: float) -> bool:
        """Nothing waits, ever."""
        return True

    def close(self, timeout_seconds: float = 10.0) -> None:
        """See `Tracker.close`."""
