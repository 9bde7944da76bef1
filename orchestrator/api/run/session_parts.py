"""The coordinator of a session and the task of its workers, made from the sweep file."""

from __future__ import annotations

from dataclasses import asdict, replace

from orchestrator.api.plan.policy import make_engine, make_step_rule
from orchestrator.api.run.inputs import datasets_of
from orchestrator.api.run.session_start import SessionStart
from orchestrator.coordinating.coordinator import Coordinator
from orchestrator.coordinating.searchers.make import make_searcher
from orchestrator.history.after_search import make_audits_and_repeats
from orchestrator.records import TrialConfig
from orchestrator.spec.methods.catalogue import method_info, resolve_options
from orchestrator.spec.searchers import searcher_kind
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.trial.identity import digest, trial_name
from orchestrator.storage.journal import Journal
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tracking.tracker import Tracker, TrialInfo
from orchestrator.tuning.detached.process import ScoringProcess
from orchestrator.tuning.detached.scoring import DetachedScoring, detached_sets, without_detached
from orchestrator.tuning.worker.task import WorkerTask


def make_coordinator(start: SessionStart, journal: Journal, tracker: Tracker, slots: int) -> Coordinator:
    """Return the coordinator of a session; it has not read its journal yet."""
    spec, plan = start.spec, start.plan
    datasets, varied = datasets_of(start.validation), spec.search_space.varied
    minutes = spec.budget.wall_minutes
    return Coordinator(
        engine=make_engine(spec, plan, start.record),
        source=make_searcher(spec, plan.samples, plan.trials),
        journal=journal,
        tracker=tracker,
        planned_trials=plan.trials,
        slots=slots,
        cohort_of=lambda config: cohort_of(spec, config),
        name_of=lambda config: trial_name(config, varied),
        trial_info=lambda trial_id, name, config: replace(
            TrialInfo.of(trial_id, with_defaults(spec, config), datasets=datasets), name=name
        ),
        known_upfront=not searcher_kind(spec.searcher.kind).learns,
        deadline=None if minutes is None else start.started + 60 * minutes,
        beside=make_audits_and_repeats(spec),
    )


def make_detached(
    start: SessionStart, folder: SweepFolder, coordinator: Coordinator, tracker: Tracker
) -> DetachedScoring:
    """Return what scores beside the trials; its process starts when there is something to score."""
    sets, resources = detached_sets(start.trial_setup), start.spec.resources
    process = ScoringProcess(replace(start.trial_setup, evaluation=sets), folder.cache, resources)
    return DetachedScoring(sets, folder, coordinator, tracker, start.say, process, resources.detached_waiting)


def make_task(start: SessionStart) -> WorkerTask:
    """Return what is the same for all trials of a session."""
    spec, setup = start.spec, without_detached(start.trial_setup)
    return WorkerTask(
        setup=setup,
        setup_digest=digest(asdict(setup)),
        folder=SweepFolder(start.folder.storage.resolve(), start.folder.name),
        levels=start.plan.levels,
        step_rule=make_step_rule(spec, start.plan, start.record),
        threads=max(1, int(spec.resources.cpu)),
        entrypoint=start.entrypoint,
        judged=spec.judged_metrics,
        varied=spec.search_space.varied,
        keep_weights=any(entry.when == "milestones" for entry in detached_sets(start.trial_setup)),
    )


def with_defaults(spec: SweepSpec, config: TrialConfig) -> TrialConfig:
    """Return a configuration with its method's default options written out, as MLflow should show it."""
    if spec.entrypoint is not None:
        return config
    return replace(config, method_options=resolve_options(config.method, config.method_options))


def cohort_of(spec: SweepSpec, config: TrialConfig) -> str:
    """Name the cohort of a configuration."""
    kind = spec.stopping.rungs.cohort
    if kind == "method" or (kind == "family" and spec.entrypoint is not None):
        return f"method {config.method}"
    if kind == "family":
        return f"family {method_info(config.method).family_cohort}"
    return "the sweep"
