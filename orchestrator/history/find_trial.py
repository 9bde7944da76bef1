"""Which sweep and which trial a word names, and where the paths of a sweep file lead from another folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import InputError, OrchestratorError, nearest
from orchestrator.history.journal_state import read_state
from orchestrator.history.moved_paths import Whereabouts
from orchestrator.history.read_sweep import result_of
from orchestrator.results.records import TrialResult
from orchestrator.settings.trial_setup import EvaluationSet, TrialSetup
from orchestrator.spec.sweep import SweepSpec
from orchestrator.storage.sweep_folder import SweepFolder, find_sweep, sweep_folders

Sweep = str | Path | SweepFolder
"""A sweep by name, by its folder, or as `find_sweep` returned it."""


def sweep_folder(sweep: Sweep, storage: Path | str | None = None) -> SweepFolder:
    """Return the folder of a sweep.

    Args:
        sweep: Its name, its folder, or the result itself.
        storage: Where a name is looked up; default: the storage that sweep files have by default.

    Raises:
        StorageError: If there is no such sweep; names the nearest.
    """
    if isinstance(sweep, SweepFolder):
        return sweep
    return find_sweep(str(sweep), Path(storage or SweepSpec.model_fields["storage"].default))


def find_trial(trials: Sequence[TrialResult], word: str) -> TrialResult:
    """Return the trial of an id, the beginning of one (four digits or more), or a name.

    Raises:
        InputError: If there is none, or several begin so; names the nearest.
    """
    found = _named(trials, word)
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(f"{trial.trial_id} ({trial.name})" for trial in found)
        raise InputError("TRIAL", value=word, rule=f"several trials are meant: {shown}", mend="give the whole id")
    known = [name for trial in trials for name in (trial.name, trial.trial_id)]
    raise InputError(
        "TRIAL",
        value=word,
        rule="this sweep has no such trial",
        mend=nearest(word, known) or "'orchestrate status SWEEP --all' lists names and ids",
    )


def find_trial_sweep(word: str, storage: Path | str) -> SweepFolder:
    """Return the one sweep of a storage folder that has the trial of an id or name.

    Raises:
        InputError: If none has it, or several do.
    """
    trials: dict[str, list[TrialResult]] = {}
    for folder in sweep_folders(Path(storage)):
        try:
            trials[folder.name] = list(result_of(read_state(folder)).trials)
        except (OrchestratorError, ValueError, KeyError, TypeError, OSError):
            continue  # one that cannot be read is not the one that is meant
    having = [name for name, found in trials.items() if _named(found, word)]
    if len(having) == 1:
        return SweepFolder(Path(storage), having[0])
    if having:
        raise InputError(
            "TRIAL",
            value=word,
            rule=f"several sweeps have this trial: {', '.join(having)}",
            mend="name the sweep before it",
        )
    known = [name for found in trials.values() for trial in found for name in (trial.name, trial.trial_id)]
    raise InputError(
        "TRIAL",
        value=word,
        rule=f"no sweep in the storage '{storage}' has such a trial",
        mend=nearest(word, known) or "name the sweep before it",
    )


def _named(trials: Sequence[TrialResult], word: str) -> list[TrialResult]:
    exact = [trial for trial in trials if word in (trial.trial_id, trial.name)]
    return exact or [trial for trial in trials if len(word) >= 4 and trial.trial_id.startswith(word)]


def rebased_setup(setup: TrialSetup, folder: str | Whereabouts) -> TrialSetup:
    """Return a setup whose paths lead to where model and data are now, where something is there.

    Args:
        setup: As the sweep file says.
        folder: The folder in which it was run (empty where that is unknown: then nothing changes), or all that is known
            of where it was.

    Raises:
        InputError: If a path of a sweep whose whereabouts are known is gone.
    """
    whereabouts = folder if isinstance(folder, Whereabouts) else Whereabouts(folder)
    if not whereabouts.folder:
        return setup
    moved = whereabouts.find
    data = setup.data
    held_out = moved(data.held_out) if isinstance(data.held_out, str) else data.held_out
    phases = [replace(phase, train=moved(phase.train)) for phase in data.phases]
    mixture = [replace(part, train=moved(part.train)) for part in data.mixture]
    model = replace(setup.model, path=moved(setup.model.path), chat_template=moved(setup.model.chat_template))
    return replace(
        setup,
        model=model,
        data=replace(data, train=moved(data.train), held_out=held_out, phases=phases, mixture=mixture),
        evaluation=tuple(_moved_set(entry, moved) for entry in setup.evaluation),
    )


def _moved_set(entry: EvaluationSet, moved: Callable[[str], str]) -> EvaluationSet:
    judge = entry.judge
    if judge is not None and judge.baseline != "base":
        judge = replace(judge, baseline=moved(judge.baseline))
    shots = moved(entry.fewshot_data) if entry.fewshot_data else ""
    folders = [moved(folder) for folder in entry.task_folders]
    return replace(entry, data=moved(entry.data), fewshot_data=shots, task_folders=folders, judge=judge)
