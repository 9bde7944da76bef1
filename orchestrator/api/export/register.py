"""An exported model in MLflow: a LoggedModel of its trial's run, and a version of a registered model."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.history.journal_state import read_state
from orchestrator.history.read_sweep import result_of
from orchestrator.history.tracked_runs import find_runs
from orchestrator.results.records import TrialResult
from orchestrator.spec.methods.catalogue import METHODS
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tracking.mlflow.registry import check_store
from orchestrator.tracking.naming import config_params


def check_register(folder: SweepFolder, trial: TrialResult, merge: bool, register: str) -> None:
    """Raise unless MLflow can be given what is to be written; before anything is written."""
    runs = find_runs(read_state(folder))
    if trial.trial_id not in runs.run_ids:
        raise InputError(
            "--register",
            value=register,
            rule="MLflow holds no run of this trial",
            mend="leave --register out; the sweep was run without tracking, or not delivered yet",
        )
    check_store(runs.uri)
    info = METHODS.get(trial.config.method)
    if not merge and info is not None and info.peft_config:
        mend = "add --merge" if info.merges else "leave --register out; this method does not merge"
        raise InputError("--register", value=register, rule="MLflow is given whole models only", mend=mend)


def register_export(folder: SweepFolder, trial_id: str, place: Path, name: str) -> tuple[str, str]:
    """Register an exported folder; its files stay where they are whatever becomes of this.

    Returns:
        Id of the LoggedModel, and the version of the registered model.
    """
    from orchestrator.tracking.mlflow.registry import register_model

    state = read_state(folder)
    runs = find_runs(state)
    trial = next(trial for trial in result_of(state).trials if trial.trial_id == trial_id)
    tags = {
        "sweep": state.folder.name,
        "orchestrate.sweep_id": state.first.sweep_id,
        "orchestrate.trial_id": trial.trial_id,
        **{f"digest.{name.replace(' ', '_')}": digest for name, digest in state.first.inputs.items()},
    }
    made = register_model(
        runs.uri,
        place,
        name,
        experiment_id=runs.experiment_id,
        run_id=runs.run_ids[trial.trial_id],
        params=config_params(trial.config),
        tags=tags,
        scores=trial.scores,
        samples_seen=trial.samples_seen,
    )
    return made.model_id, made.version
