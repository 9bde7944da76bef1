"""Score a checkpoint on the evaluation sets of a session, in a process that need not have trained it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import CheckpointError
from orchestrator.records import TrialConfig
from orchestrator.training.evaluations.contract.evaluation import SetScores
from orchestrator.training.evaluations.scoring.evaluator import Scores
from orchestrator.training.evaluations.scoring.score_cache import ScoreCache, weights_key
from orchestrator.training.loop.checkpoints import load_weights
from orchestrator.training.setup.session import TrainingSession


class ScoredCheckpoint(NamedTuple):
    """Scores of a checkpoint; ``cached`` says that none had to be computed, ``seconds`` is wall time."""

    scores: Scores
    cached: bool
    seconds: float


def score_checkpoint(
    session: TrainingSession, config: TrialConfig, folder: Path, *, final: bool = True
) -> ScoredCheckpoint:
    """Score a checkpoint on all evaluation sets of a session; what the cache has is not computed again.

    Args:
        session: Model, tokenizer and evaluation sets.
        config: The configuration that was trained.
        folder: The checkpoint; its optimizer is not read.
        final: Whether sets that are evaluated only at the end are included.

    Raises:
        CheckpointError: If it is missing, damaged, or of another configuration.
    """
    began = time.perf_counter()
    found = load_weights(folder)
    if TrialConfig.from_dict(found.state["config"]) != config:
        raise CheckpointError(f"checkpoint {folder} is of another configuration")
    key = session.trained_key(weights_key(found.weights), config)
    cache = ScoreCache(session.score_folder, lambda: key)
    known = {
        entry.name: cache.read(entry) for entry in session.parts.sets if final or entry.settings.when == "milestones"
    }
    if all(each is not None for each in known.values()):
        return ScoredCheckpoint(_collected(known), True, time.perf_counter() - began)
    method, model = session.wrapped(config)
    method.load_trainable_state(model, found.weights)
    scores = session.evaluate(model, method, final=final, config=config)
    return ScoredCheckpoint(scores, False, time.perf_counter() - began)


def _collected(known: Mapping[str, SetScores | None]) -> Scores:
    scores = Scores({}, {})
    for name, found in known.items():
        if found is not None:
            scores.take(name, found)
    return scores
