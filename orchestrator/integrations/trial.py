"""The trial object: what training code of the user's own sees of a sweep."""

from __future__ import annotations

import atexit
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import NoReturn

from orchestrator.errors import EntrypointError, nearest
from orchestrator.integrations.assignment import TrialAssignment, assignment_of_environment
from orchestrator.integrations.checkpoints import Sealed, SignalRow, usable, written
from orchestrator.integrations.hyperparameters import Hyperparameters
from orchestrator.integrations.milestone_clock import MilestoneClock
from orchestrator.integrations.stopwatch import Stopwatch
from orchestrator.integrations.wire import Line, Silence, TrialEnded
from orchestrator.records import TrainingSignal

SEND_EVERY_SECONDS = 0.2


class Trial(Hyperparameters):
    """One trial of a sweep, as its training code sees it.

    The code reads its configuration, reports after optimizer steps, and returns when it is told to stop. At a
    milestone `report` waits until the sweep has decided on the trial, so nothing is trained in vain.

    Args:
        assignment: What the worker says of the trial.
    """

    def __init__(self, assignment: TrialAssignment) -> None:
        super().__init__(assignment)
        self._line: Line | Silence = Line(assignment.socket)
        self._clock = MilestoneClock(
            assignment.where, assignment.levels, self.effective_batch_size, assignment.known_milestones
        )
        self._unsent: list[SignalRow] = []
        self._pending: list[SignalRow] = []
        self._scores: dict[str, float] = {}
        self._errors: dict[str, float] = {}
        self._stop = False
        self._last_signal = assignment.known_samples
        self._tokens = 0
        self._throughput_from = (0, 0.0) if assignment.known_milestones == 0 else None
        self._stopwatch = Stopwatch(assignment.known_seconds)
        self._sent = time.monotonic()

    # -- where it stands -------------------------------------------------------------------------------

    @property
    def milestones(self) -> tuple[int, ...]:
        """Milestones in samples seen; the last is the budget."""
        return self._assignment.levels

    @property
    def next_milestone(self) -> int | None:
        """The next milestone in samples; None after the last."""
        return self._clock.next_milestone

    @property
    def samples_seen(self) -> int:
        """Samples seen as last reported, or those of the checkpoint that `latest_checkpoint` returned."""
        return self._clock.position

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that every milestone must report: those of the objective and its constraints."""
        return self._assignment.judged

    def reaches_milestone(self, samples_seen: int) -> bool:
        """Whether a report of so many samples reaches a milestone: evaluate and save a checkpoint before it."""
        return self._clock.reaches(samples_seen)

    def should_stop(self) -> bool:
        """Whether the code should return now: the sweep has stopped the trial, it pauses, or it has diverged."""
        return self._stop

    # -- reports ---------------------------------------------------------------------------------------

    def report(
        self,
        *,
        samples_seen: int,
        loss: float | None = None,
        grad_norm: float | None = None,
        learning_rate: float | None = None,
        total_loss: float | None = None,
        tokens_seen: int | None = None,
        step: int | None = None,
        scores: Mapping[str, float] | None = None,
        standard_errors: Mapping[str, float] | None = None,
        evaluation_seconds: float = 0.0,
    ) -> None:
        """Say how far the trial is; at a milestone, wait until the sweep has decided on it.

        Report after every optimizer step, or as often as you know the loss. The report that reaches a milestone brings
        ``scores``: ask `reaches_milestone` first. Samples that an earlier process of this trial reported are passed over.

        Args:
            samples_seen: Samples trained on since the start of the trial, over all epochs.
            loss: Training loss over the samples since the last report, in nats where that has a meaning.
            grad_norm: L2 norm of the gradient before clipping; without it no rule looks at the norm.
            learning_rate: Learning rate of the step; default: the scheduled one.
            total_loss: Loss with auxiliary terms, where it differs.
            tokens_seen: Tokens trained on since the start.
            step: Optimizer steps since the start; default: from the samples.
            scores: Evaluations, metric to value.
            standard_errors: Their standard errors, where known.
            evaluation_seconds: Time since the last report that went into evaluation.

        Raises:
            EntrypointError: If the samples fall or skip a milestone, a value is no number, or a milestone lacks a metric
                of the objective.
            TrialEnded: If the code goes on after `should_stop` was true.
        """
        if self._stop:
            self._line.close()
            raise TrialEnded
        with self._telling_misuse():
            self._check_start(samples_seen)
            self._note_scores(samples_seen, scores, standard_errors)
            before = self.samples_seen
            reached = self._clock.advance(samples_seen)
            self._stopwatch.lap(self.samples_seen - before, evaluation_seconds, settle=bool(reached))
            self._tokens = self._tokens if tokens_seen is None else int(tokens_seen)
            self._note_signal(loss, total_loss, grad_norm, learning_rate, step)
            if reached:
                self._check_scores()
        self._send(reached)

    def finish(self, reason: str, scores: Mapping[str, float] | None = None) -> None:
        """End the trial before its budget, on purpose; its scores stand for the milestones that are left.

        Args:
            reason: Why, for the log.
            scores: Evaluations as in `report`; default: those of the last report.

        Raises:
            EntrypointError: If a metric of the objective is missing.
        """
        with self._telling_misuse():
            self._note_scores(self.samples_seen, scores, None)
            self._check_scores()
        print(f"Ends after {self.samples_seen:,} of {self.samples:,} samples: {reason}", flush=True)
        self._send(self._clock.finish())
        self._stop = True

    def listen_only(self) -> None:
        """Report nothing from this process: of several that train one trial, the first alone speaks for it."""
        self._line = Silence()

    def refuse(self, field: str, value: object, rule: str, mend: str = "") -> NoReturn:
        """End the trial because its code is wrong; while no trial has reached a milestone, that ends the sweep.

        Args:
            field: What is wrong.
            value: Its value.
            rule: What must hold, as a clause.
            mend: What to do.

        Raises:
            EntrypointError: Always, with the code's name.
        """
        with self._telling_misuse():
            raise EntrypointError(self._assignment.where, field, value, rule, mend)

    def close(self) -> None:
        """Send what is not sent yet, and hang up; done for you when the process ends."""
        with suppress(TrialEnded):
            if self._unsent and not self._stop:
                self._send((), now=True)
        self._line.close()

    # -- checkpoints -----------------------------------------------------------------------------------

    def checkpoint_dir(self) -> Path:
        """Return the trial's own folder for checkpoints and other files; it is there and outlasts the process."""
        folder = Path(self._assignment.checkpoints)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def save_checkpoint(self, samples_seen: int) -> Iterator[Path]:
        """Give an empty folder to fill, as a context; what it holds at the end is the newest checkpoint, whole or not at all.

        Save where `reaches_milestone` says so, before the report, and as often in between as you like. The two newest
        are kept.

        Args:
            samples_seen: Position that the checkpoint holds, as in the report that follows.
        """
        root = self.checkpoint_dir()
        sealed_as = self.sealed_as(root / f"samples-{samples_seen:012d}", samples_seen)
        with self._stopwatch.paused(), written(root, sealed_as) as folder:
            yield folder

    def latest_checkpoint(self) -> Path | None:
        """Return the folder of the newest complete checkpoint to go on from; None where the trial starts.

        Without checkpoints a trial that was paused or killed is trained again from its start, and what it reported
        before is passed over.
        """
        assignment = self._assignment
        found = usable(self.checkpoint_dir(), assignment.levels, assignment.known_milestones, assignment.known_samples)
        if found is None:
            return None
        self._clock.start_at(found.samples_seen)
        rows = [row for row in found.signals if row[1] > assignment.known_samples]
        self._unsent, self._pending = list(rows), list(rows)
        self._stopwatch.elapsed_seconds = max(self._stopwatch.elapsed_seconds, found.elapsed_seconds)
        self._last_signal = max(self._last_signal, found.samples_seen)
        self._throughput_from = None
        return found.folder

    def sealed_as(self, folder: Path, samples_seen: int) -> Sealed:
        """Return what a checkpoint in ``folder`` would be marked with; for code that writes checkpoints itself."""
        return Sealed(folder, samples_seen, self._stopwatch.elapsed_seconds, tuple(self._pending))

    # -- inside ----------------------------------------------------------------------------------------

    def _note_scores(
        self, samples_seen: int, scores: Mapping[str, float] | None, errors: Mapping[str, float] | None
    ) -> None:
        if samples_seen != self.samples_seen:
            self._scores, self._errors = {}, {}
        self._scores |= {name: self._number(name, value) for name, value in (scores or {}).items()}
        self._errors |= {name: self._number(name, value) for name, value in (errors or {}).items()}

    def _check_start(self, samples_seen: int) -> None:
        """Raise where code begins anew a trial that was made to go on from another one's checkpoint."""
        start = self._assignment.goes_on_from
        if start and self.samples_seen < start:
            raise EntrypointError(
                self._assignment.where,
                "samples_seen",
                samples_seen,
                f"this trial goes on from the checkpoint of another one at {start:,} samples",
                "begin from trial.latest_checkpoint()",
            )

    def _check_scores(self) -> None:
        missing = next((name for name in self.metrics if name not in self._scores), None)
        if missing is not None:
            given = ", ".join(self._scores) or "none"
            raise EntrypointError(
                self._assignment.where,
                "scores",
                None,
                f"the milestone at {self.samples_seen:,} samples was reported without '{missing}', by which the sweep judges "
                f"(reported: {given})",
                nearest(missing, self._scores) or "evaluate where trial.reaches_milestone(samples_seen) says so",
            )

    def _note_signal(
        self,
        loss: float | None,
        total_loss: float | None,
        grad_norm: float | None,
        learning_rate: float | None,
        step: int | None,
    ) -> None:
        seen = self.samples_seen
        if loss is None or seen <= self._last_signal:
            return
        value = self._number("loss", loss)
        step = math.ceil(seen / self.effective_batch_size) if step is None else int(step)
        rate = self.learning_rate_at(max(0, min(step, self.steps) - 1)) if learning_rate is None else learning_rate
        signal = TrainingSignal(
            step=step,
            samples_seen=seen,
            tokens_seen=self._tokens,
            loss=value,
            total_loss=value if total_loss is None else self._number("total_loss", total_loss),
            grad_norm=0.0 if grad_norm is None else self._number("grad_norm", grad_norm),
            learning_rate=self._number("learning_rate", rate),
            tokens_per_second=self._throughput(),
            elapsed_seconds=self._stopwatch.elapsed_seconds,
        )
        self._last_signal = seen
        row = list(astuple(signal))
        self._unsent.append(row)
        self._pending.append(row)

    def _throughput(self) -> float:
        """Return tokens per second since the last signal; 0 right after a checkpoint, whose tokens nobody reported here."""
        now = self._stopwatch.elapsed_seconds
        before, self._throughput_from = self._throughput_from, (self._tokens, now)
        if before is None or now <= before[1]:
            return 0.0
        return max(0, self._tokens - before[0]) / (now - before[1])

    def _number(self, name: str, value: float) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise EntrypointError(self._assignment.where, name, value, "must be a number") from None

    def _send(self, reached: tuple[int, ...], now: bool = False) -> None:
        if not reached and not now and time.monotonic() - self._sent < SEND_EVERY_SECONDS:
            return
        milestone = (
            None
            if not reached
            else {
                "indices": list(reached),
                "samples_seen": self.samples_seen,
                "tokens_seen": self._tokens,
                "scores": self._scores,
                "standard_errors": self._errors,
                "evaluation_seconds": self._stopwatch.evaluation_seconds,
                "elapsed_seconds": self._stopwatch.elapsed_seconds,
            }
        )
        with self._stopwatch.paused():  # the wait for a decision is nobody's training time
            answer = self._line.ask({"kind": "report", "signals": self._unsent, "milestone": milestone})
        self._unsent, self._stop = [], bool(answer["stop"])
        self._sent = time.monotonic()
        if reached:
            self._pending, self._stopwatch.evaluation_seconds = [], 0.0

    @contextmanager
    def _telling_misuse(self) -> Iterator[None]:
        """Tell the worker what is wrong with the code before the code hears it, as it may not tell anybody."""
        try:
            yield
        except EntrypointError as error:
            value = None if error.value is None else str(error.value)
            self._line.ask({"kind": "misuse", "error": [error.where, error.field, value, error.rule, error.mend]})
            raise


def current_trial() -> Trial | None:
    """Return the trial that this process trains; None outside of a sweep, where a script runs as it always did."""
    assignment = assignment_of_environment()
    if assignment is None:
        return None
    trial = Trial(assignment)
    atexit.register(trial.close)
    return trial
