"""Open the tracker of a sweep, and check beforehand that its store can be reached."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.errors import TrackingError, nearest
from orchestrator.tracking.events import Sink
from orchestrator.tracking.mlflow.sqlite_store import ARTIFACTS_FOLDER, database_file
from orchestrator.tracking.outbox.outbox_tracker import OutboxTracker
from orchestrator.tracking.trackers import TRACKERS, TrackerTask, scheme_of

ANSWER_SECONDS = 5.0
_DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_SCHEMES = TRACKERS["mlflow"].schemes
_WHERE = "tracking"


def default_tracking_uri(storage: Path) -> str:
    """Return the URI of the store that a storage folder has without being asked for another."""
    return f"sqlite:///{storage.resolve() / 'mlflow.db'}"


def open_tracker(task: TrackerTask) -> OutboxTracker:
    """Open a sweep's tracker and start its run. Returns at once; MLflow is imported in the delivery thread.

    Without a URI runs are kept in ``mlflow.db`` in the storage folder; beside a local database stands ``mlartifacts``.
    """
    storage, sweep, outbox_file = task.storage, task.sweep, task.outbox_file
    uri = task.uri or default_tracking_uri(storage)
    # A server chooses where artifacts go; a database has nobody to ask.
    root = (
        None if uri.startswith("http") else storage.resolve() / ARTIFACTS_FOLDER / _folder_name(sweep.experiment_name)
    )

    def make_sink() -> Sink:
        from orchestrator.tracking.mlflow.sink import MlflowSink

        return MlflowSink(uri, sweep.experiment_name, sweep.sweep_id, outbox_file.parent.resolve(), root)

    tracker = OutboxTracker(outbox_file, make_sink, uri)
    tracker.start_sweep(sweep)
    return tracker


def _folder_name(experiment: str) -> str:
    return re.sub(r"[^\w.-]+", "_", experiment).strip(".") or "experiment"


def check_tracking_uri(uri: str) -> None:
    """Check that a store can be used, without writing anything.

    Raises:
        TrackingError: If the scheme is unknown, a server does not answer within five seconds, or an
            SQLite file cannot be written.
    """
    scheme = scheme_of(uri)
    if scheme in {"http", "https"}:
        _check_server(uri)
    elif scheme == "sqlite":
        _check_sqlite(uri)
    elif scheme in _DATABASES:
        _check_database(uri, _DATABASES[scheme])
    else:
        hint = nearest(scheme, _SCHEMES) or "for a local store write sqlite:///PATH/mlflow.db"
        raise TrackingError(_WHERE, "uri", uri, f"a tracking URI starts with one of {', '.join(_SCHEMES)}", hint)


def _check_server(uri: str) -> None:
    # Imported here: it takes as long as reading a small sweep, which needs only this module's default URI.
    import urllib.error
    import urllib.request

    mend = "start it (mlflow server --host HOST --port PORT) or leave the tracking URI out to use SQLite"
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_SECONDS) as answer:
            body = answer.read(200)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        rule = f"the tracking server must answer /health within {ANSWER_SECONDS:.0f} s, got: {reason}"
        raise TrackingError(_WHERE, "uri", uri, rule, mend) from error
    if b"OK" not in body:
        rule = f"an MLflow server answers /health with OK, got {body[:40]!r}"
        raise TrackingError(_WHERE, "uri", uri, rule, "check host and port")


def _check_sqlite(uri: str) -> None:
    file = database_file(uri)
    if file is None:
        raise TrackingError(_WHERE, "uri", uri, "an SQLite URI names a file", "write sqlite:///PATH/mlflow.db")
    if file.exists():
        _check_database_file(uri, file)
        return
    parent = next(folder for folder in file.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise TrackingError(_WHERE, "uri", uri, f"the folder {parent} must be writable", "choose another folder")


def _check_database_file(uri: str, file: Path) -> None:
    if not file.is_file() or not os.access(file, os.R_OK | os.W_OK) or not os.access(file.parent, os.W_OK):
        raise TrackingError(_WHERE, "uri", uri, f"{file} and its folder must be writable", "choose another file")
    with file.open("rb") as stream:
        head = stream.read(16)
    if head and not head.startswith(b"SQLite format 3"):
        raise TrackingError(_WHERE, "uri", uri, f"{file} is not an SQLite database", "choose another file")


def _check_database(uri: str, default_port: int) -> None:
    place = urlsplit(uri)
    try:
        address = (place.hostname or "localhost", place.port or default_port)
        socket.create_connection(address, timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        shown = uri.replace(place.password, "***") if place.password else uri
        rule = f"the database server must answer within {ANSWER_SECONDS:.0f} s, got: {error}"
        raise TrackingError(_WHERE, "uri", shown, rule, "check host and port") from error
