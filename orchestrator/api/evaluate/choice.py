"""Which trials ``evaluate`` scores, and on which sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from orchestrator.errors import InputError
from orchestrator.history.find_trial import find_trial
from orchestrator.history.journal_state import JournalState
from orchestrator.results.records import SweepHistory, TrialHistory
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.sweep import resolved

LM_EVAL_SET = "lm_eval"


def check_built_in(state: JournalState) -> None:
    """Raise for a sweep that trains with code of its own, whose weights this package cannot read.

    Raises:
        InputError: Says where its checkpoints are.
    """
    if state.spec.entrypoint is not None:
        raise InputError(
            str(state.folder.root),
            rule="this sweep trains with code of its own (entrypoint), which scores its models itself",
            mend=f"its checkpoints are under {state.folder.root / 'trials'}",
        )


def check_follow(words: Sequence[str], best: int | None) -> None:
    """Raise where following a sweep, which scores every trial, is asked together with a choice of trials.

    Raises:
        InputError: Names the option.
    """
    if words or best is not None:
        raise InputError(
            "--follow",
            rule="scores every trial as it ends, so no trials can be chosen",
            mend="leave --trial and --best out",
        )


def chosen_trials(history: SweepHistory, words: Sequence[str], best: int | None, every: bool) -> list[TrialHistory]:
    """Return the trials that were asked for, the winner where none was.

    Raises:
        InputError: If a word names none, two ways of choosing are used at once, or no trial has anything to score.
    """
    if sum((bool(words), best is not None, every)) > 1:
        raise InputError("evaluate", rule="trials, best and all exclude each other", mend="give one of them")
    result = history.result
    if words:
        return [history.trial(find_trial(result.trials, word).trial_id) for word in words]
    saved = [trial for trial in history.trials if any(each.checkpoint for each in trial.milestones)]
    if not saved:
        raise InputError(
            result.storage, rule="no trial of this sweep has a checkpoint yet", mend="wait for the first milestone"
        )
    if every:
        return saved
    if best is None and result.winner is not None:
        return [history.trial(result.winner.trial_id)]
    return saved[: best or 1]


def chosen_sets(
    state: JournalState,
    sets: Sequence[Mapping[str, object] | EvaluationSet] | None,
    tasks: Sequence[str],
    limit: int | None,
    num_fewshot: int | None,
) -> list[EvaluationSet]:
    """Return the evaluation sets that were asked for, the sweep's own where none was.

    Raises:
        SpecError: If one of them is wrong, as in a sweep file.
    """
    if not tasks and (limit is not None or num_fewshot is not None):
        raise InputError(
            "--limit" if limit is not None else "--num-fewshot",
            rule="belongs to --tasks",
            mend="name tasks, or write the limit into the evaluation sets",
        )
    if sets is None and not tasks:
        return list(state.spec.evaluation)
    given = [asdict(each) if isinstance(each, EvaluationSet) else dict(each) for each in sets or ()]
    if tasks:
        given.append(
            {"name": LM_EVAL_SET, "kind": "lm_eval", "tasks": list(tasks), "limit": limit, "num_fewshot": num_fewshot}
        )
    names = [str(each.get("name")) for each in given]
    values = dict(resolved(state.spec))
    kept = [entry for entry in values["evaluation"] if entry["name"] not in names]
    spec = parse_sweep({**values, "evaluation": [*given, *kept]}, "evaluate")
    return [entry for entry in spec.evaluation if entry.name in names]
