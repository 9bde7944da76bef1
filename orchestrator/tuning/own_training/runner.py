"""One trial trained by the user's code: its reports become milestones, the driver's decisions its answers.

The code waits inside its report of a milestone. `step` answers it to go on; `close` tells it to stop and ends its
process. A trial that pauses therefore keeps its process until its slot is needed for another trial; then it goes on
later from its newest checkpoint or, where the code saves none, from its start: what it reported before is passed over,
and costs its samples again. (Keeping the process beside another trial's would put two trials on one device.)
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from orchestrator.errors import EntrypointError, EntrypointFailure
from orchestrator.integrations.assignment import TrialAssignment
from orchestrator.integrations.checkpoints import Sealed, sealed, usable
from orchestrator.integrations.wire import Message
from orchestrator.records import Decision, Milestone, TrainingSignal, TrialState
from orchestrator.spec.trial.identity import trial_name
from orchestrator.storage.milestone_reports import write_report
from orchestrator.tuning.own_training.process import TrialProcess, tail
from orchestrator.tuning.worker.messages import WorkerConfig
from orchestrator.tuning.worker.runner import MilestoneRunner, StoppedNow, system_values
from orchestrator.tuning.worker.task import WorkerTask


class LostProcess(Exception):
    """The process was killed from outside (for its memory, say); the trial is tried again."""


class OwnTrialRunner(MilestoneRunner):
    """Drives the process of one trial; arguments as in `MilestoneRunner`."""

    def __init__(self, task: WorkerTask, config: WorkerConfig) -> None:
        super().__init__(task, config)
        assert task.entrypoint is not None
        self._entrypoint = task.entrypoint
        self._process: TrialProcess | None = None
        self._signals: list[TrainingSignal] = []
        self._failure = ""
        self._began: float | None = None
        self._seconds = 0.0

    def goes_on_with(self, config: WorkerConfig) -> bool:
        """Whether this is the same trial where this runner stands: it paused, and its process still waits."""
        waits = self._process is not None and self._process.alive
        return waits and (config["trial_id"], config["known_milestones"]) == (self._trial_id, self._next)

    def close(self) -> None:
        """Tell the code to stop, and end its process."""
        if self._process is not None:
            self._process.end(self._entrypoint.grace_seconds)
            self._process = None

    # -- one milestone -----------------------------------------------------------------------------

    def _train_to_milestone(self) -> None:
        process = self._running()
        while (message := self._heard_from(process)) is not None:
            if self._take(process, message):
                return
        self._raise_end(process)

    def _heard_from(self, process: TrialProcess) -> Message | None:
        minutes = self._entrypoint.silent_minutes
        try:
            return process.receive(60 * minutes)
        except TimeoutError:
            raise EntrypointFailure(
                f"{self._entrypoint.label} reported nothing for {minutes:g} minutes (entrypoint.silent_minutes); "
                f"its output stands in {process.log}"
            ) from None

    def _running(self) -> TrialProcess:
        """Return the process with its last report answered: a new one where there is none that waits."""
        if self._process is not None and not self._process.alive:
            self.close()
        if self._process is None:
            self._process = self._started()
        self._process.answer(stop=False)
        return self._process

    def _started(self) -> TrialProcess:
        self._began = time.monotonic()
        self._signals, self._failure = [], ""
        self._prime_watch()
        reported = [self._stored(index) for index in range(self._next)]
        taken = self._taken() if not reported else None
        # What an earlier trial did up to where this one goes on is not counted again.
        known = 0.0 if taken is None else taken.elapsed_seconds
        self._seconds = max((m.signals[-1].elapsed_seconds for m in reported if m.signals), default=known)
        folder = self._task.folder
        assignment = TrialAssignment(
            trial_id=self._trial_id,
            name=trial_name(self._config, self._task.varied),
            sweep=folder.name,
            config=self._config,
            levels=self._levels,
            judged=self._task.judged,
            known_milestones=self._next,
            known_samples=reported[-1].samples_seen if reported else 0,
            known_seconds=self._seconds,
            checkpoints=str(self._checkpoints),
            socket="",
            log=str(folder.trial(self._trial_id) / "output.log"),
            entrypoint=self._entrypoint,
            goes_on_from=0 if taken is None else taken.samples_seen,
        )
        return TrialProcess(assignment, self._task.threads)

    def _taken(self) -> Sealed | None:
        """Return the other trial's checkpoint that this one goes on from."""
        if self._takes != "training":
            return None
        return usable(self._checkpoints, self._levels, known=0, known_samples=0)

    def _take(self, process: TrialProcess, message: Message) -> bool:
        """Take a message and answer it, unless it reached a milestone; returns whether it did."""
        if message["kind"] == "misuse":
            process.answer(stop=True)
            raise EntrypointError(*message["error"])
        if message["kind"] == "failure":
            self._failure = message["error"]
            process.answer(stop=True)
            return False
        halted = self._watched([TrainingSignal(*row) for row in message["signals"]])
        if self._watch.stop_now:
            raise StoppedNow
        if halted is not None:
            self._write_diverged(halted)
            return True
        if message["milestone"] is None:
            process.answer(stop=False)
            return False
        self._write_milestones(message["milestone"])
        if message["milestone"]["indices"][-1] == len(self._levels) - 1:
            self._let_end(process)
        return True

    def _watched(self, signals: list[TrainingSignal]) -> Decision | None:
        for signal in signals:
            self._signals.append(signal)
            halted = self._watch(signal)
            if halted is not None:
                return halted
        return None

    def _let_end(self, process: TrialProcess) -> None:
        """The last milestone is on the disk: let the code run on to its own end, such as saving its model."""
        process.answer(stop=True)
        process.wait(60 * self._entrypoint.silent_minutes)

    def _raise_end(self, process: TrialProcess) -> None:
        """The process ended before the milestone.

        Raises:
            EntrypointFailure: If the code failed.
            EntrypointError: If it returned.
            LostProcess: If it was killed.
        """
        code, self._process = process.exit_code, None
        process.end(0.0)
        if code is not None and code < 0:
            raise LostProcess(f"the trial's process was killed by signal {-code}; its output stands in {process.log}")
        if code:
            said = self._failure or f"it ended with exit code {code}: {tail(process.log)}"
            raise EntrypointFailure(f"{self._entrypoint.label} failed: {said}; its output stands in {process.log}")
        seen, budget = self._samples_seen(), self._config.samples
        where = self._entrypoint.label
        if seen == 0:
            raise EntrypointError(
                where,
                "entrypoint",
                None,
                f"it ended without having reported anything (output: {process.log})",
                "call trial.report, or give your Trainer the callback SweepCallback",
            )
        raise EntrypointError(
            where,
            "samples_seen",
            seen,
            f"it ended before the budget of {budget:,} samples",
            "train until trial.samples are seen, or end with trial.finish(reason)",
        )

    # -- what is written ---------------------------------------------------------------------------

    @property
    def _checkpoints(self) -> Path:
        return self._task.folder.own_checkpoints(self._trial_id)

    def _write_milestones(self, reached: Message) -> None:
        """Write a report for each milestone that was reached; the first takes the signals and the time."""
        seconds = max(0.0, reached["elapsed_seconds"] - self._seconds)
        self._seconds = reached["elapsed_seconds"]
        for index in reached["indices"]:
            first = index == reached["indices"][0]
            final = index == len(self._levels) - 1
            self._write(
                index,
                TrialState.COMPLETED if final else TrialState.RUNNING,
                reached["samples_seen"],
                None,
                tokens_seen=reached["tokens_seen"],
                scores=reached["scores"],
                standard_errors=reached["standard_errors"],
                training_seconds=seconds if first else 0.0,
                evaluation_seconds=reached["evaluation_seconds"] if first else 0.0,
            )

    def _write_diverged(self, halted: Decision) -> None:
        last = self._signals[-1]
        seconds = max(0.0, last.elapsed_seconds - self._seconds)
        self._write(
            self._next,
            TrialState.DIVERGED,
            last.samples_seen,
            halted,
            tokens_seen=last.tokens_seen,
            scores={},
            standard_errors={},
            training_seconds=seconds,
            evaluation_seconds=0.0,
        )

    def _write(self, index: int, state: TrialState, samples_seen: int, halted: Decision | None, **values: Any) -> None:
        signals, self._signals = tuple(self._signals), []
        found = sealed(self._checkpoints)
        checkpoint = str(found[-1].folder.relative_to(self._task.folder.storage)) if found else None
        milestone = Milestone(
            trial_id=self._trial_id,
            index=index,
            level=self._levels[index],
            samples_seen=samples_seen,
            state=state,
            signals=signals,
            setup_seconds=self._setup_seconds(values["training_seconds"] + values["evaluation_seconds"]),
            checkpoint=None if halted else checkpoint,
            system=system_values(),
            node=socket.gethostname(),
            **values,
        )
        self._watch.write()
        write_report(self._task.folder.report(self._trial_id, index), milestone, halted)

    def _setup_seconds(self, worked: float) -> float:
        """Return what of the process's time up to its first milestone was neither training nor evaluation."""
        began, self._began = self._began, None
        return 0.0 if began is None else max(0.0, time.monotonic() - began - worked)

    def _samples_seen(self) -> int:
        if self._signals:
            return self._signals[-1].samples_seen
        return self._stored(self._next - 1).samples_seen if self._next else 0
