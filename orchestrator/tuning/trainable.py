"""The Trainable: one Ray actor that trains trial after trial. The only module where Ray meets ``training/``.

One ``step`` is one milestone: train to the next samples-seen level, evaluate, save, report. Everything
that is the same for all trials (imports, base weights, tokenised data) lives in a `TrainingSession` that
outlasts the trials of this process, so that a warm worker starts a trial in a fraction of a second.

A trial always goes on from the newest complete checkpoint in its folder, whoever wrote it: that serves
pauses, retries after a lost process and resumed sweeps alike, and Tune's own checkpoints are not needed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ray import tune

from orchestrator.decisions.divergence import DivergenceRule
from orchestrator.errors import OrchestratorError
from orchestrator.records import Decision, Milestone, TrainingSignal, TrialConfig, TrialState
from orchestrator.settings import TrialSetup
from orchestrator.training.checkpoints import complete_checkpoint
from orchestrator.training.session import TrainingSession
from orchestrator.training.trial import Trial
from orchestrator.tuning.layout import SweepFolder, is_disk_full
from orchestrator.tuning.reports import read_report, write_report

PROGRESS_EVERY_SECONDS = 1.0

_SESSIONS: dict[str, TrainingSession] = {}


@dataclass(frozen=True)
class WorkerTask:
    """What a worker must know besides a trial's configuration; the same for a whole sweep."""

    setup: TrialSetup
    setup_digest: str
    folder: SweepFolder
    levels: tuple[int, ...]
    divergence: DivergenceRule | None
    threads: int
    device: str = "auto"
    keep_checkpoints: int = 1


class SFTTrainable(tune.Trainable):  # type: ignore[misc]
    """Trains one trial at a time, one milestone per step."""

    def setup(self, config: dict[str, Any], task: WorkerTask | None = None) -> None:
        """Prepare this process once and open the first trial."""
        assert task is not None, "the trainable is always wrapped with tune.with_parameters(task=...)"
        self._task = task
        self._runner = TrialRunner(task, config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Open another trial in the warm process."""
        self._runner.close()
        self._runner = TrialRunner(self._task, new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train to the next milestone; returns a few small values, the report itself lies in the storage."""
        return self._runner.step()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing to save: every step has already saved the trial in the sweep's storage."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load: a trial goes on from its newest checkpoint when it is opened."""

    def cleanup(self) -> None:
        """Let go of the trial."""
        self._runner.close()


class TrialRunner:
    """One trial inside a worker: from its newest checkpoint, milestone by milestone, to its end."""

    def __init__(self, task: WorkerTask, config: dict[str, Any]) -> None:
        self._task = task
        self._trial_id: str = config["trial_id"]
        self._config = TrialConfig.from_dict(config["trial"])
        self._next = int(config["known_milestones"])
        self._trial: Trial | None = None
        self._watch = _Watch(self._trial_id, self._config.samples, task)

    def step(self) -> dict[str, Any]:
        """Return the next milestone's small result; a failure is a result too, so that its reason is kept."""
        stored = self._task.folder.report(self._trial_id, self._next)
        try:
            if not stored.exists():
                self._train_to_milestone()
        except OrchestratorError as error:
            return self._answer(-1, failure=f"{type(error).__name__}: {error}")
        except OSError as error:
            if not is_disk_full(error):
                raise
            return self._answer(-1, halt=f"The disk of {self._task.folder.storage} is full ({error})")
        self._next += 1
        return self._answer(self._next - 1)

    def _answer(self, milestone: int, failure: str = "", halt: str = "") -> dict[str, Any]:
        return {"trial": self._trial_id, "milestone": milestone, "failure": failure, "halt": halt}

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
        level = min(self._task.levels[self._next], trial.total_samples)
        advance = trial.advance(level, watch)
        watch.write()
        began = time.perf_counter()
        diverged = advance.halted is not None
        final = trial.done and not diverged
        scores = {} if diverged else trial.evaluate(final)
        if final:
            self._write_base_scores()
        evaluation_seconds = time.perf_counter() - began
        checkpoint = None if diverged else self._save(trial)
        state = TrialState.DIVERGED if diverged else TrialState.COMPLETED if final else TrialState.RUNNING
        milestone = Milestone(
            trial_id=self._trial_id, index=self._next, level=level, samples_seen=trial.samples_seen,
            tokens_seen=trial.tokens_seen, state=state, scores=scores, signals=advance.signals,
            training_seconds=advance.training_seconds, evaluation_seconds=evaluation_seconds,
            setup_seconds=setup_seconds, checkpoint=checkpoint, system=_system_values(), node=socket.gethostname(),
            standard_errors={} if diverged else _standard_errors(session_for(self._task)),
        )  # fmt: skip
        write_report(self._task.folder.report(self._trial_id, self._next), milestone, advance.halted)
        self._forget_older_checkpoints()

    def _open(self) -> Trial:
        if self._trial is None:
            trial = session_for(self._task).trial(self._config, self._trial_id)
            if self._next > 0:
                trial.load(self._task.folder.checkpoint(self._trial_id, self._next - 1))
                self._prime_watch()
            self._trial = trial
        return self._trial

    def _prime_watch(self) -> None:
        """Show the watch what the trial did before, so that a resumed trial is judged as an uninterrupted one."""
        for index in range(self._next):
            milestone, _ = read_report(self._task.folder.report(self._trial_id, index))
            for signal in milestone.signals:
                self._watch.recall(signal)

    def _save(self, trial: Trial) -> str:
        place = self._task.folder.checkpoint(self._trial_id, self._next)
        if not complete_checkpoint(place):
            trial.save(place)
        return str(place.relative_to(self._task.folder.storage))

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


class _Watch:
    """Looks at every training signal: stops a diverging trial, and says about once a second how far it is."""

    def __init__(self, trial_id: str, total_samples: int, task: WorkerTask) -> None:
        self._path = task.folder.progress(trial_id)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._total = total_samples
        self._check: Callable[[TrainingSignal], Decision | None] | None = None
        if task.divergence is not None:
            self._check = task.divergence.watch(trial_id)
        self._written = time.monotonic()
        self._last: TrainingSignal | None = None

    def __call__(self, signal: TrainingSignal) -> Decision | None:
        self._last = signal
        if time.monotonic() - self._written >= PROGRESS_EVERY_SECONDS:
            self.write()
        return None if self._check is None else self._check(signal)

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
            "samples_seen": last.samples_seen, "total_samples": self._total, "loss": last.loss,
            "grad_norm": last.grad_norm, "tokens_per_second": last.tokens_per_second, "time": time.time(),
        }  # fmt: skip
        draft = self._path.with_suffix(".tmp")
        try:
            draft.write_text(json.dumps(values))
            draft.replace(self._path)
        except OSError:
            return


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


def _system_values() -> dict[str, float]:
    process = psutil.Process(os.getpid())
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(interval=None),
        "process_memory_megabytes": process.memory_info().rss / 1e6,
    }
