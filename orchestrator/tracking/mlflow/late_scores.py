"""Scores that a command adds to runs which a sweep has made."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.tracking.mlflow.opening import check_tracking_uri
from orchestrator.tracking.mlflow.sqlite_store import database_file


def store_is_there(uri: str) -> bool:
    """Whether there is a store that could be written: a server that answers, or a database file that exists.

    Raises:
        TrackingError: If the server cannot be reached.
    """
    if not uri:
        return False
    file = database_file(uri)
    if file is not None:
        return file.exists()
    check_tracking_uri(uri)
    return True


def log_late_scores(uri: str, run_id: str, scores: Mapping[str, float], samples_seen: int) -> None:
    """Add scores to a run as metrics; the same scores may be added again.

    Args:
        uri: Tracking store.
        run_id: The trial's run.
        scores: Metric -> value.
        samples_seen: Samples at which they were measured.

    Raises:
        SinkError: If the store refuses.
    """
    from orchestrator.tracking.mlflow.sink import log_scores, open_client, told

    with told():
        log_scores(open_client(uri), run_id, scores, samples_seen)
