"""The part of Ray Tune's controller that its schedulers call, without a cluster.

The trials are real `ray.tune.experiment.Trial` objects (``stub=True``: no trainable, no storage). What
`TuneController` of Ray 2.60 does around a scheduler is repeated here call for call: `add_trial`,
`_process_trial_result`, `stop_trial`, `_process_trial_failure`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from orchestrator.records import Action

METRIC = "objective"
TIME = "samples_seen"


class TuneTrial(Protocol):
    """What of Tune's trials is needed."""

    PENDING: str
    RUNNING: str
    PAUSED: str
    TERMINATED: str
    ERROR: str
    trial_id: str
    status: str

    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""

    def set_status(self, status: str) -> None:
        """Change its status."""


class Bracket(Protocol):
    """What of a bracket of Tune's synchronous HyperBand is needed."""

    trials_to_unpause: Collection[TuneTrial]

    def current_trials(self) -> Sequence[TuneTrial]:
        """Return the trials that are still in it."""

    def cur_iter_done(self) -> bool:
        """Whether all of them have reached the rung."""


class TuneController:
    """Holds trials and their status, passes events on to one of Tune's schedulers.

    Attributes:
        stopped: Ids of paused trials that the scheduler has stopped and nobody has asked for yet.
    """

    def __init__(self, scheduler: Any) -> None:
        self.stopped: list[str] = []
        self._scheduler = scheduler
        self._trials: dict[str, TuneTrial] = {}
        self._last_result: dict[str, dict[str, object]] = {}
        self._trained_out: set[str] = set()
        self._paused: set[str] = set()

    # -- what the schedulers call ----------------------------------------------------------------

    def get_trials(self) -> list[TuneTrial]:
        """Return all trials in the order in which they were added."""
        return list(self._trials.values())

    def get_live_trials(self) -> list[TuneTrial]:
        """Return the trials that have not ended."""
        return [trial for trial in self._trials.values() if not trial.is_finished()]

    def stop_trial(self, trial: TuneTrial) -> None:
        """End a trial as Tune does: a running one completes, any other is removed."""
        if trial.is_finished():
            return
        if trial.status == trial.RUNNING:
            self._scheduler.on_trial_complete(self, trial, self._last_result[trial.trial_id])
        else:
            self._scheduler.on_trial_remove(self, trial)
            if trial.trial_id not in self._trained_out:
                self.stopped.append(trial.trial_id)
        self._set_status(trial, trial.TERMINATED)

    # -- what happens to trials ------------------------------------------------------------------

    def add(self, trial_id: str) -> None:
        """Add a trial that waits for a worker."""
        from ray.tune.experiment import Trial

        trial: TuneTrial = Trial("replay", trial_id=trial_id, stub=True)
        self._trials[trial_id] = trial
        self._scheduler.on_trial_add(self, trial)

    def start(self, trial_id: str) -> bool:
        """Note that a trial has got a worker; returns whether it was waiting for its first."""
        trial = self._trials[trial_id]
        first = bool(trial.status == trial.PENDING)
        self._set_status(trial, trial.RUNNING)
        return first

    def report(self, trial_id: str, time: float, value: float, trained_out: bool) -> Action:
        """Pass a result on and return what the trial does now.

        Args:
            trial_id: A running trial.
            time: The scheduler's time.
            value: The objective.
            trained_out: There is nothing left to train. A trial that is paused here still counts as paused
                for the scheduler, as in Tune, where it would end as soon as it is resumed.
        """
        trial = self._trials[trial_id]
        result = self._last_result[trial_id] = {TIME: time, METRIC: value, "trial_id": trial_id}
        decision = self._scheduler.on_trial_result(self, trial, result)
        if trained_out:
            self._trained_out.add(trial_id)
        if decision == self._scheduler.PAUSE:
            self._set_status(trial, trial.PAUSED)
        elif decision == self._scheduler.STOP or trained_out:
            self.stop_trial(trial)
        return Action(decision)

    def fail(self, trial_id: str) -> None:
        """End a running trial with an error."""
        trial = self._trials[trial_id]
        self._scheduler.on_trial_error(self, trial)
        self._set_status(trial, trial.ERROR)

    def paused_trial_to_run(self) -> str | None:
        """Return the paused trial that the scheduler gives the next worker to, None when it prefers a new one or none."""
        while self._paused:
            trial = self._scheduler.choose_trial_to_run(self)
            if trial is None or trial.status == trial.PENDING:
                return None
            if trial.trial_id not in self._trained_out:
                return str(trial.trial_id)
            self._set_status(trial, trial.RUNNING)
            self.stop_trial(trial)
        return None

    def process_stalled_brackets(self) -> None:
        """Halve the brackets of Tune's synchronous HyperBand in which nothing trains, or could, until that changes.

        A bracket halves when a result arrives. Where the survivors stand beyond the next rung already, or the
        last running trial ended with an error after the first halving, no result will ever come and Tune
        waits for good. Its own `HyperBandForBOHB.choose_trial_to_run` makes this same call then.
        """
        for band in getattr(self._scheduler, "_hyperbands", ()) if self._paused else ():
            for bracket in filter(None, band):
                while _is_stalled(bracket):
                    self._scheduler._process_bracket(self, bracket)

    def _set_status(self, trial: TuneTrial, status: str) -> None:
        trial.set_status(status)
        if status == trial.PAUSED:
            self._paused.add(trial.trial_id)
        else:
            self._paused.discard(trial.trial_id)


def _is_stalled(bracket: Bracket) -> bool:
    trials = bracket.current_trials()
    if not trials or bracket.trials_to_unpause or any(trial.status != trial.PAUSED for trial in trials):
        return False
    return bool(bracket.cur_iter_done())
