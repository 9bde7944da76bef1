"""Past sweeps as a recommendation reads them: from the storage folder, from MLflow, from recorded files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import InputError, ModelError, OrchestratorError
from orchestrator.history.find_trial import rebased_setup
from orchestrator.history.journal_state import JournalState, read_state
from orchestrator.history.read_sweep import result_of
from orchestrator.records import Outcome
from orchestrator.reporting.recommendation.evidence import PastSweep, PastTrial, kind_of_objective
from orchestrator.results.records import SweepResult, TrialResult
from orchestrator.settings.trial_setup import ModelSettings, TrialSetup
from orchestrator.storage.sweep_folder import sweep_folders
from orchestrator.tracking.mlflow.reader import RunReader, TrackedRun
from orchestrator.tracking.naming import clean_key
from orchestrator.training.setup.sizes import ModelFacts, data_identity, model_identity, read_model_facts

FactsOf = Callable[[ModelSettings], ModelFacts]
LOST = (Outcome.DIVERGED, Outcome.FAILED)


@dataclass(frozen=True)
class PastSweeps:
    """Sweeps that can be learnt from, and why others cannot."""

    sweeps: tuple[PastSweep, ...] = ()
    notes: tuple[str, ...] = ()
    run_ids: frozenset[str] = field(default_factory=frozenset)


def stored_sweeps(storage: Path) -> PastSweeps:
    """Return the sweeps of a storage folder; none where there is no such folder. Nothing is written."""
    found, notes, run_ids = [], [], set()
    facts_of = functools.cache(read_model_facts)
    for folder in sweep_folders(storage):
        try:
            state = read_state(folder)
            result = result_of(state)
            found.append(_from_state(state, result, facts_of(_setup_of(state).model)))
            run_ids.add(result.tracking.parent_run_id)
        except (OrchestratorError, ValueError, KeyError, TypeError, OSError) as error:
            notes.append(f"Left out the sweep {folder.name}: {_short(error)}")
    return PastSweeps(tuple(found), tuple(notes), frozenset(run_ids - {""}))


def tracked_past(uri: str, known: frozenset[str] = frozenset()) -> PastSweeps:
    """Return the sweeps of a tracking store.

    Args:
        uri: Tracking server or store.
        known: Run ids of sweeps that were read from elsewhere.

    Raises:
        TrackingError: If there is no such store, or it cannot be reached.
        SinkError: If it fails while it is read.
    """
    reader = RunReader(uri)
    found, notes = [], []
    facts_of = functools.cache(read_model_facts)
    for run in reader.sweeps():
        if run.run_id in known:
            continue
        try:
            found.append(_from_run(run, reader.trials(run), uri, facts_of))
        except (InputError, ValueError, KeyError) as error:
            notes.append(f"Left out the sweep {run.sweep} of {uri}: {_short(error)}")
    return PastSweeps(tuple(found), tuple(notes))


def _setup_of(state: JournalState) -> TrialSetup:
    if state.spec.entrypoint is not None:
        raise InputError(state.folder.name, rule="it trains with code of its own, whose learning rates do not compare")
    return rebased_setup(state.spec.trial_setup, state.session.folder)


def _from_state(state: JournalState, result: SweepResult, model: ModelFacts) -> PastSweep:
    spec, data = state.spec, _setup_of(state).data
    return PastSweep(
        name=state.folder.name,
        place=str(state.folder.storage),
        objective=kind_of_objective(spec.objective.label),
        mode=spec.objective.mode,
        samples=state.plan.samples,
        model=model,
        data=data_identity(data.label, data.split),
        rows=0,
        trials=tuple(_trial(trial) for trial in result.trials if trial.role.proposed),
    )


def _trial(trial: TrialResult) -> PastTrial:
    lost = trial.outcome in LOST
    return PastTrial(
        trial.config.method,
        trial.config.learning_rate,
        trial.config.effective_batch_size,
        None if lost else trial.objective,
        trial.samples_seen,
        trial.outcome is Outcome.COMPLETED,
    )


def _from_run(run: TrackedRun, trials: Sequence[TrackedRun], uri: str, facts_of: FactsOf) -> PastSweep:
    params = run.params
    if "model" not in params or not params.get("data"):
        raise InputError(run.sweep, rule="its run names no base model and data")
    objective = params.get("objective", "")
    return PastSweep(
        name=run.sweep,
        place=uri,
        objective=kind_of_objective(objective),
        mode=params.get("mode", "min"),
        samples=int(params["samples_per_trial"]),
        model=_model_of(params, facts_of),
        data=data_identity(params["data"], "train"),
        rows=int(params.get("train_rows", 0)),
        trials=tuple(_run_trial(each, clean_key(objective)) for each in trials),
    )


def _model_of(params: Mapping[str, str], facts_of: FactsOf) -> ModelFacts:
    """Return what the run tells of its base model, else what its configuration says where that can be read here."""
    settings = ModelSettings(params["model"])
    if params.get("model_width", "").isdigit():
        width, parameters = int(params["model_width"]), int(params["model_parameters"])
        return ModelFacts(model_identity(settings), params.get("model_family", ""), width, parameters)
    try:
        return facts_of(settings)
    except ModelError as error:
        raise InputError(params["model"], rule="the size of this base model is not known here") from error


def _run_trial(run: TrackedRun, objective: str) -> PastTrial:
    outcome = run.tags.get("outcome", "")
    lost = outcome in {each.value for each in LOST}
    return PastTrial(
        run.params["method"],
        float(run.params["learning_rate"]),
        int(run.params["effective_batch_size"]),
        None if lost else run.metrics.get(objective),
        run.samples_seen,
        outcome == Outcome.COMPLETED.value,
    )


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{text[:159]}…"
