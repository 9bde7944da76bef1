"""The driver: builds a Tuner around the coordinator, runs it, and owns the signals while it runs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ray import tune

from orchestrator.coordinating.coordinator import Coordinator
from orchestrator.errors import OrchestratorError
from orchestrator.plugins.loading import blamed
from orchestrator.results.records import SweepView
from orchestrator.spec.sweep import Resources
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tuning.adapters import CoordinatorScheduler, CoordinatorSearcher, CoordinatorStopper
from orchestrator.tuning.own_training.first_failures import FirstFailures
from orchestrator.tuning.ray_internals import treat_lost_results_as_lost_actors
from orchestrator.tuning.trainable import SFTTrainable
from orchestrator.tuning.worker.task import WorkerTask

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
        control: Called on every turn of Tune's loop, to take up what users ask of single trials.
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
        control: Callable[[], None] = lambda: None,
    ) -> None:
        self._coordinator, self._task, self._resources, self._slots = coordinator, task, resources, slots
        self._view, self._observer, self._say, self._control = view, observer, say, control
        self._last_view = 0.0

    def run(self, session: str) -> None:
        """Train until the coordinator has nothing left to do.

        Raises:
            SweepInterruptedError: If the journal cannot be written any more; the sweep resumes.
            PluginError: If a stopping rule or a searcher of the user's own raises; the sweep resumes.
            EntrypointError: If the user's own code turns out to be wrong, EntrypointFailure if it fails from the start.
        """
        treat_lost_results_as_lost_actors()
        with _owned_signals(self._interrupt):
            try:
                self._tuner(session).fit()
            except Exception as error:
                # Tune wraps what its scheduler raises; the user is to see the one line that matters.
                told = next((each for each in _chain(error) if isinstance(each, OrchestratorError)), None)
                told = told or next((found for each in _chain(error) if (found := blamed(each))), None)
                if told is None:
                    raise
                raise told from None

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
                scheduler=CoordinatorScheduler(
                    self._coordinator,
                    folder,
                    self._slots,
                    self._turn,
                    self._say,
                    None if self._task.entrypoint is None else FirstFailures(),
                ),
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
        self._control()
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


def _bundle(resources: Resources) -> dict[str, float]:
    bundle = {"CPU": resources.cpu}
    if resources.gpu:
        bundle["GPU"] = resources.gpu
    if resources.memory_gib:
        bundle["memory"] = resources.memory_gib * 2**30
    return bundle
