"""``evaluate``: score checkpoints of a sweep, finished or running, without taking one of its slots."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.api.evaluate_choice import check_built_in, check_follow, chosen_sets, chosen_trials
from orchestrator.api.export_choice import find_checkpoint
from orchestrator.api.journal_state import JournalState, read_state
from orchestrator.api.places import Sweep, rebased_setup, sweep_folder
from orchestrator.api.preflight import Say, silent
from orchestrator.api.relocation import Whereabouts
from orchestrator.api.sweep_history import read_sweep
from orchestrator.api.tracked import TrackedRuns, find_runs
from orchestrator.errors import CheckpointError, OrchestratorError, StorageError
from orchestrator.results import TrialHistory
from orchestrator.settings import EvaluationSet
from orchestrator.tracking.late_scores import log_late_scores, store_is_there
from orchestrator.tuning.later_scores import LaterScores, append_scores
from orchestrator.tuning.layout import SweepFolder

if TYPE_CHECKING:
    from orchestrator.training.session import TrainingSession

_ATTEMPTS = 3
FOLLOW_SECONDS = 2.0


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
class EvaluationResult:
    """What was scored, and what could not be: name -> reason."""

    sweep: str
    sets: tuple[str, ...]
    models: tuple[ScoredModel, ...]
    skipped: Mapping[str, str]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def evaluate_sweep(
    sweep: Sweep,
    *,
    storage: Path | str | None = None,
    trials: Sequence[str] = (),
    best: int | None = None,
    every: bool = False,
    sets: Sequence[Mapping[str, Any] | EvaluationSet] | None = None,
    tasks: Sequence[str] = (),
    limit: int | None = None,
    num_fewshot: int | None = None,
    base: bool = True,
    follow: bool = False,
    device: str = "auto",
    threads: int | None = None,
    say: Say = silent,
) -> EvaluationResult:
    """Score checkpoints of a sweep; scores become part of its results and of its MLflow runs.

    What has been scored before (same weights, settings, rows and version) is taken from the cache of the storage.

    Args:
        sweep: Name, folder, or what `find_sweep` returned; it may run still.
        storage: Where a name is looked up.
        trials: Ids or names of trials.
        best: So many of the best trials; default: the winner, where neither trials nor every are given.
        every: All trials that have a checkpoint.
        sets: Evaluation sets as in a sweep file; default: those of the sweep.
        tasks: Tasks of lm-eval, as a set named ``lm_eval``.
        limit: Documents of each of these tasks.
        num_fewshot: Examples in the prompts of these tasks.
        base: Score the base model, too.
        follow: Stay beside a running sweep until it ends, and score each trial once it has ended.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        threads: Threads of torch; None leaves them as they are.
        say: Receives progress texts.

    Raises:
        InputError: If sweep, trials, sets, tasks or a judge are wrong; nothing is written then.
    """
    folder = sweep_folder(sweep, storage)
    state = read_state(folder)
    check_built_in(state)
    history = read_sweep(folder)
    asked = chosen_sets(state, sets, tasks, limit, num_fewshot)
    models = [] if follow else chosen_trials(history, trials, best, every)
    if follow:
        check_follow(trials, best)
    runs = find_runs(state)
    tracked = store_is_there(runs.uri)
    session = _open(state, asked, own=sets is None and not tasks, device=device, threads=threads)
    say("Reading model and data ...")
    _check(session)
    work = _Work(folder, state, session, runs if tracked else TrackedRuns(), tuple(asdict(each) for each in asked), say)
    made = [work.score_base()] if base else []
    skipped: dict[str, str] = {}
    for trial in _ended(folder) if follow else models:
        try:
            made.append(work.score(trial))
        except (StorageError, CheckpointError) as error:
            if trials and len(models) == 1:
                raise
            skipped[trial.result.name] = str(error)
            say(f"{trial.result.name}: {error}")
    seconds = sum(each.seconds for each in made)
    return EvaluationResult(folder.name, tuple(entry.name for entry in asked), tuple(made), skipped, seconds)


def _ended(folder: SweepFolder) -> Iterator[TrialHistory]:
    """Yield each trial once it has ended, until the sweep has; of one that was trained on, the later checkpoint, too."""
    told: set[tuple[str, int]] = set()
    while True:
        # Before the trials are read: one that ends in between is found in the next round.
        running = read_state(folder).status == "running"
        ended = [
            trial
            for trial in read_sweep(folder).trials
            if trial.result.outcome.is_final and any(each.checkpoint for each in trial.milestones)
        ]
        due = [trial for trial in ended if (trial.result.trial_id, len(trial.milestones)) not in told]
        told |= {(trial.result.trial_id, len(trial.milestones)) for trial in due}
        yield from due
        if not due:
            if not running:
                return
            time.sleep(FOLLOW_SECONDS)


def _open(
    state: JournalState, asked: Sequence[EvaluationSet], own: bool, device: str, threads: int | None
) -> TrainingSession:
    """Return a session that has the asked sets; paths of the sweep's own lead from where it was run."""
    # Not at the top: torch and transformers take seconds, and wrong input is to be told at once.
    from orchestrator.training.session import TrainingSession

    placed = rebased_setup(
        replace(state.spec.trial_setup, evaluation=tuple(asked) if own else ()), Whereabouts.of(state)
    )
    setup = placed if own else replace(placed, evaluation=tuple(asked))
    return TrainingSession(setup, state.folder.cache, device=device, threads=threads)


def _check(session: TrainingSession) -> None:
    from orchestrator.training import evaluations

    for entry in session.parts.sets:
        evaluations.check(entry)


@dataclass(frozen=True)
class _Work:
    """Scores models and writes down what comes of it, one by one, so that nothing is lost when it is cut off."""

    folder: SweepFolder
    state: JournalState
    session: TrainingSession
    runs: TrackedRuns
    sets: tuple[Mapping[str, Any], ...]
    say: Say

    def score_base(self) -> ScoredModel:
        """Score the untouched base model."""
        found = self.session.base_evaluation
        later = LaterScores("", -1, 0, self.session.base_scores(), found.standard_errors, 0.0, self.sets)
        append_scores(self.folder.later_scores, [later])
        return ScoredModel(
            "", "base model", 0, self.session.base_scores(), found.standard_errors, found.seconds, False, False
        )

    def score(self, trial: TrialHistory) -> ScoredModel:
        """Score the latest checkpoint of a trial; one that is replaced meanwhile by a newer one is looked for again."""
        from orchestrator.training.scoring import score_checkpoint

        for attempt in range(_ATTEMPTS):
            place = find_checkpoint(self.folder, trial)
            try:
                found = score_checkpoint(self.session, trial.result.config, place)
                break
            except CheckpointError:
                newer = read_sweep(self.folder).trial(trial.result.trial_id)
                if attempt == _ATTEMPTS - 1 or len(newer.milestones) == len(trial.milestones):
                    raise
                trial = newer
        at = next(each for each in reversed(trial.milestones) if each.checkpoint)
        scores, errors = found.scores.values, found.scores.standard_errors
        result = trial.result
        later = LaterScores(result.trial_id, at.index, at.samples_seen, scores, errors, found.seconds, self.sets)
        append_scores(self.folder.later_scores, [later])
        tracked = self._track(result.trial_id, scores, at.samples_seen)
        self.say(f"{result.name}: {'known already' if found.cached else f'{found.seconds:.1f} s'}")
        return ScoredModel(
            result.trial_id, result.name, at.samples_seen, scores, errors, found.seconds, found.cached, tracked
        )

    def _track(self, trial_id: str, scores: Mapping[str, float], samples_seen: int) -> bool:
        run_id = self.runs.run_ids.get(trial_id, "")
        if not run_id:
            return False
        try:
            log_late_scores(self.runs.uri, run_id, scores, samples_seen)
        except OrchestratorError as error:
            self.say(f"MLflow does not take the scores, they are in {self.folder.later_scores}: {error}")
            return False
        return True
