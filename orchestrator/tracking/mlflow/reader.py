"""Read sweeps back from their MLflow runs, where the storage folder cannot be seen (a remote driver)."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import TrackingError, nearest
from orchestrator.tracking.mlflow.opening import check_tracking_uri
from orchestrator.tracking.mlflow.sqlite_store import database_file

_PAGE = 1000

Series = list[tuple[int, float]]
"""(Samples seen, value), rising in samples seen."""

# Of all runs only a sweep's own has this tag.
_SWEEPS = "tags.`spec.digest` LIKE '%'"


@dataclass(frozen=True)
class TrackedRun:
    """One run as MLflow holds it; times in Unix seconds, ``metrics`` are the latest values."""

    run_id: str
    experiment_id: str
    name: str
    status: str
    began: float
    ended: float | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def sweep(self) -> str:
        """Name of the sweep that the run belongs to."""
        return posixpath.basename(self.tags.get("orchestrate.folder", "")) or self.name

    @property
    def samples_seen(self) -> int:
        """Samples that a trial had seen at its latest decision."""
        text = self.tags.get("samples_seen", "")
        return int(text) if text.isdigit() else 0


class RunReader:
    """Reads the runs of a tracking store.

    Args:
        uri: Tracking URI of a server or a database that exists.

    Raises:
        TrackingError: If there is no such store.
    """

    def __init__(self, uri: str) -> None:
        check_tracking_uri(uri)
        file = database_file(uri)
        if file is not None and not file.exists():
            raise TrackingError(
                "--tracking-uri", value=uri, rule="there is no such database", mend="check the path of the store"
            )
        from orchestrator.tracking.mlflow.sink import open_client

        self.uri = uri
        self._client: Any = open_client(uri)

    def sweeps(self) -> list[TrackedRun]:
        """Return the runs of all sweeps, the latest first."""
        from orchestrator.tracking.mlflow.sink import told

        with told():
            experiments = [experiment.experiment_id for experiment in self._client.search_experiments()]
        found = self._search(experiments, _SWEEPS) if experiments else []
        return sorted(found, key=lambda run: -run.began)

    def sweep(self, name: str) -> TrackedRun:
        """Return the latest run of the sweep of a name.

        Raises:
            TrackingError: If there is none; names the nearest.
        """
        runs = self.sweeps()
        known = sorted({run.sweep for run in runs})
        for run in runs:
            if run.sweep == name or run.run_id == name:
                return run
        shown = ", ".join(known[:8]) or "none"
        raise TrackingError(
            "SWEEP",
            value=name,
            rule=f"there is no such sweep; the store {self.uri} has {shown}",
            mend=nearest(name, known),
        )

    def trials(self, sweep: TrackedRun) -> list[TrackedRun]:
        """Return the runs of a sweep's trials, in the order in which they began."""
        query = f"tags.`mlflow.parentRunId` = '{sweep.run_id}'"
        return sorted(self._search([sweep.experiment_id], query), key=lambda run: run.began)

    def series(self, run_id: str, key: str) -> Series:
        """Return a metric of a run over samples seen; of values logged again at the same place the last one."""
        from orchestrator.tracking.mlflow.sink import told

        with told():
            points = self._client.get_metric_history(run_id, key)
        return sorted({point.step: float(point.value) for point in sorted(points, key=_when)}.items())

    def _search(self, experiments: list[str], query: str) -> list[TrackedRun]:
        from orchestrator.tracking.mlflow.sink import told

        found: list[TrackedRun] = []
        token = None
        with told():
            while True:
                page = self._client.search_runs(experiments, query, max_results=_PAGE, page_token=token)
                found += [_run(run) for run in page]
                token = page.token
                if not token:
                    return found


def _when(point: Any) -> int:
    return int(point.timestamp)


def _run(run: Any) -> TrackedRun:
    info, data = run.info, run.data
    ended = None if info.end_time is None else info.end_time / 1000
    return TrackedRun(
        info.run_id,
        info.experiment_id,
        info.run_name,
        info.status,
        info.start_time / 1000,
        ended,
        dict(data.params),
        dict(data.tags),
        dict(data.metrics),
    )
