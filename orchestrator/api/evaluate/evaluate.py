"""``evaluate``: score checkpoints of a sweep, finished or running, without taking one of its slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.api.evaluate.choice import check_built_in, check_follow, chosen_sets, chosen_trials
from orchestrator.api.evaluate.follow import ended_so_far, ended_trials
from orchestrator.api.evaluate.models import ModelScoring, ScoredModel
from orchestrator.api.evaluate.session import LazySession, setup_of
from orchestrator.errors import CheckpointError, StorageError
from orchestrator.history.find_trial import Sweep, sweep_folder
from orchestrator.history.journal_state import read_state
from orchestrator.history.read_sweep import history_of
from orchestrator.history.tracked_runs import TrackedRuns, find_runs
from orchestrator.progress import Say, silent
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.tracking.mlflow.late_scores import store_is_there
from orchestrator.training.evaluations.scoring.known_scores import KnownScores


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
    sets: Sequence[Mapping[str, object] | EvaluationSet] | None = None,
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
    asked = chosen_sets(state, sets, tasks, limit, num_fewshot)
    if follow:
        check_follow(trials, best)
    models = ended_so_far(state) if follow else chosen_trials(history_of(state), trials, best, every)
    runs = find_runs(state)
    tracked = runs if store_is_there(runs.uri) else TrackedRuns()
    state.load_plugins(say)
    setup = setup_of(state, asked, own=sets is None and not tasks)
    session = LazySession(setup, folder.cache, device, threads, say)
    work = ModelScoring(
        folder, session, KnownScores(setup, folder.cache, device), tracked, tuple(map(asdict, asked)), say
    )
    if not follow:
        work.check_checkpoints(models)
    if (follow and state.status == "running") or not work.all_known(models, base):
        session.open()
    made = [work.score_base()] if base else []
    skipped: dict[str, str] = {}
    for trial in ended_trials(folder) if follow else models:
        try:
            made.append(work.score(trial))
        except (StorageError, CheckpointError) as error:
            if len(models) == 1 and not follow:
                raise
            skipped[trial.result.name] = str(error)
            say(f"{trial.result.name}: {error}")
    seconds = sum(each.seconds for each in made)
    return EvaluationResult(folder.name, tuple(entry.name for entry in asked), tuple(made), skipped, seconds)
