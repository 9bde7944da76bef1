"""``ui``: the MLflow UI on the store that holds a sweep, and the address of the sweep's page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.history.find_trial import Sweep, sweep_folder
from orchestrator.history.journal_state import read_state
from orchestrator.history.tracked_runs import TrackedRuns, find_runs
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tracking.mlflow.sqlite_store import database_file
from orchestrator.tracking.mlflow.ui_server import Ui, serving_ui
from orchestrator.tracking.views import experiment_address


@dataclass(frozen=True)
class SweepUi:
    """A UI that answers.

    Args:
        page: Address of the sweep's page.
        started: Whether it was started for this; else it ran before.
        ui: The UI itself.
    """

    page: str
    started: bool
    ui: Ui


@contextmanager
def open_ui(sweep: Sweep, port: int | None = None, storage: Path | str | None = None) -> Iterator[SweepUi]:
    """Serve the MLflow UI of a sweep's store on 127.0.0.1 for the length of the block.

    Args:
        sweep: Name, folder, or what `find_sweep` returned.
        port: Port; None takes the first free one from 5000 on. A UI that runs on the same store is used instead.
        storage: Where a name is looked up.

    Raises:
        TrackingError: If the sweep was not tracked, its store is gone, or the port is in use.
        UiError: If the UI does not start.
    """
    folder = sweep_folder(sweep, storage)
    runs = find_runs(read_state(folder))
    _check_store(folder, runs)
    with serving_ui(runs.uri, folder.storage, runs.sweep_run, port) as ui:
        yield SweepUi(_page(ui, runs), ui.process is not None, ui)


def _page(ui: Ui, runs: TrackedRuns) -> str:
    return experiment_address(ui.server, runs.experiment_id) if runs.experiment_id else ui.server


def _check_store(folder: SweepFolder, runs: TrackedRuns) -> None:
    place = str(folder.root)
    if not runs.uri:
        raise TrackingError(
            place,
            rule="this sweep was run without tracking, so MLflow holds nothing of it",
            mend="see it with 'orchestrate status' or 'orchestrate report'",
        )
    file = database_file(runs.uri)
    if file is not None and not Path(file).exists():
        raise TrackingError(
            place,
            value=runs.uri,
            rule="the MLflow store of this sweep is gone",
            mend="run the same command again; its outbox is then delivered to a new store",
        )
