"""The report among the artifacts of a sweep's MLflow run, put there again by whoever writes it again."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.tracking.mlflow.opening import check_tracking_uri
from orchestrator.tracking.mlflow.sqlite_store import database_file


def replace_artifacts(uri: str, run_id: str, folder: Path, under: str) -> None:
    """Put the files of a folder among a run's artifacts, in place of those of the same names.

    Args:
        uri: Tracking store.
        run_id: The run.
        folder: What to put there, with its subfolders.
        under: Folder among the artifacts.

    Raises:
        TrackingError: If the store is gone or does not answer.
        SinkError: If it refuses, for example because the run is gone.
    """
    check_tracking_uri(uri)
    file = database_file(uri)
    if file is not None and not file.exists():
        raise TrackingError("tracking", "uri", uri, "the MLflow store of this sweep is gone", "restore it")
    from orchestrator.tracking.mlflow.sink import artifacts_of, told

    with told():
        artifacts_of(uri, run_id).log_artifacts(str(folder), under)
