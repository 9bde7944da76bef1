"""One trial inside a worker, milestone by milestone; who trains it is left to subclasses."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

import psutil

from orchestrator.errors import EntrypointError, OrchestratorError
from orchestrator.plugins.loading import blaming
from orchestrator.records import Milestone, TrialConfig
from orchestrator.storage.milestone_reports import read_report
from orchestrator.storage.sweep_folder import is_disk_full
from orchestrator.tuning.worker.messages import Misuse, StepResult, WorkerConfig
from orchestrator.tuning.worker.task import WorkerTask
from orchestrator.tuning.worker.watch import SignalWatch


class StoppedNow(Exception):
    """A user stopped the trial between two milestones; what it did since the last one is not kept."""


class MilestoneRunner(ABC):
    """From the first milestone that the driver does not know to the trial's end.

    Args:
        task: What is the same for all trials.
        config: The trial.
    """

    def __init__(self, task: WorkerTask, config: WorkerConfig) -> None:
        self._task = task
        self._trial_id: str = config["trial_id"]
        self._config = TrialConfig.from_dict(config["trial"])
        self._next = int(config["known_milestones"])
        self._takes: str = config.get("takes", "")
        self._levels: tuple[int, ...] = tuple(config.get("levels") or task.levels)
        self._watch = SignalWatch(self._trial_id, self._config.samples, task)

    def step(self) -> StepResult:
        """Return the next milestone's small result; a failure is a result too, so that its reason is kept."""
        stored = self._task.folder.report(self._trial_id, self._next)
        try:
            if not stored.exists():
                with blaming():
                    self._train_to_milestone()
        except StoppedNow:
            self._task.folder.stop_sign(self._trial_id).unlink(missing_ok=True)
            return self._answer(-1, stopped=True)
        except EntrypointError as error:
            parts = (error.where, error.field, error.value, error.rule, error.mend)
            return self._answer(-1, failure=str(error), misuse=parts)
        except OrchestratorError as error:
            return self._answer(-1, failure=f"{type(error).__name__}: {error}")
        except OSError as error:
            if not is_disk_full(error):
                raise
            return self._answer(-1, halt=f"The disk of {self._task.folder.storage} is full ({error})")
        self._next += 1
        return self._answer(self._next - 1)

    def goes_on_with(self, config: WorkerConfig) -> bool:
        """Whether this runner may go on with what Tune hands to its worker, instead of a new one."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Free what the trial holds."""

    @abstractmethod
    def _train_to_milestone(self) -> None:
        """Train until the report of milestone ``self._next`` is on the disk."""

    def _answer(
        self, milestone: int, failure: str = "", halt: str = "", stopped: bool = False, misuse: Misuse | None = None
    ) -> StepResult:
        return {
            "trial": self._trial_id,
            "milestone": milestone,
            "failure": failure,
            "halt": halt,
            "stopped": stopped,
            "misuse": misuse,
        }

    def _stored(self, index: int) -> Milestone:
        return read_report(self._task.folder.report(self._trial_id, index))[0]

    def _prime_watch(self) -> None:
        """Show the watch what the trial did before, so that a resumed trial is judged as an uninterrupted one."""
        for index in range(self._next):
            for signal in self._stored(index).signals:
                self._watch.recall(signal)


def system_values() -> dict[str, float]:
    """Return what the worker's machine and process look like now."""
    process = psutil.Process(os.getpid())
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(interval=None),
        "process_memory_megabytes": process.memory_info().rss / 1e6,
    }
