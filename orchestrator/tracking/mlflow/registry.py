"""Register an exported model in MLflow: a LoggedModel of the trial's run, and a version of a registered model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import TrackingError
from orchestrator.tracking.mlflow.opening import check_tracking_uri
from orchestrator.tracking.mlflow.sqlite_store import database_file
from orchestrator.tracking.naming import clean_params, clean_tags


@dataclass(frozen=True)
class RegisteredModel:
    """Ids of a LoggedModel and of the version made of it."""

    model_id: str
    version: str


def check_store(uri: str) -> None:
    """Raise unless a store is there and can be written.

    Raises:
        TrackingError: With the mend.
    """
    check_tracking_uri(uri)
    file = database_file(uri)
    if file is not None and not file.exists():
        raise TrackingError(
            "--register",
            value=uri,
            rule="the MLflow store of this sweep is gone",
            mend="leave --register out, or restore the store",
        )


def register_model(
    uri: str,
    folder: Path,
    name: str,
    *,
    experiment_id: str,
    run_id: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    scores: Mapping[str, float],
    samples_seen: int,
) -> RegisteredModel:
    """Log a Hugging Face folder as a LoggedModel of a run, and make a version of a registered model of it.

    Args:
        uri: Tracking store.
        folder: A whole model with its tokenizer.
        name: Of the registered model; made where there is none.
        experiment_id: Experiment of the run.
        run_id: The trial's run.
        params: Its hyperparameters.
        tags: Digests and origin.
        scores: Its scores, as metrics of the LoggedModel.
        samples_seen: Samples at which they were measured.

    Raises:
        SinkError: If the store refuses.
    """
    from orchestrator.tracking.mlflow.sink import log_model_scores, open_client, told, write_mlflow_model

    with told(), tempfile.TemporaryDirectory() as scratch:
        client = open_client(uri)
        logged = client.create_logged_model(
            experiment_id,
            name=name,
            source_run_id=run_id,
            tags=clean_tags(tags),
            params=clean_params(params),
            model_type="transformers",
        )
        try:
            place = Path(scratch) / "model"
            write_mlflow_model(folder, place, logged.model_id, tags)
            client.log_model_artifacts(logged.model_id, str(place))
        except BaseException:
            client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        client.finalize_logged_model(logged.model_id, "READY")
        log_model_scores(client, run_id, logged.model_id, scores, samples_seen)
        if not list(client.search_registered_models(f"name = '{name}'")):
            client.create_registered_model(name)
        # By its place: an address of the form models:/ID would be looked up in this process's default store.
        place_of = logged.artifact_location
        version = client.create_model_version(name, place_of, run_id, tags=clean_tags(tags), model_id=logged.model_id)
    return RegisteredModel(str(logged.model_id), str(version.version))
