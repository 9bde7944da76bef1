"""Sweeps that train by a formula: the coordinator with its real engine, journal and tracker, and no Ray."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.api.plan.policy import make_policy
from orchestrator.coordinating.coordinator import Coordinator
from orchestrator.coordinating.queues import Assignment
from orchestrator.coordinating.searchers.make import make_searcher
from orchestrator.decisions.engine.engine import StoppingEngine
from orchestrator.decisions.objective import Objective
from orchestrator.decisions.rules.divergence import RULE as DIVERGENCE
from orchestrator.decisions.rules.forecast import ForecastRule
from orchestrator.decisions.rules.rule import StoppingRule, SweepOutline
from orchestrator.history.after_search import make_audits_and_repeats
from orchestrator.records import Action, Decision, Milestone, Outcome, TrainingSignal, TrialConfig, TrialState
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.searchers import searcher_kind
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import SweepPlan, plan_sweep
from orchestrator.spec.trial.identity import trial_name
from orchestrator.storage.journal import Journal
from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.tracking.in_memory import MemoryTracker
from orchestrator.tracking.tracker import Tracker, TrialInfo


def small_spec(**changes: Any) -> SweepSpec:
    """Return a small sweep: two methods, twelve configurations, four milestones."""
    values: dict[str, Any] = {
        "name": "tiny",
        "model": "base",
        "data": {"train": "rows.jsonl"},
        "evaluation": [{"name": "eval"}, {"name": "other"}],
        "search_space": {
            "method": {
                "full": {"learning_rate": [1e-5, 3e-5, 1e-4]},
                "lora": {"learning_rate": [1e-4, 1e-3, 1e-2], "r": 8},
            },
            "effective_batch_size": [8, 16],
        },
        "searcher": "grid",
        "budget": {"samples": 64},
        "stopping": {"rungs": {"reduction_factor": 2, "quota_per_method": 1}},
    }
    return parse_sweep({**values, **changes})


def formula_loss(config: TrialConfig, samples: int) -> float:
    """Held-out loss: falls with samples; full beats lora, each is best at its middle rate and at small batches."""
    centre, offset = {"full": (3e-5, 0.0), "lora": (1e-3, 0.02)}[config.method]
    miss = abs(math.log10(config.learning_rate / centre))
    size = 0.05 * math.log2(config.effective_batch_size)
    return 1 + offset + 0.5 * miss + size + 2 / math.log2(samples + 2) + 0.01 * config.seed


class Killed(Exception):
    """The driver's process ends here."""


class MortalJournal(Journal):
    """A journal whose process is killed at its ``lives``-th write: before it or right after it."""

    def __init__(self, path: Path, lives: int | None = None, after: bool = True) -> None:
        super().__init__(path)
        self._lives, self._after = lives, after

    def append(self, *records: JournalRecord) -> None:
        if self._lives is not None:
            self._lives -= 1
            if self._lives <= 0 and not self._after:
                raise Killed
        super().append(*records)
        if self._lives is not None and self._lives <= 0:
            raise Killed


@dataclass
class Storage:
    """What outlives a killed driver: journal file, the workers' reports, and the tracking store."""

    folder: Path
    reports: dict[tuple[str, int], tuple[Milestone, Decision | None]] = field(default_factory=dict)
    trained: Counter[tuple[str, int]] = field(default_factory=Counter)
    tracker: MemoryTracker = field(default_factory=MemoryTracker)

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.folder / "journal.jsonl"


class SimulatedSweep:
    """One session of a sweep on ``slots`` simulated workers, driven as the Ray adapters drive the coordinator.

    Args:
        spec: The sweep.
        storage: What earlier sessions left.
        slots: Workers.
        record: Stop nothing.
        lives: Kill the driver at so many journal writes; None to let it live.
        loss: Score of a configuration at a milestone's level in samples.
        diverges, fails: Which configurations do so at their first milestone.
        duration: Seconds that a configuration's milestone takes; decides who arrives first.
        deadline: Monotonic time as for `Coordinator`.
        forecast: Compare trials by the forecast; while it waits for the last arrival, slots stay idle.
        tracker: Told of everything instead of the storage's.
        further_rules: Stopping rules beside those of the sweep.
    """

    def __init__(
        self,
        spec: SweepSpec,
        storage: Storage,
        *,
        slots: int = 2,
        record: bool = False,
        lives: int | None = None,
        after: bool = True,
        loss: Callable[[TrialConfig, int], float] = formula_loss,
        diverges: Callable[[TrialConfig], bool] = lambda config: False,
        fails: Callable[[TrialConfig], bool] = lambda config: False,
        duration: Callable[[TrialConfig, int], float] = lambda config, samples: 1.0,
        deadline: float | None = None,
        forecast: bool = False,
        tracker: Tracker | None = None,
        further_rules: tuple[StoppingRule, ...] = (),
    ) -> None:
        self.plan: SweepPlan = plan_sweep(spec, 1000)
        self.storage, self.slots, self._loss = storage, slots, loss
        self._diverges, self._fails, self._duration = diverges, fails, duration
        self.clock, self._number = 0.0, 0
        self._busy: list[tuple[float, int, str, TrialConfig, int]] = []
        self._paused: dict[str, Assignment] = {}
        self.started: list[str] = []
        self.arrivals: list[tuple[float, str, int]] = []
        policy = make_policy(spec, self.plan, record)
        rules = (replace(rule, enabled=forecast) if isinstance(rule, ForecastRule) else rule for rule in policy.rules)
        policy = replace(policy, rules=(*rules, *further_rules))
        outline = SweepOutline(self.plan.levels, Objective(spec.objective.metric, spec.objective.mode))
        self.journal = MortalJournal(storage.journal, lives, after)
        self.coordinator = Coordinator(
            engine=StoppingEngine(policy, outline),
            source=make_searcher(spec, self.plan.samples, self.plan.trials),
            journal=self.journal,
            tracker=storage.tracker if tracker is None else tracker,
            planned_trials=self.plan.trials,
            slots=slots,
            cohort_of=lambda config: "all",
            name_of=trial_name,
            trial_info=lambda trial_id, name, config: TrialInfo.of(trial_id, config),
            known_upfront=not searcher_kind(spec.searcher.kind).learns,
            deadline=deadline,
            beside=make_audits_and_repeats(spec),
        )

    def run(self, until: Callable[[], bool] = lambda: False) -> SimulatedSweep:
        """Train until the coordinator has finished, or ``until`` says so after an event."""
        coordinator = self.coordinator
        coordinator.restore()
        while not coordinator.finished and not until():
            self._fill_slots()
            if not self._busy:
                # As in Ray's loop: with nothing running, the next turn must find something to do, or be at the end.
                if coordinator.finished:
                    break
                self._fill_slots()
                assert self._busy or coordinator.finished, f"stuck: {self.outcomes()}"
                continue
            self._finish_one()
        self.journal.close()
        return self

    def _fill_slots(self) -> None:
        coordinator = self.coordinator
        while len(coordinator.running) < self.slots and not coordinator.finished:
            coordinator.settle_idle()
            self._drop_condemned()
            promoted = None if coordinator.halting else coordinator.next_promoted()
            if promoted is not None:
                coordinator.resumed(promoted)
                self._start(self._paused.pop(promoted))
                continue
            assignment = coordinator.next_assignment()
            if assignment is None:
                return
            self.started.append(assignment.trial_id)
            self._start(assignment)

    def _start(self, assignment: Assignment) -> None:
        self._number += 1
        level = self.plan.levels[assignment.known_milestones]
        seconds = self._duration(assignment.config, level)
        entry = (
            self.clock + seconds,
            self._number,
            assignment.trial_id,
            assignment.config,
            assignment.known_milestones,
        )
        heapq.heappush(self._busy, entry)

    def _finish_one(self) -> None:
        self.clock, _, trial_id, config, index = heapq.heappop(self._busy)
        if self._fails(config):
            self.coordinator.fail(trial_id, "its process died repeatedly")
            self._drop_condemned()
            return
        key = (trial_id, index)
        if key not in self.storage.reports:
            self.storage.trained[key] += 1
            self.storage.reports[key] = self._train(trial_id, config, index)
        self.arrivals.append((self.clock, trial_id, index))
        action = self.coordinator.report(*self.storage.reports[key])
        following = Assignment(trial_id, config, index + 1)
        if action is Action.CONTINUE:
            self._start(following)
        elif action is Action.PAUSE:
            self._paused[trial_id] = following
        self._drop_condemned()

    def _drop_condemned(self) -> None:
        while self.coordinator.queues.condemned:
            self._paused.pop(self.coordinator.queues.condemned.popleft(), None)

    def _train(self, trial_id: str, config: TrialConfig, index: int) -> tuple[Milestone, Decision | None]:
        level = self.plan.levels[index]
        seen = min(math.ceil(level / config.effective_batch_size) * config.effective_batch_size, config.samples)
        last = index == len(self.plan.levels) - 1
        state = TrialState.COMPLETED if last else TrialState.RUNNING
        halted = None
        if self._diverges(config):
            state = TrialState.DIVERGED
            halted = Decision(trial_id, seen, Action.STOP, DIVERGENCE, "", "The loss is not a number.")
        scores = {} if halted else {"eval/loss": self._loss(config, level), "other/loss": config.learning_rate}
        signal = TrainingSignal(seen, seen, seen * 9, 2.0, 2.0, 1.0, config.learning_rate, 100.0, float(seen))
        milestone = Milestone(
            trial_id,
            index,
            level,
            seen,
            seen * 9,
            state,
            scores,
            (signal,),
            1.0,
            0.5,
            checkpoint=f"m{index}",
            node="here",
        )
        return milestone, halted

    def outcomes(self) -> dict[str, tuple[Outcome, int]]:
        """Return every trial's outcome and samples seen."""
        return {key: (entry.outcome, entry.samples_seen) for key, entry in self.coordinator.trials.items()}

    def verdicts(self) -> dict[str, tuple[str, Action, int]]:
        """Return the final decision of every trial as rule, action and samples."""
        entries = self.coordinator.trials.values()
        made = ((entry.trial_id, entry.verdict) for entry in entries)
        return {key: (made.rule, made.action, made.samples_seen) for key, made in made if made is not None}
