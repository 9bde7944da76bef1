"""Ray Tune's interfaces, spoken by the coordinator: a Searcher, a TrialScheduler and a Stopper that only translate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from orchestrator.coordinating.coordinator import Coordinator
from orchestrator.records import Action
from orchestrator.storage.milestone_reports import read_report
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tuning.own_training.first_failures import FirstFailures
from orchestrator.tuning.ray_internals import keep_workers_warm, set_trial_config
from orchestrator.tuning.worker.messages import StepResult, WorkerConfig


class _NotPickled:
    """Tune pickles its searcher, scheduler and stopper into files that are never read back here.

    The coordinator holds an open journal and threads, so it stays out; the journal is what a sweep restarts from.
    """

    def __getstate__(self) -> dict[str, object]:
        return {}


class TuneController(Protocol):
    """What the scheduler asks of Tune's controller."""

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Give a running trial's slot away."""

    def stop_trial(self, trial: Trial) -> None:
        """End a trial for good."""


_TUNE_ACTION = {Action.CONTINUE: TrialScheduler.CONTINUE, Action.STOP: TrialScheduler.STOP}


class CoordinatorSearcher(_NotPickled, Searcher):  # type: ignore[misc]
    """Suggests the coordinator's next assignment; waits while there is none, ends when the sweep has ended."""

    def __init__(self, coordinator: Coordinator, slots: int) -> None:
        super().__init__(metric="milestone", mode="max")
        self._coordinator, self._slots = coordinator, slots

    def suggest(self, trial_id: str) -> WorkerConfig | str | None:
        """Return a trial's small config, None to be asked again, or FINISHED."""
        coordinator = self._coordinator
        if coordinator.finished:
            finished: str = Searcher.FINISHED
            return finished
        # Assignments are handed out only to free slots: a trial that waits in Ray's queue could neither be
        # overtaken by a promoted one nor be counted as not yet begun.
        if len(coordinator.running) >= self._slots or coordinator.next_promoted() is not None:
            return None
        assignment = coordinator.next_assignment()
        if assignment is None:
            return None
        return {
            "trial_id": assignment.trial_id,
            "trial": assignment.config.as_dict(),
            "known_milestones": assignment.known_milestones,
            "takes": assignment.takes,
            "levels": list(assignment.levels),
        }

    def on_trial_complete(self, trial_id: str, result: Mapping[str, object] | None = None, error: bool = False) -> None:
        """The coordinator has heard it from the scheduler."""

    def save(self, checkpoint_path: str) -> None:
        """The journal holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """The journal holds the state."""


class CoordinatorScheduler(_NotPickled, TrialScheduler):  # type: ignore[misc]
    """Hands milestones to the coordinator and carries out what it decides.

    Args:
        coordinator: Decides.
        folder: Where workers leave their reports.
        slots: Workers to keep warm.
        on_turn: Called on every turn of Tune's loop (display, control).
        say: Prints a line for the user.
        first_failures: Ends the sweep where the user's own code turns out to be wrong; None for built-in training.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        folder: SweepFolder,
        slots: int,
        on_turn: Callable[[], None],
        say: Callable[[str], None],
        first_failures: FirstFailures | None = None,
    ) -> None:
        super().__init__()
        self._first_failures = first_failures
        self._coordinator, self._folder, self._slots, self._on_turn = coordinator, folder, slots, on_turn
        self._say = say
        self._tune_trials: dict[str, Trial] = {}
        self._warm = False

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Remember Tune's trial by our id; at the first one, ask Tune to keep its workers."""
        self._tune_trials[trial.config["trial_id"]] = trial
        if not self._warm:
            keep_workers_warm(tune_controller, trial.placement_group_factory, self._slots)
            self._warm = True

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Tune has given a trial up: its process died too often. Tune also calls this when it only starts it again."""
        if trial.status == Trial.ERROR:  # so marked by Tune just before it queues the trial again
            return
        error = trial.get_error()
        self._coordinator.fail(trial.config["trial_id"], f"it failed repeatedly, at last with {_cause(error)}")

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: StepResult) -> str:
        """Read the milestone's report, ask the coordinator, and translate its answer."""
        trial_id = result["trial"]
        if result["halt"]:
            self._say(f"{result['halt']}; the sweep stops and goes on with the same command.")
            self._coordinator.save_and_halt(trial_id)
            end: str = TrialScheduler.STOP
            return end
        if result["stopped"]:
            self._coordinator.stopped_now(trial_id)
            gone: str = TrialScheduler.STOP
            return gone
        if result["failure"]:
            if self._first_failures is not None:
                self._first_failures.take(result, begun=any(e.milestones for e in self._coordinator.trials.values()))
            self._coordinator.fail(trial_id, result["failure"])
            stop: str = TrialScheduler.STOP
            return stop
        milestone, halted = read_report(self._folder.report(trial_id, result["milestone"]))
        action = self._coordinator.report(milestone, halted)
        self._stop_condemned(tune_controller)
        if action is not Action.PAUSE:
            answer: str = _TUNE_ACTION[action]
            return answer
        # The worker has saved the trial already, so the pause needs no checkpoint of Tune's.
        set_trial_config(trial, "known_milestones", milestone.index + 1)
        tune_controller.pause_trial(trial, should_checkpoint=False)
        nothing: str = TrialScheduler.NOOP
        return nothing

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: Mapping[str, object]) -> None:
        """The coordinator has decided this itself."""

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """The coordinator has decided this itself."""

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """Return a promoted trial while a slot is free; called on every turn of Tune's loop."""
        self._on_turn()
        # A user may have ended paused trials.
        self._stop_condemned(tune_controller)
        coordinator = self._coordinator
        if coordinator.halting:
            return None
        if len(coordinator.running) < self._slots:
            coordinator.settle_idle()
            self._stop_condemned(tune_controller)
            trial_id = coordinator.next_promoted()
            if trial_id is not None and self._tune_trials[trial_id].status == Trial.PAUSED:
                coordinator.resumed(trial_id)
                return self._tune_trials[trial_id]
        return None

    def debug_string(self) -> str:
        """Return a name for Tune's own status texts."""
        return "coordinated by the orchestrator"

    def _stop_condemned(self, tune_controller: TuneController) -> None:
        while self._coordinator.queues.condemned:
            trial = self._tune_trials.get(self._coordinator.queues.condemned.popleft())
            if trial is not None and trial.status == Trial.PAUSED:
                tune_controller.stop_trial(trial)


class CoordinatorStopper(_NotPickled, tune.Stopper):  # type: ignore[misc]
    """Ends the experiment once the coordinator has nothing left to do in this process."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    def __call__(self, trial_id: str, result: Mapping[str, object]) -> bool:
        """Single trials are never stopped here."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep (or this session of it) has ended."""
        return self._coordinator.finished


def _cause(error: Exception | None) -> str:
    """Return type and first line of what went wrong; Ray wraps a worker's exception in one with a traceback."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() if cause is not None else []
    return f"{type(cause).__name__}: {lines[0][:300]}" if lines else type(cause).__name__
