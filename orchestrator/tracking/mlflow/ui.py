"""The command that opens the MLflow UI. `views.experiment_address` then names the page to look at."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from orchestrator.tracking.mlflow.sqlite_store import ARTIFACTS_FOLDER
from orchestrator.tracking.trackers import StoreView
from orchestrator.tracking.views import experiment_address

UI_SETTINGS = {
    # Without it the UI starts eight helper processes of 240 MB each, for features of no use here.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


UI_ADDRESS = "http://127.0.0.1:5000"
"""Where the command's UI answers."""


def store_view(tracking_uri: str, storage: Path, experiment_id: str) -> StoreView:
    """Return the command that opens the UI, and the address of an experiment in it or on its server."""
    server = tracking_uri if tracking_uri.startswith("http") else UI_ADDRESS
    return StoreView(ui_command(tracking_uri, storage), experiment_address(server, experiment_id))


def ui_command(tracking_uri: str, storage: Path, port: int = 5000) -> str:
    """Return the command line that opens the MLflow UI; for a server, its address."""
    if tracking_uri.startswith("http"):
        return tracking_uri
    program = "mlflow" if shutil.which("mlflow") else str(Path(sys.executable).with_name("mlflow"))
    words = ["env", *(f"{name}={value}" for name, value in UI_SETTINGS.items())]
    return shlex.join([*words, program, *ui_words(tracking_uri, storage, port)])


def ui_words(tracking_uri: str, storage: Path, port: int) -> list[str]:
    """Return the words after ``mlflow`` that serve the UI of a local store on loopback."""
    return [
        "ui",
        "--backend-store-uri",
        tracking_uri,
        "--artifacts-destination",
        str(storage.resolve() / ARTIFACTS_FOLDER),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
