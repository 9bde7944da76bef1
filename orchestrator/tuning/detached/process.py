"""The process that scores checkpoints beside the trials. Here (and in `trainable`) Ray meets ``training/``."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ray
from ray.exceptions import RayActorError, RayError

from orchestrator.errors import CheckpointError, OrchestratorError
from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import TrialSetup
from orchestrator.spec.sweep import Resources


@dataclass(frozen=True)
class Found:
    """Scores of a model, or the ``failure`` that kept it from being scored; ``lasting``: it would fail again."""

    scores: Mapping[str, float] = field(default_factory=dict)
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    failure: str = ""
    lasting: bool = False


class Scorer(Protocol):
    """Scores one checkpoint at a time, somewhere."""

    def start(self, config: Mapping[str, object] | None, checkpoint: str, final: bool) -> None:
        """Begin with a checkpoint; see `CheckpointScorer.score`."""

    def poll(self, seconds: float) -> Found | None:
        """Return what came of it; None where that takes longer than ``seconds``."""


class CheckpointScorer:
    """Scores checkpoints in this process; the base model is loaded once.

    Args:
        setup: Model and the detached sets.
        cache_dir: Cache of the storage.
        threads: Threads of torch; None leaves them as they are.
    """

    def __init__(self, setup: TrialSetup, cache_dir: str, threads: int | None) -> None:
        from orchestrator.training.setup.session import TrainingSession

        self._session = TrainingSession(setup, Path(cache_dir), threads=threads)

    def score(self, config: Mapping[str, object] | None, checkpoint: str, final: bool) -> Found:
        """Return the scores of a checkpoint.

        Args:
            config: What was trained; None: the base model is scored.
            checkpoint: Its folder.
            final: Whether sets that are evaluated only at the end are included.
        """
        from orchestrator.training.setup.score_checkpoint import score_checkpoint

        try:
            if config is None:
                base = self._session.base_evaluation
                return Found(self._session.base_scores(), base.standard_errors, base.seconds)
            scored = score_checkpoint(self._session, TrialConfig.from_dict(config), Path(checkpoint), final=final)
        except OrchestratorError as error:
            return Found(failure=str(error), lasting=isinstance(error, CheckpointError))
        finally:
            gc.collect()  # wrapped models have cycles, and the next checkpoint needs their memory
        return Found(scored.scores.values, scored.scores.standard_errors, scored.seconds)


class ScoringProcess:
    """A `CheckpointScorer` in a Ray process of its own, started when it is first needed.

    Args:
        setup: Model and the detached sets.
        cache_dir: Cache of the storage.
        resources: What the process reserves.
    """

    def __init__(self, setup: TrialSetup, cache_dir: Path, resources: Resources) -> None:
        self._setup, self._cache_dir, self._resources = setup, str(cache_dir), resources
        self._process: Any = None
        self._reference: Any = None

    def start(self, config: Mapping[str, object] | None, checkpoint: str, final: bool) -> None:
        """See `Scorer.start`."""
        if self._process is None:
            options = {"num_cpus": self._resources.detached_cpu, "num_gpus": self._resources.detached_gpu}
            remote: Any = ray.remote(CheckpointScorer).options(**options, max_restarts=2, max_task_retries=1)
            threads = max(1, int(self._resources.detached_cpu))
            self._process = remote.remote(self._setup, self._cache_dir, threads)
        self._reference = self._process.score.remote(config, checkpoint, final)

    def poll(self, seconds: float) -> Found | None:
        """See `Scorer.poll`."""
        ready, _ = ray.wait([self._reference], timeout=seconds)
        if not ready:
            return None
        try:
            found: Found = ray.get(self._reference)
        except RayError as error:
            if isinstance(error, RayActorError):
                # What killed it may lie in this checkpoint; the next one gets a process of its own.
                self._process = None
            return Found(failure=f"its process was lost ({type(error).__name__})")
        return found
