"""A worker's eye on one trial: every training signal passes it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from orchestrator.records import Action, Decision, TrainingSignal
from orchestrator.storage.trial_entries import USER
from orchestrator.tuning.worker.task import WorkerTask

PROGRESS_EVERY_SECONDS = 1.0
LOOK_EVERY_SECONDS = 0.2


class SignalWatch:
    """Looks at every training signal: stops a diverging trial, and says about once a second how far it is.

    Attributes:
        stop_now: Whether a user stopped the trial (`SweepFolder.stop_sign`); what it did since its last milestone is
            not kept.
    """

    def __init__(self, trial_id: str, total_samples: int, task: WorkerTask) -> None:
        self._path = task.folder.progress(trial_id)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._trial_id, self._total = trial_id, total_samples
        self._stop_sign, self.stop_now = task.folder.stop_sign(trial_id), False
        self._check: Callable[[TrainingSignal], Decision | None] | None = None
        if task.step_rule is not None:
            self._check = task.step_rule.watch(trial_id)
        self._written, self._looked = time.monotonic(), -LOOK_EVERY_SECONDS
        self._last: TrainingSignal | None = None

    def __call__(self, signal: TrainingSignal) -> Decision | None:
        """Take the next signal; a decision halts the trial."""
        self._last = signal
        if self._stop_asked():
            return Decision(self._trial_id, signal.samples_seen, Action.STOP, USER, "", "Stopped by hand.")
        if time.monotonic() - self._written >= PROGRESS_EVERY_SECONDS:
            self.write()
        return None if self._check is None else self._check(signal)

    def _stop_asked(self) -> bool:
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY_SECONDS:
            self._looked, self.stop_now = now, self.stop_now or self._stop_sign.exists()
        return self.stop_now

    def recall(self, signal: TrainingSignal) -> None:
        """Take a signal of an earlier milestone, which was judged then."""
        if self._check is not None:
            self._check(signal)

    def write(self) -> None:
        """Rewrite the progress file; a failure to do so must not disturb training."""
        self._written = time.monotonic()
        if self._last is None:
            return
        last = self._last
        values = {
            "samples_seen": last.samples_seen,
            "total_samples": self._total,
            "loss": last.loss,
            "grad_norm": last.grad_norm,
            "tokens_per_second": last.tokens_per_second,
            "time": time.time(),
        }
        draft = self._path.with_suffix(".tmp")
        try:
            draft.write_text(json.dumps(values))
            draft.replace(self._path)
        except OSError:
            return
