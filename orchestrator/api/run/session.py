"""One session of a sweep: everything between a connected Ray and the result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from orchestrator.api.report.report import report_at_end
from orchestrator.api.run.session_journal import open_journal, session_record
from orchestrator.api.run.session_parts import make_coordinator, make_detached, make_task
from orchestrator.api.run.session_start import SessionStart
from orchestrator.api.run.session_tracking import FLUSH_SECONDS, session_tracker, tell_end, with_tracking
from orchestrator.coordinating.clones import take_checkpoint
from orchestrator.coordinating.controls import Controls
from orchestrator.coordinating.coordinator import Coordinator
from orchestrator.errors import EntrypointError, EntrypointFailure
from orchestrator.history.build_result import build_result, build_view
from orchestrator.history.journal_facts import spent_before
from orchestrator.plugins.loading import blaming
from orchestrator.results.records import SweepResult, SweepView
from orchestrator.storage.capacity import Capacity
from orchestrator.storage.driver_presence import driving
from orchestrator.storage.journal import Journal
from orchestrator.storage.journal_records.sessions import SessionEndRecord, TrackingRecord
from orchestrator.storage.journal_records.sweeps import SweepRecord
from orchestrator.storage.user_actions import leave_action
from orchestrator.tracking.tracker import SweepOutcome, Tracker
from orchestrator.tuning.detached.scoring import DetachedScoring
from orchestrator.tuning.driver import Driver
from orchestrator.tuning.own_training.kept import take_own_checkpoint


class Session:
    """One session of a sweep.

    Args:
        start: What is known before Ray is there.
        capacity: What Ray offers.
        idle: A complete sweep is only told again: there is no Ray on which anything that is asked now could be trained.
    """

    def __init__(self, start: SessionStart, capacity: Capacity, idle: bool = False) -> None:
        self._start, self._capacity, self._idle = start, capacity, idle

    def run(self, observer: Callable[[SweepView], None] | None) -> SweepResult:
        """Train what is open, write the report and tell MLflow; returns the result.

        Raises:
            PluginError: If code of the user's own raises in this process; the sweep resumes.
        """
        with blaming():
            return self._train(observer)

    def _train(self, observer: Callable[[SweepView], None] | None) -> SweepResult:
        start = self._start
        journal = Journal(start.folder.journal)
        sweep_id = open_journal(start, journal)
        first = next(journal.records.of(SweepRecord))
        with session_tracker(start, first) as tracker, driving(journal.path, journal.epoch, _beat(tracker)):
            coordinator = make_coordinator(start, journal, tracker, self._capacity.slots)
            coordinator.restore()
            self._extend(coordinator)
            controls = Controls(coordinator, journal, start.folder, tracker, start.say, start.spec)
            if not self._idle:
                controls.take_all()
            self._greet(coordinator)
            task = make_task(start)
            detached = make_detached(start, task.folder, coordinator, tracker)
            driver = Driver(
                coordinator,
                task,
                start.spec.resources,
                self._capacity.slots,
                lambda: self._view(coordinator, tracker),
                observer,
                start.say,
                lambda: _turn(controls, detached),
            )
            try:
                status, ran = self._drive(driver, coordinator, journal)
                if (ran or (not self._idle and detached.waiting)) and not coordinator.stopping:
                    self._finish(detached)
            except (EntrypointError, EntrypointFailure):
                tracker.end_sweep(SweepOutcome.FAILED)
                tracker.flush(FLUSH_SECONDS)
                raise
            result = self._result(journal, coordinator, sweep_id, status, ran)
            report = report_at_end(start.folder, with_tracking(start, result, tracker), tracker, start.say)
            result = replace(result, report=report.page)
            tell_end(tracker, result, report.story)
            if tracker.run_ids:
                journal.append(TrackingRecord(run_ids=dict(tracker.run_ids), experiment_id=tracker.experiment_id))
        journal.close()
        return with_tracking(start, result, tracker)

    def _extend(self, coordinator: Coordinator) -> None:
        """Add what was asked for besides the trials of the search."""
        folder, extension = self._start.folder, self._start.extension
        for added in extension.added:
            assert added.origin is not None, "it trains another trial on"
            parent = coordinator.trials[added.origin.trial_id]
            take = take_checkpoint if self._start.spec.entrypoint is None else take_own_checkpoint
            take(folder, parent, added.trial)
            coordinator.add_by_user(added)
        for action in extension.actions:
            leave_action(folder, action)

    def _drive(self, driver: Driver, coordinator: Coordinator, journal: Journal) -> tuple[str, float]:
        """Train; returns the status and the seconds in which trials could run."""
        if coordinator.finished:
            return "completed", 0.0
        journal.append(session_record(self._start, self._capacity))
        began = time.monotonic()
        try:
            driver.run(f"session-{journal.epoch:04d}")
        except KeyboardInterrupt:
            self._start.say("Stopped now; trials go on from their last milestone when the same command runs again.")
        if coordinator.out_of_time and coordinator.open_trials:
            self._start.say("budget.wall_minutes is spent; the same command goes on from here.")
        return "interrupted" if coordinator.open_trials else "completed", time.monotonic() - began

    def _finish(self, detached: DetachedScoring) -> None:
        try:
            detached.finish()
        except KeyboardInterrupt:
            folder = self._start.folder
            command = f"'orchestrate evaluate {folder.root} --all'"
            mend = "the same command" if folder.milestones_waiting else command
            self._start.say(f"Stopped now; {mend} computes the scores that are missing.")

    def _greet(self, coordinator: Coordinator) -> None:
        done = sum(entry.outcome.is_final for entry in coordinator.trials.values())
        resumed = (
            f"; resuming, {done} trials are done already"
            if any(e.milestones for e in coordinator.trials.values())
            else ""
        )
        self._start.say(
            f"Sweep {self._start.spec.name}: {self._start.plan.trials} trials of {self._start.plan.samples:,} samples on "
            f"{self._capacity.slots} slots{resumed}. Journal: {self._start.folder.journal}"
        )

    def _view(self, coordinator: Coordinator, tracker: Tracker) -> SweepView:
        start, elapsed = self._start, time.monotonic() - self._start.started
        return build_view(
            start.spec, start.plan, coordinator, start.folder, self._capacity.slots, elapsed, tracker.health
        )

    def _result(
        self, journal: Journal, coordinator: Coordinator, sweep_id: str, status: str, ran: float
    ) -> SweepResult:
        start, before = self._start, spent_before(journal.records, journal.epoch)
        wall = time.monotonic() - start.started if ran else 0.0
        slot_seconds = ran * self._capacity.slots
        if ran:
            journal.append(SessionEndRecord(status=status, wall_seconds=wall, slot_seconds=slot_seconds))
        return build_result(
            start.spec,
            start.plan,
            coordinator.trials.values(),
            start.folder,
            self._capacity.slots,
            sweep_id,
            status,
            wall + before.wall_seconds,
            slot_seconds + before.slot_seconds,
        )


def _turn(controls: Controls, detached: DetachedScoring) -> None:
    controls.turn()
    detached.turn()


def _beat(tracker: Tracker) -> Callable[[float], None]:
    """Return what tells MLflow, for those who see no storage, that the driver is alive."""
    return lambda moment: tracker.set_sweep_tags({"orchestrate.beat": f"{moment:.0f}"})
