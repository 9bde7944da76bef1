"""The Trainable: one Ray actor that trains trial after trial. Here (and in `checkpoint_scorer`) Ray meets ``training/``.

One ``step`` is one milestone: train to the next samples-seen level, evaluate, save, report. Everything
that is the same for all trials (imports, base weights, tokenised data) lives in a `TrainingSession` that
outlasts the trials of this process, so that a warm worker starts a trial in a fraction of a second.

A trial always goes on from the newest complete checkpoint in its folder, whoever wrote it: that serves
pauses, retries after a lost process and resumed sweeps alike, and Tune's own checkpoints are not needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from pathlib import Path

from ray import tune

from orchestrator.records import Milestone, TrialState
from orchestrator.storage.milestone_reports import write_report
from orchestrator.training.loop.checkpoints import complete_checkpoint, keep_weights
from orchestrator.training.loop.trial import Trial
from orchestrator.training.setup.session import TrainingSession
from orchestrator.tuning.own_training.runner import OwnTrialRunner
from orchestrator.tuning.worker.messages import StepResult, WorkerConfig
from orchestrator.tuning.worker.runner import MilestoneRunner, StoppedNow, system_values
from orchestrator.tuning.worker.task import WorkerTask

_SESSIONS: dict[str, TrainingSession] = {}


class SFTTrainable(tune.Trainable):  # type: ignore[misc]
    """Trains one trial at a time, one milestone per step."""

    def setup(self, config: WorkerConfig, task: WorkerTask | None = None) -> None:
        """Prepare this process once and open the first trial."""
        assert task is not None, "the trainable is always wrapped with tune.with_parameters(task=...)"
        self._task = task
        self._runner = make_runner(task, config)

    def reset_config(self, new_config: WorkerConfig) -> bool:
        """Open another trial in the warm process."""
        if not self._runner.goes_on_with(new_config):
            self._runner.close()
            self._runner = make_runner(self._task, new_config)
        return True

    def step(self) -> StepResult:
        """Train to the next milestone; returns a few small values, the report itself lies in the storage."""
        return self._runner.step()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, object]:
        """Nothing to save: every step has already saved the trial in the sweep's storage."""
        return {}

    def load_checkpoint(self, checkpoint: object) -> None:
        """Nothing to load: a trial goes on from its newest checkpoint when it is opened."""

    def cleanup(self) -> None:
        """Let go of the trial."""
        self._runner.close()


def make_runner(task: WorkerTask, config: WorkerConfig) -> MilestoneRunner:
    """Return what trains a trial: this process, or the user's code in a process of its own."""
    return TrialRunner(task, config) if task.entrypoint is None else OwnTrialRunner(task, config)


class TrialRunner(MilestoneRunner):
    """Built-in training of one trial: from its newest checkpoint, milestone by milestone, to its end."""

    def __init__(self, task: WorkerTask, config: WorkerConfig) -> None:
        super().__init__(task, config)
        self._trial: Trial | None = None

    def close(self) -> None:
        """Free the trial's memory; the session stays."""
        if self._trial is not None:
            self._trial.close()
            self._trial = None

    def _train_to_milestone(self) -> None:
        started = time.perf_counter()
        trial = self._open()
        setup_seconds = time.perf_counter() - started
        watch = self._watch
        level = min(self._levels[self._next], trial.total_samples)
        advance = trial.advance(level, watch)
        watch.write()
        if watch.stop_now:
            raise StoppedNow
        began = time.perf_counter()
        diverged = advance.halted is not None
        final = trial.done and not diverged
        scores = {} if diverged else trial.evaluate(final)
        if final:
            self._write_base_scores()
        evaluation_seconds = time.perf_counter() - began
        state = TrialState.DIVERGED if diverged else TrialState.COMPLETED if final else TrialState.RUNNING
        checkpoint = None if diverged else self._save(trial)
        if state is TrialState.RUNNING and self._task.keep_weights:
            self._keep_weights()
        milestone = Milestone(
            trial_id=self._trial_id,
            index=self._next,
            level=level,
            samples_seen=trial.samples_seen,
            tokens_seen=trial.tokens_seen,
            state=state,
            scores=scores,
            signals=advance.signals,
            training_seconds=advance.training_seconds,
            evaluation_seconds=evaluation_seconds,
            setup_seconds=setup_seconds,
            checkpoint=checkpoint,
            system=system_values(),
            node=socket.gethostname(),
            standard_errors={} if diverged else _standard_errors(session_for(self._task)),
        )
        write_report(self._task.folder.report(self._trial_id, self._next), milestone, advance.halted)
        self._forget_older_checkpoints()

    def _open(self) -> Trial:
        if self._trial is None:
            trial = session_for(self._task).trial(self._config, self._trial_id)
            if self._next > 0:
                trial.load(self._task.folder.checkpoint(self._trial_id, self._next - 1))
                self._prime_watch()
            elif self._takes:
                trial.take_over(self._task.folder.start(self._trial_id), training=self._takes == "training")
            self._trial = trial
        return self._trial

    def _save(self, trial: Trial) -> str:
        place = self._task.folder.checkpoint(self._trial_id, self._next)
        if not complete_checkpoint(place):
            trial.save(place)
        return str(place.relative_to(self._task.folder.storage))

    def _keep_weights(self) -> None:
        """Keep what detached sets score beyond the next milestone; the last checkpoint of a trial stays anyway."""
        index = self._next
        # No room for weights costs this score, which the driver tells, and not the trial.
        with contextlib.suppress(OSError):
            keep_weights(
                self._task.folder.checkpoint(self._trial_id, index), self._task.folder.waiting(self._trial_id, index)
            )

    def _write_base_scores(self) -> None:
        """Leave the base model's scores for the driver; the first trial that ends does it for all."""
        place = self._task.folder.base_scores
        if place.exists():
            return
        draft = place.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(session_for(self._task).base_scores()))
        draft.replace(place)

    def _forget_older_checkpoints(self) -> None:
        # The report of this milestone is on disk, so an older checkpoint can no longer be asked for.
        for index in range(self._next - self._task.keep_checkpoints + 1):
            shutil.rmtree(self._task.folder.checkpoint(self._trial_id, index), ignore_errors=True)


def session_for(task: WorkerTask) -> TrainingSession:
    """Return this process's session for a sweep, made at first use; another sweep's session is let go."""
    if task.setup_digest not in _SESSIONS:
        for session in _SESSIONS.values():
            session.close()
        _SESSIONS.clear()
        cache = Path(task.folder.cache)
        _SESSIONS[task.setup_digest] = TrainingSession(task.setup, cache, threads=task.threads, device=task.device)
    return _SESSIONS[task.setup_digest]


def _standard_errors(session: TrainingSession) -> dict[str, float]:
    return {} if session.last_scores is None else dict(session.last_scores.standard_errors)
