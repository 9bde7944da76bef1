"""The table of trackers. A tracker is one entry here and one file that opens it; the scheme of ``tracking.uri`` chooses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from orchestrator.lazy_names import load
from orchestrator.plugins.entries import PLUGIN
from orchestrator.plugins.loading import loaded_code
from orchestrator.plugins.registry import Registry
from orchestrator.tracking.guarded import guarded_tracker
from orchestrator.tracking.tracker import SweepInfo, Tracker


@dataclass(frozen=True)
class TrackerTask:
    """What a tracker is opened with.

    Attributes:
        uri: Where runs are kept; None: the store that a storage folder has without being asked for another.
        storage: Storage folder; keeps what belongs to a local store.
        sweep: The sweep; the same ``sweep_id`` and ``outbox_file`` continue the same runs.
        tracker: Plug-in that opens it, as the sweep file names it; None: the URI says who does.
        outbox_file: File of this sweep, for example ``STORAGE/SWEEP/outbox.jsonl``, in which may stand what is yet to be delivered.
    """

    uri: str | None
    storage: Path
    sweep: SweepInfo
    outbox_file: Path
    tracker: str | None = None


@dataclass(frozen=True)
class StoreView:
    """How to look at what a tracker has recorded: a command that opens it, and the address to look at then."""

    command: str = ""
    address: str = ""


@dataclass(frozen=True)
class TrackerKind:
    """One kind of tracker.

    Attributes:
        summary: Where it keeps runs.
        schemes: What ``tracking.uri`` begins with (before the colon, and before a ``+``) where this tracker is meant.
        opener: ``module:FUNCTION`` that takes a `TrackerTask` and returns a `Tracker` whose sweep has started, at once.
        check: ``module:FUNCTION`` that takes the URI and raises `TrackingError` unless it can be used; writes nothing.
        view: ``module:FUNCTION`` that takes URI, storage and experiment id and returns a `StoreView`; empty: there is none.
        in_mlflow: Runs stand in MLflow, so that commands can read them back from there.
    """

    summary: str
    schemes: tuple[str, ...]
    opener: object
    check: str = ""
    view: str = ""
    in_mlflow: bool = False


_TRACKING = "orchestrator.tracking"

TRACKERS: dict[str, TrackerKind] = {
    "mlflow": TrackerKind(
        "MLflow: a database or a server",
        schemes=("sqlite", "http", "https", "postgresql", "mysql", "mssql"),
        opener=f"{_TRACKING}.mlflow.opening:open_tracker",
        check=f"{_TRACKING}.mlflow.opening:check_tracking_uri",
        view=f"{_TRACKING}.mlflow.ui:store_view",
        in_mlflow=True,
    ),
    "memory": TrackerKind(
        "the memory of this process, for tests and dry runs",
        schemes=("memory",),
        opener=f"{_TRACKING}.in_memory:open_tracker",
        check=f"{_TRACKING}.in_memory:check_uri",
    ),
}


_ABSENT = TrackerKind("a tracker whose code is not loaded here", (), PLUGIN)
_NAMED = Registry({}, "tracker", "opener", _ABSENT)


def tracker_kind(uri: str | None, named: str | None = None) -> TrackerKind:
    """Return the entry of the tracker that a URI means, or a plug-in that is named. Every sweep's tracker is looked up here.

    Without one it is MLflow, and also where no tracker has its scheme: MLflow's check then says which there are.
    """
    if named is not None:
        return _NAMED.find("tracking.tracker", named)
    scheme = scheme_of(uri or "")
    return next((kind for kind in TRACKERS.values() if scheme in kind.schemes), TRACKERS["mlflow"])


def scheme_of(uri: str) -> str:
    """Return the scheme of a URI, without a driver (``mysql+pymysql``); empty where there is none."""
    return uri.partition(":")[0].partition("+")[0].lower() if ":" in uri else ""


def open_tracker(task: TrackerTask) -> Tracker:
    """Open a sweep's tracker and start its run. Returns at once.

    Raises:
        PluginError: If it is a plug-in that cannot be opened; what one raises later does not stop the sweep.
    """
    opener = cast(Callable[[TrackerTask], Tracker], load(tracker_kind(task.uri, task.tracker).opener))
    code = None if task.tracker is None else loaded_code("tracker", task.tracker)
    return opener(task) if code is None else guarded_tracker(opener, task, code)


def check_tracker(uri: str) -> None:
    """Check that a tracker can be used, without writing anything.

    Raises:
        TrackingError: Says why not.
    """
    cast(Callable[[str], None], load(tracker_kind(uri).check))(uri)


def view_of(uri: str, storage: Path, experiment_id: str) -> StoreView:
    """Return how to look at what was recorded; empty where the tracker has no view."""
    view = tracker_kind(uri).view
    if not view:
        return StoreView()
    return cast(Callable[[str, Path, str], StoreView], load(view))(uri, storage, experiment_id)
