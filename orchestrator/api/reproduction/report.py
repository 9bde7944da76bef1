"""The findings report on disk and in MLflow: a parent run of its own."""

from __future__ import annotations

from pathlib import Path

from orchestrator.progress import Say
from orchestrator.reporting.findings.pages.compose import compose_findings
from orchestrator.reporting.findings.pages.facts import FindingsFacts
from orchestrator.reporting.sweep_report.layout.files import ReportFiles, report_places, write_files
from orchestrator.reporting.sweep_report.layout.markdown import spans
from orchestrator.spec.trial.identity import digest
from orchestrator.tracking.provenance import provenance_tags
from orchestrator.tracking.tracker import SweepInfo, SweepOutcome, Tracker
from orchestrator.tracking.trackers import TrackerTask, open_tracker

EXPERIMENT = "secret_recipe_findings"
ARTIFACTS = "findings"
FLUSH_SECONDS, CLOSE_SECONDS = 30.0, 5.0


def write_findings(facts: FindingsFacts, out: Path) -> ReportFiles:
    """Write page, Markdown and pictures of a findings report.

    Raises:
        StorageError: If the place cannot be written.
    """
    return write_files(compose_findings(facts), report_places(out))


def track_findings(facts: FindingsFacts, files: ReportFiles, name: str, folder: Path, uri: str | None, say: Say) -> str:
    """Log a findings report to MLflow; the same name goes on with the same run.

    Args:
        facts: What is logged: an effect with its interval per primary comparison, verdicts as tags.
        files: The written report; becomes artifacts.
        name: Of the run.
        folder: Where the outbox stands.
        uri: Where MLflow keeps runs; None for the storage's own.
        say: Told what could not be delivered yet.

    Returns:
        The run's id; empty where MLflow could not be reached (then it is delivered with the next report).
    """
    tracker = open_tracker(TrackerTask(uri, folder.parent, _info(facts, name, folder), folder / "outbox.jsonl"))
    try:
        _log(tracker, facts, files)
        if not tracker.flush(FLUSH_SECONDS):
            say(f"MLflow: {tracker.health.warning() or 'not everything could be delivered yet'}")
        return tracker.run_ids.get("", "")
    finally:
        tracker.close(CLOSE_SECONDS)


def _info(facts: FindingsFacts, name: str, folder: Path) -> SweepInfo:
    return SweepInfo(
        sweep_id=digest({"findings": name, "storage": str(folder.resolve())}),
        name=name,
        # What may differ between two reports of one suite stands in tags: MLflow's parameters cannot change.
        params={"scale": facts.scale, "data": facts.data},
        tags=provenance_tags(),
        experiment=EXPERIMENT,
    )


def _log(tracker: Tracker, facts: FindingsFacts, files: ReportFiles) -> None:
    trained = sum(sweep.trials for sweep in facts.sweeps)
    metrics: dict[str, float] = {f"count/{name.replace(' ', '_')}": float(n) for name, n in facts.counts().items()}
    for outcome in facts.outcomes:
        for each in outcome.primary:
            if each.effect.known:
                key = f"{outcome.finding.id}/{each.comparison.name}"
                metrics |= {key: each.effect.value, f"{key}/low": each.effect.low, f"{key}/high": each.effect.high}
    tracker.log_sweep_metrics(metrics, trained)
    tracker.set_sweep_tags(
        {f"verdict.{outcome.finding.id}": outcome.verdict or "not tested" for outcome in facts.outcomes}
        | {f"sweep.{sweep.design}": sweep.run_id for sweep in facts.sweeps if sweep.run_id}
        | {"registration": facts.digest, "models": ", ".join(facts.models), "baseline_rate": f"{facts.baseline:g}"}
        | {"findings": ", ".join(outcome.finding.id for outcome in facts.outcomes)}
    )
    for file in filter(None, (files.page, files.markdown)):
        tracker.log_artifact(file, ARTIFACTS)
    for file in files.pictures:
        tracker.log_artifact(file, f"{ARTIFACTS}/{file.parent.name}")
    tracker.describe_sweep("\n\n".join(spans(line) for line in compose_findings(facts).headline))
    tracker.end_sweep(SweepOutcome.COMPLETED if facts.complete else SweepOutcome.INTERRUPTED)
