"""Detached evaluation sets: scored by one process beside the trials, on the checkpoints of trials that have ended.

No slot waits for them and nothing is decided by them. Their scores go to the sweep's file of later scores, to MLflow, and
to the cache, so that a sweep which is cut off computes only what is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from orchestrator.errors import OrchestratorError, StorageError
from orchestrator.records import Outcome, TrialConfig
from orchestrator.settings import TrialSetup
from orchestrator.spec.sweep import Resources
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning.coordinator import Coordinator
from orchestrator.tuning.entries import TrialEntry
from orchestrator.tuning.later_scores import LaterScores, append_scores, read_scores
from orchestrator.tuning.layout import SweepFolder

BASE = ""
_WAIT_SECONDS = 1.0

Found = dict[str, Any]
"""``scores``, ``standard_errors`` and ``seconds`` of a model, or the ``failure`` that kept it from being scored."""


class CheckpointScorer:
    """Scores checkpoints in a process of its own; the base model is loaded once.

    Args:
        setup: Model and the detached sets.
        cache_dir: Cache of the storage.
        threads: Threads of torch.
    """

    def __init__(self, setup: TrialSetup, cache_dir: str, threads: int) -> None:
        from orchestrator.training.session import TrainingSession

        self._session = TrainingSession(setup, Path(cache_dir), threads=threads)

    def score(self, config: Mapping[str, Any] | None, checkpoint: str) -> Found:
        """Return the scores of a checkpoint; of the base model where there is no configuration."""
        from orchestrator.training.scoring import score_checkpoint

        try:
            if config is None:
                base = self._session.base_evaluation
                return _found(self._session.base_scores(), base.standard_errors, base.seconds)
            scored = score_checkpoint(self._session, TrialConfig.from_dict(config), Path(checkpoint))
        except OrchestratorError as error:
            return {"failure": str(error)}
        return _found(scored.scores.values, scored.scores.standard_errors, scored.seconds)


class DetachedScoring:
    """Hands trials that have ended to a `CheckpointScorer`, one at a time, and takes what comes back.

    Args:
        setup: What all trials have in common, with all evaluation sets.
        folder: The sweep's folder.
        resources: What the process reserves.
        coordinator: Knows which trials have ended.
        tracker: Told of the scores.
        say: Prints a line for the user.
    """

    def __init__(
        self,
        setup: TrialSetup,
        folder: SweepFolder,
        resources: Resources,
        coordinator: Coordinator,
        tracker: Tracker,
        say: Callable[[str], None],
    ) -> None:
        self._sets = tuple(entry for entry in setup.evaluation if entry.detached)
        self._setup = replace(setup, evaluation=self._sets)
        self._folder, self._resources = folder, resources
        self._coordinator, self._tracker, self._say = coordinator, tracker, say
        self._scorer: Any = None
        self._running: tuple[str, Any] | None = None
        self._due: deque[str] = deque()
        self._told = self._known()

    def turn(self) -> None:
        """Take up trials that have ended, and what has been scored; waits for nothing."""
        if self._sets:
            self._look()
            self._take(0.0)

    def finish(self) -> None:
        """Wait until every trial that has ended is scored."""
        if not self._sets:
            return
        self._look()
        left = len(self._due) + (self._running is not None)
        if left:
            self._say(f"Scoring {left} more models on detached evaluation sets ...")
        while self._due or self._running is not None:
            self._take(_WAIT_SECONDS)

    def _known(self) -> set[str]:
        """Return the trials that an earlier session, or a command, has scored on all of these sets."""
        names = {entry.name for entry in self._sets}
        scored: dict[str, set[str]] = {}
        for each in read_scores(self._folder.later_scores):
            scored.setdefault(each.trial_id, set()).update(metric.partition("/")[0] for metric in each.scores)
        return {trial_id for trial_id, found in scored.items() if names <= found}

    def _look(self) -> None:
        ended = [entry for entry in self._coordinator.trials.values() if entry.outcome is Outcome.COMPLETED]
        waiting = [BASE, *(entry.trial_id for entry in ended)] if ended else []
        for trial_id in waiting:
            if trial_id not in self._told:
                self._told.add(trial_id)
                self._due.append(trial_id)

    def _take(self, seconds: float) -> None:
        if self._running is None and self._due:
            self._start(self._due.popleft())
        if self._running is None:
            return
        trial_id, reference = self._running
        ready, _ = ray.wait([reference], timeout=seconds)
        if ready:
            self._running = None
            self._keep(trial_id, reference)

    def _start(self, trial_id: str) -> None:
        if self._scorer is None:
            options = {"num_cpus": self._resources.detached_cpu, "num_gpus": self._resources.detached_gpu}
            remote: Any = ray.remote(CheckpointScorer).options(**options, max_restarts=2, max_task_retries=1)
            threads = max(1, int(self._resources.detached_cpu))
            self._scorer = remote.remote(self._setup, str(self._folder.cache), threads)
        entry = self._coordinator.trials.get(trial_id)
        config = None if entry is None else entry.config.as_dict()
        place = "" if entry is None else str(self._folder.checkpoint(trial_id, entry.milestones - 1))
        self._running = (trial_id, self._scorer.score.remote(config, place))

    def _keep(self, trial_id: str, reference: Any) -> None:
        entry = self._coordinator.trials.get(trial_id)
        name = "the base model" if entry is None else entry.name
        try:
            found: Found = ray.get(reference)
        except RayError as error:
            found = {"failure": f"its process was lost ({type(error).__name__})"}
        if "failure" not in found:
            try:
                self._write(entry, found)
                return
            except StorageError as error:  # a full disk must not end the sweep for a score that can be had later
                found = {"failure": str(error)}
        self._say(f"Detached scores of {name} are missing: {found['failure']} "
                  f"(orchestrate evaluate {self._folder.root} computes them)")  # fmt: skip

    def _write(self, entry: TrialEntry | None, found: Found) -> None:
        index, samples = (-1, 0) if entry is None else (entry.milestones - 1, entry.samples_seen)
        trial_id, scores = (BASE if entry is None else entry.trial_id), found["scores"]
        sets = tuple(asdict(each) for each in self._sets)
        later = LaterScores(trial_id, index, samples, scores, found["standard_errors"], found["seconds"], sets)
        append_scores(self._folder.later_scores, [later])
        if entry is not None:
            self._tracker.log_scores(trial_id, samples, scores)


def without_detached(setup: TrialSetup) -> TrialSetup:
    """Return what the trials themselves are scored on."""
    return replace(setup, evaluation=tuple(entry for entry in setup.evaluation if not entry.detached))


def _found(scores: Mapping[str, float], errors: Mapping[str, float], seconds: float) -> Found:
    return {"scores": dict(scores), "standard_errors": dict(errors), "seconds": seconds}
