"""Discrete-event simulation: N workers train the trials of a recorded sweep under a scheduler and a simulated clock.

A trial trains level by level. Its worker is free again when the scheduler pauses or stops it, or when it ends.
Free workers take promoted trials first, then fresh ones in the given order, as production does.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from orchestrator.decisions.final.winner import Candidate, select_winner
from orchestrator.decisions.objective import Objective
from orchestrator.decisions.rules.rule import StepRule
from orchestrator.records import Action, Decision, Outcome
from orchestrator.simulation.engine.scheduler import Arrival, Problem, Scheduler
from orchestrator.simulation.engine.trial_course import Courses, LazySignals, Station, courses_of
from orchestrator.simulation.recorded.sweep import RecordedSweep


@dataclass(frozen=True)
class Clock:
    """What simulated time is made of; training seconds come from each recorded trial's own speed.

    Args:
        workers: Trials that train at once.
        startup_seconds: Cost of putting a trial on a worker, fresh or resumed.
        evaluation_seconds: Cost of one evaluation.

    Raises:
        ValueError: If there is no worker, or a cost is negative.
    """

    workers: int = 1
    startup_seconds: float = 0.0
    evaluation_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        if not (self.startup_seconds >= 0 and self.evaluation_seconds >= 0):
            raise ValueError(f"costs must be at least 0 seconds, got {self}")


@runtime_checkable
class HaltsInWorker(Protocol):
    """A scheduler whose workers check every optimizer step, as production's do.

    The simulator ends a trial at the step at which ``worker_rule`` halts it; `halted` is called just before
    the arrival that reports it.
    """

    @property
    def worker_rule(self) -> StepRule | None:
        """What workers check; None when nothing."""
        ...

    def halted(self, decision: Decision) -> None:
        """Take the decision that halted a trial inside its worker."""
        ...


@dataclass(frozen=True, slots=True)
class TimedAction:
    """One decision: simulated seconds since the start, trial, its samples then, and what it does from now on."""

    seconds: float
    trial_id: str
    samples_seen: int
    action: Action


@dataclass(frozen=True)
class Replay:
    """One simulated run.

    Attributes:
        scheduler: Name of the rule.
        samples_trained: Trial id -> samples that were trained (0 = never started).
        outcomes: Trial id -> how it ended; `Outcome.STOPPED` also where it was never started or left paused.
        decisions: In the order of their making; a completed or diverged trial's last report is none.
        makespan_seconds: Simulated time until the last worker was done.
        chosen: The trial that the rule (or, if it has no opinion, the best that went farthest) chose; None
            when no trial has a finite result.
    """

    scheduler: str
    samples_trained: Mapping[str, int]
    outcomes: Mapping[str, Outcome]
    decisions: tuple[TimedAction, ...]
    makespan_seconds: float
    chosen: str | None

    @property
    def samples_total(self) -> int:
        """Samples trained over all trials."""
        return sum(self.samples_trained.values())


def simulate(
    sweep: RecordedSweep, scheduler: Scheduler, objective: Objective, clock: Clock, order: Sequence[str], seed: int
) -> Replay:
    """Run a recorded sweep under a scheduler.

    Args:
        sweep: The trials.
        scheduler: The rule; told to begin anew.
        objective: What best means.
        clock: Workers and costs.
        order: All trial ids in the order in which they start.
        seed: For schedulers that draw at random.

    Raises:
        ValueError: If ``order`` is no permutation of the trials, or the scheduler judges a trial that neither
            pauses nor waits for its start.
    """
    if sorted(order) != sorted(trial.trial for trial in sweep.trials):
        raise ValueError(f"order must name each of the {len(sweep.trials)} trials of {sweep.name} once")
    facts = tuple(sweep.trial(trial_id).facts for trial_id in order)
    problem = Problem(sweep.levels, objective, facts, clock.workers, seed, sweep.epochs)
    return _Run(courses_of(sweep), scheduler, problem, clock).run()


class _Run:
    """The state of one simulated run."""

    def __init__(self, courses: Courses, scheduler: Scheduler, problem: Problem, clock: Clock) -> None:
        self._courses, self._scheduler, self._problem, self._clock = courses, scheduler, problem, clock
        self._rule = scheduler.worker_rule if isinstance(scheduler, HaltsInWorker) else None
        self._fresh = dict.fromkeys(facts.trial_id for facts in problem.trials)
        self._promoted: dict[str, None] = {}
        self._paused: dict[str, None] = {}
        self._last: dict[str, Station] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._decisions: list[TimedAction] = []
        self._events: list[tuple[float, int, str, Station]] = []
        self._idle, self._pushed, self._now = clock.workers, 0, 0.0

    def run(self) -> Replay:
        self._scheduler.begin(self._problem)
        self._fill()
        while self._events:
            self._now, _, trial_id, station = heapq.heappop(self._events)
            self._arrive(trial_id, station)
            self._fill()
        ids = [facts.trial_id for facts in self._problem.trials]
        return Replay(
            scheduler=self._scheduler.name,
            samples_trained={trial: self._last[trial].samples_seen if trial in self._last else 0 for trial in ids},
            outcomes={trial: self._outcomes.get(trial, Outcome.STOPPED) for trial in ids},
            decisions=tuple(self._decisions),
            makespan_seconds=self._now,
            chosen=self._scheduler.winner() or self._best(),
        )

    # -- workers ---------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Put trials on free workers; ends when there is none left to start and the scheduler has no more to say."""
        while self._idle:
            spoke = self._settle()
            queue = self._promoted or self._fresh
            if queue:
                trial_id = next(iter(queue))
                del queue[trial_id]
                self._idle -= 1
                self._advance(trial_id, self._clock.startup_seconds)
            elif not spoke:
                return

    def _advance(self, trial_id: str, startup_seconds: float) -> None:
        """Send a trial to its next station."""
        last = self._last.get(trial_id)
        station = self._stations(trial_id)[0 if last is None else last.level_index + 1]
        seconds = startup_seconds + station.seconds - (last.seconds if last else 0.0)
        if not station.diverged:
            seconds += self._clock.evaluation_seconds
        self._pushed += 1
        heapq.heappush(self._events, (self._now + seconds, self._pushed, trial_id, station))

    def _stations(self, trial_id: str) -> tuple[Station, ...]:
        halt = None if self._rule is None else self._courses.halt(trial_id, self._rule)
        return self._courses.stations[trial_id] if halt is None else self._courses.halted_stations(trial_id, halt)

    def _arrive(self, trial_id: str, station: Station) -> None:
        action = self._report(trial_id, station)
        self._last[trial_id] = station
        if station.completed or station.diverged:
            self._outcomes[trial_id] = Outcome.COMPLETED if station.completed else Outcome.DIVERGED
        else:
            self._note(trial_id, action)
        goes_on = trial_id not in self._outcomes and action is Action.CONTINUE
        if trial_id not in self._outcomes and action is Action.PAUSE:
            self._paused[trial_id] = None
        self._idle += not goes_on
        self._settle()
        if trial_id in self._promoted:
            # Promoted by the very settling that its own arrival allowed: it does not leave its worker.
            del self._promoted[trial_id]
            self._idle, goes_on = self._idle - 1, True
        if goes_on:
            self._advance(trial_id, 0.0)

    # -- the scheduler ---------------------------------------------------------------------------

    def _report(self, trial_id: str, station: Station) -> Action:
        if station.diverged and self._rule is not None and isinstance(self._scheduler, HaltsInWorker):
            halt = self._courses.halt(trial_id, self._rule)
            if halt is not None:
                self._scheduler.halted(halt)
        last = self._last.get(trial_id)
        signals = LazySignals(self._courses.trials[trial_id], last.samples_seen if last else -1, station.samples_seen)
        return self._scheduler.arrive(
            Arrival(
                trial_id,
                station.level_index,
                station.samples_seen,
                station.scores,
                signals,
                station.seconds,
                station.completed,
                station.diverged,
            )
        )

    def _settle(self) -> bool:
        """Carry out verdicts on trials that pause or have not started; returns whether there were any."""
        verdicts = self._scheduler.settle(self._idle, len(self._fresh) + len(self._promoted))
        for trial_id, action in verdicts:
            if action is Action.STOP and trial_id in self._fresh:
                del self._fresh[trial_id]
            elif trial_id in self._paused and action is not Action.PAUSE:
                del self._paused[trial_id]
            else:
                raise ValueError(
                    f"{self._scheduler.name} answers {action} for trial {trial_id}, which does not wait for it"
                )
            self._note(trial_id, action)
            if action is Action.CONTINUE:
                self._promoted[trial_id] = None
        return bool(verdicts)

    def _note(self, trial_id: str, action: Action) -> None:
        samples = self._last[trial_id].samples_seen if trial_id in self._last else 0
        self._decisions.append(TimedAction(self._now, trial_id, samples, action))
        if action is Action.STOP:
            self._outcomes[trial_id] = Outcome.STOPPED

    def _best(self) -> str | None:
        """Return the best of the trials that went farthest and did not diverge."""
        levels = self._problem.levels
        candidates = (
            Candidate(trial_id, levels[-1] if station.completed else levels[station.level_index], station.scores)
            for trial_id, station in self._last.items()
            if not station.diverged
        )
        selection = select_winner(candidates, self._problem.objective)
        return None if selection is None else selection.winner.trial_id
