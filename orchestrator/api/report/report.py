"""``report``: from a sweep's folder to its page and Markdown file; also at the end of a run, where nothing may go wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.history.journal_state import read_state
from orchestrator.history.read_sweep import read_sweep
from orchestrator.history.tracked_runs import find_runs
from orchestrator.reporting.sweep_report.compose import compose_report
from orchestrator.reporting.sweep_report.layout.files import ReportFiles, ReportPlaces, report_places, write_files
from orchestrator.reporting.sweep_report.sections.headline import RECOMMENDATION
from orchestrator.results.records import SweepHistory, SweepResult
from orchestrator.spec.sweep import SweepSpec
from orchestrator.storage.sweep_folder import SweepFolder, find_sweep
from orchestrator.tracking.events import SinkError
from orchestrator.tracking.mlflow.report_files import replace_artifacts
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.views import artifact_address

ARTIFACTS = "report"
"""Folder of the report among the artifacts of the sweep's MLflow run."""


def write_report(
    sweep: str | Path | SweepFolder, storage: Path | str | None = None, out: Path | str | None = None
) -> ReportFiles:
    """Write the report of a finished, running or interrupted sweep; its driver may be writing at the same time.

    Where the sweep was tracked, the report that its MLflow run holds is replaced, too, unless ``out`` names another place;
    a store that cannot be reached is told of in ``tracking`` and fails nothing.

    Args:
        sweep: Name of a sweep in the storage, its folder, or what `find_sweep` returned.
        storage: Storage folder in which a name is looked up; default: that of sweep files.
        out: A folder for page, Markdown file and pictures, or one file that ends in .html or .md (its pictures
            go into ``plots`` beside it); default: ``report`` in the sweep's folder.

    Raises:
        StorageError: If there is no such sweep, its journal is damaged, or the place cannot be written.
    """
    folder = sweep if isinstance(sweep, SweepFolder) else find_sweep(str(sweep), Path(storage or _default_storage()))
    places = report_places(folder.report_folder if out is None else Path(out))
    written = _write(read_sweep(folder, signals=True), places)
    return written if out is not None else replace(written, tracking=_refresh(folder))


def _refresh(folder: SweepFolder) -> str:
    """Put the sweep's report among the artifacts of its MLflow run, too; returns a sentence that says how that went."""
    runs = find_runs(read_state(folder))
    if not runs.uri:
        return ""
    if not runs.sweep_run:
        return "MLflow has no run of this sweep yet; its report is put there when the sweep is delivered."
    try:
        replace_artifacts(runs.uri, runs.sweep_run, folder.report_folder, ARTIFACTS)
    except (TrackingError, SinkError) as error:
        return f"The copy in MLflow is the one of before: {error}"
    return f"The artifacts of its MLflow run are the same now ({ARTIFACTS}/ of run {runs.sweep_run})."


@dataclass(frozen=True)
class EndReport:
    """The report at the end of a run: its page, and its first sentences as Markdown; empty where it failed."""

    page: str = ""
    story: str = ""


def report_at_end(folder: SweepFolder, result: SweepResult, tracker: Tracker, say: Callable[[str], None]) -> EndReport:
    """Write the report of a sweep whose session ends, and log it as an artifact of its MLflow run. Never raises.

    Args:
        folder: The sweep.
        result: As the driver knows it (it still holds the sweep, so that others would see it running).
        tracker: Receives the artifacts.
        say: Receives why there is no report.
    """
    say("Writing the report ...")
    try:
        history = replace(read_sweep(folder, signals=True), result=result)
        written = _write(history, report_places(folder.report_folder))
        for file in filter(None, (written.page, written.markdown)):
            tracker.log_artifact(file, ARTIFACTS)
        for file in written.pictures:
            tracker.log_artifact(file, f"{ARTIFACTS}/{file.parent.name}")
    # Whatever goes wrong here (someone may be tired of waiting), what was trained is kept and told.
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        say(
            f"The report could not be written ({str(error) or type(error).__name__}). To try again: orchestrate report {folder.root}"
        )
        return EndReport()
    return EndReport(str(written.page), _story(written, tracker))


def _write(history: SweepHistory, places: ReportPlaces) -> ReportFiles:
    return write_files(compose_report(history, time.time()), places)


def _story(written: ReportFiles, tracker: Tracker) -> str:
    """Return the headline as Markdown; what to use and the way to the report first, as the UI folds the rest away."""
    run_id = tracker.run_ids.get("", "")
    place = f"{ARTIFACTS}/{Path(written.page or '').name}"
    link = f"[{place}]({artifact_address(tracker.experiment_id, run_id, place)})" if run_id else f"`{place}`"
    first = next((place for place, line in enumerate(written.headline) if line.startswith(RECOMMENDATION)), 0)
    lines = [written.story[first], f"**Report:** {link}, with charts, among the artifacts of this run."]
    return "\n\n".join((*lines, *written.story[:first], *written.story[first + 1 :]))


def _default_storage() -> Path:
    return Path(SweepSpec.model_fields["storage"].default)
