"""``run``: from a checked sweep to a result; resumes when the same sweep was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from orchestrator.api.after_search import make_extras
from orchestrator.api.extension import Extension, as_extended, rebased_spec, standing
from orchestrator.api.history import (
    after_search,
    check_same_inputs,
    check_same_sweep,
    complete_capacity,
    recorded_inputs,
    set_aside,
    spent_before,
)
from orchestrator.api.plan import check_memory, planned_trials
from orchestrator.api.policy import make_divergence, make_engine
from orchestrator.api.preflight import Say, ValidationResult, silent, validate_sweep
from orchestrator.api.report import report_at_end
from orchestrator.api.results import build_result, build_view
from orchestrator.api.subject import datasets_of, inputs_of, subject_params
from orchestrator.errors import EntrypointError, EntrypointFailure
from orchestrator.records import Scalar, TrialConfig
from orchestrator.reporting.summary import decision_note
from orchestrator.reporting.verdicts import certainty_metrics, certainty_tags
from orchestrator.results import SweepResult, SweepView, TrackingIds
from orchestrator.settings import EntrypointSettings, TrialSetup
from orchestrator.spec.catalogue import METHODS, resolve_options
from orchestrator.spec.identity import digest, trial_name
from orchestrator.spec.sweep import SweepSpec, resolved
from orchestrator.tracking.opening import default_tracking_uri, open_tracker
from orchestrator.tracking.provenance import environment, provenance_tags
from orchestrator.tracking.tracker import NoTracker, SweepInfo, SweepOutcome, Tracker, TrialInfo
from orchestrator.tracking.ui import ui_command
from orchestrator.tracking.views import experiment_address
from orchestrator.tuning.actions import leave_action, whoever
from orchestrator.tuning.capacity import Capacity
from orchestrator.tuning.clones import take_checkpoint
from orchestrator.tuning.cluster import connected
from orchestrator.tuning.controls import Controls
from orchestrator.tuning.coordinator import Coordinator
from orchestrator.tuning.driver import Driver
from orchestrator.tuning.journal import Journal, Record, read_journal
from orchestrator.tuning.layout import SweepFolder, check_storage
from orchestrator.tuning.presence import check_not_driven, driving
from orchestrator.tuning.sources import make_source
from orchestrator.tuning.task import WorkerTask

FLUSH_SECONDS = 30.0
CLOSE_SECONDS = 5.0
UI_ADDRESS = "http://127.0.0.1:5000"
LEARNING_SEARCHERS = ("tpe", "gp", "nsga2")


def run_sweep(
    spec: SweepSpec,
    *,
    ray_address: str | None = None,
    record: bool = False,
    fresh: bool = False,
    where: str = "sweep file",
    observer: Callable[[SweepView], None] | None = None,
    say: Say = silent,
) -> SweepResult:
    """Run a sweep, or resume it when the same sweep was interrupted.

    Args:
        spec: The sweep, from `load_sweep`.
        ray_address: Join this Ray cluster instead of the profile's.
        record: Stop nothing and keep all signals.
        fresh: Set an earlier sweep of this name aside (its folder is renamed) and start anew.
        where: Name of the sweep file for messages.
        observer: Receives snapshots about twice a second.
        say: Receives progress texts.

    Returns:
        The result, also of an interrupted session (``status``).

    Raises:
        InputError: If something is wrong; then nothing was started or written.
        SweepInterruptedError: If the storage failed or another driver took over; the sweep resumes.
    """
    folder = SweepFolder(Path(spec.storage), spec.name)
    check_not_driven(folder, where)
    if not fresh:
        check_same_sweep(folder, {**spec.content(), "record": record}, where)
        spec = as_extended(spec, read_journal(folder.journal))
    return run_extended(
        spec, standing, ray_address=ray_address, record=record, fresh=fresh, where=where, observer=observer, say=say
    )  # fmt: skip


def run_extended(
    spec: SweepSpec,
    extend: Callable[[ValidationResult, Sequence[Record]], Extension],
    *,
    setup_from: str = "",
    ray_address: str | None = None,
    record: bool = False,
    fresh: bool = False,
    where: str = "sweep file",
    observer: Callable[[SweepView], None] | None = None,
    say: Say = silent,
) -> SweepResult:
    """Run a sweep whose file is known to be the one of its folder, with what extends it.

    Args:
        spec: The sweep as it is to be.
        extend: Called once model and data have been read, with the journal; says what is to be trained besides.
        setup_from: The folder from which its relative paths lead; empty: this one.
        ray_address: As `run_sweep`.
        record: As `run_sweep`.
        fresh: As `run_sweep`.
        where: As `run_sweep`.
        observer: As `run_sweep`.
        say: As `run_sweep`.

    Raises:
        InputError: If something is wrong; then nothing was started or written.
        SweepInterruptedError: If the storage failed or another driver took over; the sweep resumes.
    """
    started = time.monotonic()
    folder = SweepFolder(Path(spec.storage), spec.name)
    records = [] if fresh else read_journal(folder.journal)
    placed = rebased_spec(spec, setup_from)
    validation = validate_sweep(placed, ray_address=ray_address, where=where, say=say)
    extension = extend(validation, records)
    validation = replace(validation, plan=extension.plan)
    check_capacity(validation, where, {record["trial"] for record in records if record["kind"] == "trial"})
    inputs = inputs_of(validation)
    if not fresh:
        check_same_inputs(folder, inputs, where)
    content = {**spec.content(), "record": record}
    start = _Start(
        replace(validation, spec=spec), folder, content, inputs, record, started, say, extension, placed.trial_setup
    )
    asks = fresh or extension.asks(content, records)
    done = None if asks else complete_capacity(folder, spec.after_search)
    if done is not None:
        return _Session(start, done, idle=True).run(observer)
    say("Joining Ray ..." if validation.cluster.kind == "existing" else "Starting Ray ...")
    with connected(validation.cluster, spec.resources, validation.plan.trials) as capacity:
        if fresh:  # only now: a cluster that cannot be joined leaves the earlier sweep where it is
            set_aside(folder)
        return _Session(start, capacity).run(observer)


# Weights and two optimizer moments in float32: what a checkpoint holds of every trained parameter.
CHECKPOINT_BYTES_PER_PARAMETER = 12


def check_capacity(validation: ValidationResult, where: str, known: Collection[str] = ()) -> None:
    """Raise unless the planned trials fit the memory of this machine (local clusters) and their checkpoints the disk.

    Args:
        validation: The sweep.
        where: Name of the sweep file for messages.
        known: Trials of earlier sessions: they fitted, and what they need of the disk they have, or had room for.

    Raises:
        CapacityError: If the largest trial does not fit the memory.
        StorageError: If the disk cannot hold a checkpoint of every trial.
    """
    planned, slots, available = planned_trials(validation)
    trials = [trial for trial in planned if trial.trial_id not in known]
    if validation.cluster.kind == "local":
        check_memory(validation.spec, trials, available, slots, where)
    trained = [trial.estimate.trainable_parameters for trial in trials if trial.estimate is not None]
    sizes = sorted((CHECKPOINT_BYTES_PER_PARAMETER * parameters for parameters in trained), reverse=True)
    winner = validation.spec.winner
    repeats = winner.repeats * sum(sizes[: winner.candidates] if winner.candidates > 1 else ())
    check_storage(Path(validation.spec.storage), sum(sizes) + repeats)


@dataclass(frozen=True)
class _Start:
    """What is known before Ray is there."""

    validation: ValidationResult
    folder: SweepFolder
    content: dict[str, Any]
    inputs: dict[str, str]
    record: bool
    started: float
    say: Say
    extension: Extension
    trial_setup: TrialSetup


class _Session:
    """One session of a sweep: everything between a connected Ray and the result."""

    def __init__(self, start: _Start, capacity: Capacity, idle: bool = False) -> None:
        # A complete sweep is only told again: there is no Ray on which anything that is asked now could be trained.
        self._idle = idle
        self._validation, self._spec, self._plan = start.validation, start.validation.spec, start.validation.plan
        self._folder, self._content, self._inputs = start.folder, start.content, start.inputs
        self._record, self._started, self._say = start.record, start.started, start.say
        self._capacity = capacity
        self._extension, self._trial_setup = start.extension, start.trial_setup
        self._first: Record = {}

    def run(self, observer: Callable[[SweepView], None] | None) -> SweepResult:
        journal = Journal(self._folder.journal)
        sweep_id = self._open_journal(journal)
        with self._tracker(sweep_id) as tracker, driving(journal.path, journal.epoch, _beat(tracker)):
            coordinator = self._coordinator(journal, tracker)
            coordinator.restore()
            for added in self._extension.added:
                take_checkpoint(self._folder, coordinator.trials[added["origin"]["trial_id"]], added["trial"])
                coordinator.add_by_user(added)
            for action in self._extension.actions:
                leave_action(self._folder, action)
            controls = Controls(coordinator, journal, self._folder, tracker, self._say, self._spec)
            if not self._idle:
                controls.take_all()
            self._greet(coordinator)
            driver = Driver(
                coordinator, self._task(), self._spec.resources, self._capacity.slots,
                lambda: self._view(coordinator, tracker), observer, self._say, controls.turn,
            )  # fmt: skip
            try:
                status, ran = self._drive(driver, coordinator, journal)
            except (EntrypointError, EntrypointFailure):
                tracker.end_sweep(SweepOutcome.FAILED)
                tracker.flush(FLUSH_SECONDS)
                raise
            result = self._result(journal, coordinator, sweep_id, status, ran)
            report = report_at_end(self._folder, self._with_tracking(result, tracker), tracker, self._say)
            result = replace(result, report=report.page)
            self._tell_end(tracker, result, report.story)
            if tracker.run_ids:
                journal.append(("tracking", {"run_ids": dict(tracker.run_ids), "experiment_id": tracker.experiment_id}))
        journal.close()
        return self._with_tracking(result, tracker)

    def _drive(self, driver: Driver, coordinator: Coordinator, journal: Journal) -> tuple[str, float]:
        """Train; returns the status and the seconds in which trials could run."""
        if coordinator.finished:
            return "completed", 0.0
        journal.append(("session", self._session_record()))
        began = time.monotonic()
        try:
            driver.run(f"session-{journal.epoch:04d}")
        except KeyboardInterrupt:
            self._say("Stopped now; trials go on from their last milestone when the same command runs again.")
        if coordinator.out_of_time and coordinator.open_trials:
            self._say("budget.wall_minutes is spent; the same command goes on from here.")
        return "interrupted" if coordinator.open_trials else "completed", time.monotonic() - began

    def _session_record(self) -> dict[str, Any]:
        """Where and with what this session trains: what `rerun` compares, and where `ui` and `watch` find the runs."""
        tracking, setup = self._spec.tracking, self._validation.setup
        uri = tracking.uri or default_tracking_uri(self._folder.storage)
        return {
            "slots": self._capacity.slots,
            "cpus": self._capacity.cpus,
            "resources": self._spec.resources.model_dump(mode="json"),
            "cluster": self._spec.cluster,
            "environment": environment(),
            "folder": str(Path.cwd()),
            "entrypoint": None if self._entrypoint is None else asdict(self._entrypoint),
            "evaluation": {} if setup is None else {entry.name: entry.digest for entry in setup.evaluation},
            "tracking": {"uri": uri, "experiment": tracking.experiment or self._spec.name}
            if tracking.enabled
            else None,
        }

    def _open_journal(self, journal: Journal) -> str:
        first = next(journal.of_kind("sweep"), None)
        if first is None:
            sweep_id = digest(
                {"content": self._content, "storage": str(self._folder.root.resolve()), "time": time.time()}
            )
            journal.append(
                (
                    "sweep",
                    {
                        "sweep_id": sweep_id,
                        "content": self._content,
                        "inputs": self._inputs,
                        "plan": asdict(self._plan),
                    },
                )
            )
        else:
            sweep_id = first["sweep_id"]
            if self._extension.changes(self._content, journal.records):
                journal.append(
                    ("extend", {"content": self._content, "plan": asdict(self._plan), "who": whoever()})
                )  # fmt: skip
            if recorded_inputs(journal.records) != self._inputs:
                journal.append(("inputs", {"inputs": self._inputs}))
        if after_search(journal.records) != self._spec.after_search:
            journal.append(("after_search", self._spec.after_search))
        self._first = next(journal.of_kind("sweep"))
        return str(sweep_id)

    @contextmanager
    def _tracker(self, sweep_id: str) -> Iterator[Tracker]:
        if not self._spec.tracking.enabled:
            yield NoTracker()
            return
        tracker = open_tracker(
            self._spec.tracking.uri,
            self._folder.storage,
            self._sweep_info(sweep_id),
            self._folder.outbox,
        )
        try:
            yield tracker
        finally:
            tracker.close(CLOSE_SECONDS)

    def _sweep_info(self, sweep_id: str) -> SweepInfo:
        spec, first = self._spec, self._first
        # As the sweep began: MLflow's parameters cannot change, tags tell of extensions.
        params: dict[str, Scalar] = {
            **subject_params(self._validation), "objective": spec.objective.label, "mode": spec.objective.mode,
            "searcher": first["content"]["searcher"]["kind"], "trials": first["plan"]["trials"],
            "samples_per_trial": self._plan.samples, "methods": ", ".join(first["content"]["search_space"]["method"]),
            "milestones": ", ".join(map(str, self._plan.levels)),
        }  # fmt: skip
        return SweepInfo(
            sweep_id=sweep_id,
            name=spec.name,
            params=params,
            tags={
                **provenance_tags(),
                "storage": str(self._folder.root.resolve()),
                "spec.digest": spec.digest,
                "trials.planned": str(self._plan.trials),
            },
            config_yaml=yaml.safe_dump(dict(resolved(spec)), sort_keys=False),
            datasets=datasets_of(self._validation),
            experiment=spec.tracking.experiment or "",
            objective=spec.objective.metric if isinstance(spec.objective.metric, str) else "",
            mode=spec.objective.mode,
        )

    def _coordinator(self, journal: Journal, tracker: Tracker) -> Coordinator:
        spec, plan = self._spec, self._plan
        datasets, varied = datasets_of(self._validation), spec.search_space.varied
        minutes = spec.budget.wall_minutes
        return Coordinator(
            engine=make_engine(spec, plan, self._record),
            source=make_source(spec, plan.samples, plan.trials),
            journal=journal,
            tracker=tracker,
            planned_trials=plan.trials,
            slots=self._capacity.slots,
            cohort_of=lambda config: cohort_of(spec, config),
            name_of=lambda config: trial_name(config, varied),
            trial_info=lambda trial_id, name, config: replace(
                TrialInfo.of(trial_id, with_defaults(spec, config), datasets=datasets), name=name
            ),
            known_upfront=spec.searcher.kind not in LEARNING_SEARCHERS,
            deadline=None if minutes is None else self._started + 60 * minutes,
            extras=make_extras(spec),
        )

    @property
    def _entrypoint(self) -> EntrypointSettings | None:
        """The entrypoint with the folder in which it was found, wherever workers are."""
        report, given = self._validation.entrypoint, self._spec.entrypoint
        return None if report is None or given is None else replace(given, folder=report.folder)

    def _task(self) -> WorkerTask:
        spec = self._spec
        return WorkerTask(
            setup=self._trial_setup,
            setup_digest=digest(asdict(self._trial_setup)),
            folder=SweepFolder(self._folder.storage.resolve(), self._folder.name),
            levels=self._plan.levels,
            divergence=make_divergence(spec, self._plan, self._record),
            threads=max(1, int(spec.resources.cpu)),
            entrypoint=self._entrypoint,
            judged=spec.judged_metrics,
            varied=spec.search_space.varied,
        )

    def _greet(self, coordinator: Coordinator) -> None:
        done = sum(entry.outcome.is_final for entry in coordinator.trials.values())
        resumed = (
            f"; resuming, {done} trials are done already"
            if any(e.milestones for e in coordinator.trials.values())
            else ""
        )
        self._say(
            f"Sweep {self._spec.name}: {self._plan.trials} trials of {self._plan.samples:,} samples on "
            f"{self._capacity.slots} slots{resumed}. Journal: {self._folder.journal}"
        )

    def _view(self, coordinator: Coordinator, tracker: Tracker) -> SweepView:
        elapsed = time.monotonic() - self._started
        return build_view(
            self._spec, self._plan, coordinator, self._folder, self._capacity.slots, elapsed, tracker.health
        )

    def _result(
        self, journal: Journal, coordinator: Coordinator, sweep_id: str, status: str, ran: float
    ) -> SweepResult:
        before = spent_before(journal.records, journal.epoch)
        wall = time.monotonic() - self._started if ran else 0.0
        slot_seconds = ran * self._capacity.slots
        if ran:
            journal.append(("session_end", {"status": status, "wall_seconds": wall, "slot_seconds": slot_seconds}))
        return build_result(
            self._spec, self._plan, coordinator.trials.values(), self._folder, self._capacity.slots, sweep_id, status,
            wall + before.wall_seconds, slot_seconds + before.slot_seconds,
        )  # fmt: skip

    def _tell_end(self, tracker: Tracker, result: SweepResult, story: str) -> None:
        headline = f"{sum(result.counts.values())} trials"
        if result.winner is not None and result.status == "completed":
            objective = result.winner.objective
            tracker.mark_winner(result.winner.trial_id, f"best {result.objective} ({result.mode}): {objective:.5g}")
            headline = f"won by {result.winner.name}"
        values = {
            f"best/{name.replace('/', '_')}": score
            for name, score in (result.winner.scores if result.winner else {}).items()
        }
        if result.winner is not None and result.winner.objective is not None:
            # Under the objective's own name, so that the sweep sorts beside its trials in the UI.
            values[result.objective] = result.winner.objective
        values |= {f"count/{name}": float(count) for name, count in result.counts.items()}
        values |= {
            "cost/samples_trained": float(result.samples_trained),
            "cost/samples_share_of_exhaustive": result.samples_trained / result.samples_exhaustive,
            "cost/training_seconds": result.training_seconds,
            "cost/utilisation": result.utilisation,
        }
        tracker.log_sweep_metrics(values | certainty_metrics(result), result.samples_trained)
        tracker.set_sweep_tags(certainty_tags(result))
        tracker.describe_sweep(decision_note(result, story), headline)
        tracker.end_sweep(SweepOutcome.COMPLETED if result.status == "completed" else SweepOutcome.INTERRUPTED)
        tracker.flush(FLUSH_SECONDS)

    def _with_tracking(self, result: SweepResult, tracker: Tracker) -> SweepResult:
        if not self._spec.tracking.enabled:
            return result
        uri = self._spec.tracking.uri or default_tracking_uri(self._folder.storage)
        ids = dict(tracker.run_ids)
        trials = tuple(replace(trial, run_id=ids.get(trial.trial_id)) for trial in result.trials)
        by_id = {trial.trial_id: trial for trial in trials}
        return replace(
            result,
            trials=trials,
            winner=None if result.winner is None else by_id[result.winner.trial_id],
            runner_up=None if result.runner_up is None else by_id[result.runner_up.trial_id],
            tracking=TrackingIds(
                uri=uri,
                experiment=self._spec.tracking.experiment or self._spec.name,
                parent_run_id=ids.get("", ""),
                pending_bytes=tracker.health.pending_bytes,
            ),
            ui_command=ui_command(uri, self._folder.storage),
            ui_address=experiment_address(uri if uri.startswith("http") else UI_ADDRESS, tracker.experiment_id),
        )


def _beat(tracker: Tracker) -> Callable[[float], None]:
    """Return what tells MLflow, for those who see no storage, that the driver is alive."""
    return lambda moment: tracker.set_sweep_tags({"orchestrate.beat": f"{moment:.0f}"})


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
        return f"family {METHODS[config.method].family_cohort}"
    return "the sweep"
