"""The driver: builds a Tuner around the coordinator, runs it, and owns the signals while it runs."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray import tune

from orchestrator.errors import SweepInterruptedError
from orchestrator.records import Outcome
from orchestrator.results import SweepView, TrialView
from orchestrator.spec.sweep import Resources
from orchestrator.tuning.adapters import CoordinatorScheduler, CoordinatorSearcher, CoordinatorStopper
from orchestrator.tuning.coordinator import Coordinator
from orchestrator.tuning.entries import TrialEntry
from orchestrator.tuning.layout import SweepFolder
from orchestrator.tuning.ray_internals import treat_lost_results_as_lost_actors
from orchestrator.tuning.trainable import SFTTrainable, WorkerTask

VIEW_EVERY_SECONDS = 0.5
MAX_PROCESS_FAILURES = 2


class Driver:
    """Runs one session of a sweep on a connected Ray.

    Args:
        coordinator: The sweep's state, already restored.
        task: What workers need.
        resources: What one trial takes.
        slots: Trials at once.
        view: Builds a snapshot for the display from the driver's elapsed seconds.
        observer: Receives snapshots; must return quickly.
        say: Prints a line for the user.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        task: WorkerTask,
        resources: Resources,
        slots: int,
        view: Callable[[], SweepView],
        observer: Callable[[SweepView], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self._coordinator, self._task, self._resources, self._slots = coordinator, task, resources, slots
        self._view, self._observer, self._say = view, observer, say
        self._last_view = 0.0

    def run(self, session: str) -> None:
        """Train until the coordinator has nothing left to do.

        Raises:
            SweepInterruptedError: If the journal cannot be written any more; the sweep resumes.
        """
        treat_lost_results_as_lost_actors()
        with _owned_signals(self._interrupt):
            try:
                self._tuner(session).fit()
            except Exception as error:
                # Tune wraps what its scheduler raises; the user is to see the one line that matters.
                interruption = next((each for each in _chain(error) if isinstance(each, SweepInterruptedError)), None)
                if interruption is None:
                    raise
                raise interruption from None

    def _tuner(self, session: str) -> tune.Tuner:
        trainable = tune.with_resources(
            tune.with_parameters(SFTTrainable, task=self._task),
            tune.PlacementGroupFactory([_bundle(self._resources)]),
        )
        folder: SweepFolder = self._task.folder
        folder.ray.mkdir(parents=True, exist_ok=True)
        return tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=CoordinatorSearcher(self._coordinator, self._slots),
                scheduler=CoordinatorScheduler(self._coordinator, folder, self._slots, self._turn, self._say),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name=session,
                storage_path=str(folder.ray.resolve()),
                stop=CoordinatorStopper(self._coordinator),
                failure_config=tune.FailureConfig(max_failures=MAX_PROCESS_FAILURES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
                verbose=0,
            ),
        )

    def _turn(self) -> None:
        now = time.monotonic()
        if self._observer is not None and now - self._last_view >= VIEW_EVERY_SECONDS:
            self._last_view = now
            self._observer(self._view())

    def _interrupt(self, count: int) -> None:
        if count == 1:
            self._coordinator.stopping = True
            self._say("Stopping: the running trials finish their milestone and are saved. Ctrl-C again stops now.")
            return
        raise KeyboardInterrupt


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, or while handling which."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def _owned_signals(interrupt: Callable[[int], None]) -> Iterator[None]:
    """Route SIGINT and SIGTERM to ``interrupt`` with a running count; only the main thread may do so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        interrupt(count)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def running_view(entry: TrialEntry, folder: SweepFolder, objective: float | None) -> TrialView:
    """Return a trial's line of the live table, with what its worker last wrote about its progress."""
    progress = _read_progress(folder, entry.trial_id) if entry.outcome is Outcome.RUNNING else {}
    last = entry.last_signal
    return TrialView(
        name=entry.name,
        outcome=entry.outcome,
        samples_seen=max(entry.samples_seen, int(progress.get("samples_seen", 0))),
        samples=entry.config.samples,
        loss=progress.get("loss", last.loss if last else None),
        grad_norm=progress.get("grad_norm", last.grad_norm if last else None),
        objective=objective,
        tokens_per_second=progress.get("tokens_per_second", last.tokens_per_second if last else None),
        expected=entry.forecast.get("expected_final"),
        probability_best=entry.forecast.get("probability_best"),
    )


def _read_progress(folder: SweepFolder, trial_id: str) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(folder.progress(trial_id).read_text())
    except (OSError, ValueError):
        return {}
    return values


def _bundle(resources: Resources) -> dict[str, float]:
    bundle = {"CPU": resources.cpu}
    if resources.gpu:
        bundle["GPU"] = resources.gpu
    if resources.memory_gib:
        bundle["memory"] = resources.memory_gib * 2**30
    return bundle
