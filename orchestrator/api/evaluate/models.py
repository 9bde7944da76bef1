"""Score models of a sweep one by one, and write down at once what comes of it, so that nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from orchestrator.api.evaluate.session import LazySession
from orchestrator.api.export.choice import find_checkpoint
from orchestrator.errors import CheckpointError, OrchestratorError, StorageError
from orchestrator.history.read_sweep import read_sweep
from orchestrator.history.tracked_runs import TrackedRuns
from orchestrator.progress import Say
from orchestrator.results.records import TrialHistory
from orchestrator.storage.later_scores import LaterScores, append_scores, read_scores, same_scores
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tracking.mlflow.late_scores import log_late_scores
from orchestrator.training.evaluations.scoring.known_scores import Known, KnownScores

_ATTEMPTS = 3
_BASE = LaterScores("", -1, 0, {}, {}, 0.0)


@dataclass(frozen=True)
class ScoredModel:
    """Scores of one checkpoint, or of the base model (``trial_id`` empty).

    ``cached`` says that no score had to be computed, ``tracked`` that MLflow holds them as metrics of the trial's run.
    """

    trial_id: str
    name: str
    samples_seen: int
    scores: Mapping[str, float]
    standard_errors: Mapping[str, float]
    seconds: float
    cached: bool
    tracked: bool


@dataclass(frozen=True)
class ModelScoring:
    """Scores models of one sweep on the same sets.

    Args:
        folder: The sweep.
        session: Model and data; opened for the first model whose scores are not known.
        known: Scores of earlier calls.
        runs: MLflow runs of the trials; empty where no store can be written.
        sets: The sets as a sweep file names them, to be kept with the scores.
        say: Receives a line for each trial.
    """

    folder: SweepFolder
    session: LazySession
    known: KnownScores
    runs: TrackedRuns
    sets: tuple[Mapping[str, object], ...]
    say: Say

    def all_known(self, trials: Sequence[TrialHistory], base: bool) -> bool:
        """Whether nothing has to be computed for these trials, and for the base model where it is asked for."""
        if base and self.known.find() is None:
            return False
        return all(self._is_known(trial) for trial in trials)

    def score_base(self) -> ScoredModel:
        """Score the untouched base model."""
        found, seconds = self.known.find(), 0.0
        cached = found is not None
        if found is None:
            session = self.session.open()
            scored = session.base_evaluation
            found, seconds = Known(session.base_scores(), scored.standard_errors), scored.seconds
            self.known.keep(found)
        self._write(replace(_BASE, scores=found.scores, standard_errors=found.standard_errors), cached)
        return ScoredModel("", "base model", 0, found.scores, found.standard_errors, seconds, cached, False)

    def score(self, trial: TrialHistory) -> ScoredModel:
        """Score the latest checkpoint of a trial; one that is replaced meanwhile by a newer one is looked for again.

        Raises:
            StorageError: If it has none, or the scores cannot be written.
            CheckpointError: If it is damaged.
        """
        for attempt in range(_ATTEMPTS):
            began = time.perf_counter()
            try:
                found, cached = self._scores(trial)
                break
            except CheckpointError:
                newer = read_sweep(self.folder).trial(trial.result.trial_id)
                if attempt == _ATTEMPTS - 1 or len(newer.milestones) == len(trial.milestones):
                    raise
                trial = newer
        seconds = time.perf_counter() - began
        result, at = trial.result, next(each for each in reversed(trial.milestones) if each.checkpoint)
        scores, errors = found.scores, found.standard_errors
        later = LaterScores(result.trial_id, at.index, at.samples_seen, scores, errors, seconds)
        tracked = self._write(later, cached)
        self.say(f"{result.name}: {'known already' if cached else f'{seconds:.1f} s'}")
        return ScoredModel(result.trial_id, result.name, at.samples_seen, scores, errors, seconds, cached, tracked)

    def check_checkpoints(self, trials: Sequence[TrialHistory]) -> None:
        """Check that there is something to score, before model and data are loaded.

        Raises:
            StorageError: If none of the trials has a checkpoint any more.
        """
        gone: list[StorageError] = []
        for trial in trials:
            try:
                self._place(trial)
            except StorageError as error:
                gone.append(error)
        if trials and len(gone) == len(trials):
            rule = f"none of these {len(trials)} trials has its checkpoint any more; of the first: {gone[0]}"
            raise gone[0] if len(trials) == 1 else StorageError(str(self.folder.root), rule=rule)

    def _place(self, trial: TrialHistory) -> Path:
        return find_checkpoint(self.folder, trial, in_place=True)

    def _is_known(self, trial: TrialHistory) -> bool:
        try:
            place = self._place(trial)
        except StorageError:  # told when its turn comes, and nothing can be computed for it
            return True
        return self.known.find(trial.result.config, place) is not None

    def _scores(self, trial: TrialHistory) -> tuple[Known, bool]:
        """Return the scores of a trial's latest checkpoint, and whether none had to be computed."""
        place, config = self._place(trial), trial.result.config
        found = self.known.find(config, place)
        if found is not None:
            return found, True
        session = self.session.open()
        from orchestrator.training.setup.score_checkpoint import score_checkpoint

        scored = score_checkpoint(session, config, place)
        found = Known(scored.scores.values, scored.scores.standard_errors)
        self.known.keep(found, config, place)
        return found, scored.cached

    def _write(self, later: LaterScores, cached: bool) -> bool:
        """Add scores to the sweep and to the trial's MLflow run, once; returns whether MLflow holds them."""
        run_id = self.runs.run_ids.get(later.trial_id, "") if later.trial_id else ""
        kept = [each for each in self._earlier if same_scores(each, later)] if cached else []
        if not kept:
            append_scores(self.folder.later_scores, [replace(later, sets=self.sets)])
        if not run_id or any(each.run_id == run_id for each in kept):
            return bool(run_id)
        tracked = self._track(run_id, later)
        if tracked:
            append_scores(self.folder.later_scores, [replace(later, seconds=0.0, run_id=run_id)])
        return tracked

    @cached_property
    def _earlier(self) -> list[LaterScores]:
        """Scores that stood in the sweep's file before this call; read once, however many models are known."""
        return read_scores(self.folder.later_scores)

    def _track(self, run_id: str, later: LaterScores) -> bool:
        try:
            log_late_scores(self.runs.uri, run_id, later.scores, later.samples_seen)
        except OrchestratorError as error:
            self.say(f"MLflow does not take the scores, they are in {self.folder.later_scores}: {error}")
            return False
        return True
