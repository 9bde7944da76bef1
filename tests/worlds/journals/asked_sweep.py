"""A sweep whose journal has every kind of record that the driver writes of trials, the same at every run but for its times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.api.run import session_journal
from orchestrator.api.run.extension import Extension
from orchestrator.coordinating.controls import Controls
from orchestrator.records import Outcome, Role, TrialConfig
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import plan_sweep
from orchestrator.storage.capacity import Capacity
from orchestrator.storage.journal import Journal
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.user_actions import ControlAction, leave_action
from tests.worlds.tuning_worlds import SimulatedSweep, Storage, small_spec

ASKED = 1_750_000_000.0


class AskedSweep(SimulatedSweep):
    """A sweep whose user asks for something before every start; every milestone leaves a checkpoint."""

    def __init__(self, storage: Storage, ask: Callable[[AskedSweep], None]) -> None:
        rungs = {"reduction_factor": 2, "quota_per_method": 1, "levels": [0.25]}
        stopping, winner = {"rungs": rungs, "audit": 0.5}, {"repeats": 2, "candidates": 2}
        spec = small_spec(milestones=[0.25, 0.5, 1.0], stopping=stopping, winner=winner)
        super().__init__(spec, storage, slots=2, diverges=_diverges, fails=_fails)
        self.folder = SweepFolder(storage.folder.parent, storage.folder.name)
        self.controls = Controls(self.coordinator, self.journal, self.folder, storage.tracker, lambda text: None, spec)
        self._ask, self._asked = ask, 0

    def ask(self, kind: Any, trial: str, **more: Any) -> None:
        """Leave an action."""
        self._asked += 1
        leave_action(
            self.folder, ControlAction(kind, trial, "ann@laptop", asked=ASKED, action_id=f"a{self._asked}", **more)
        )

    def of(self, outcome: Outcome, role: Role = Role.SEARCH) -> list[str]:
        """Return the ids of the trials that stand so."""
        trials = self.coordinator.trials.values()
        return [each.trial_id for each in trials if each.outcome is outcome and each.role is role]

    def _fill_slots(self) -> None:
        self._ask(self)
        self.controls.take_all()
        self._drop_condemned()
        super()._fill_slots()

    def _finish_one(self) -> None:
        _, _, trial_id, _, index = self._busy[0]
        place = self.folder.checkpoint(trial_id, index)
        place.mkdir(parents=True, exist_ok=True)
        (place / "manifest.json").write_text("{}")
        super()._finish_one()


def _diverges(config: TrialConfig) -> bool:
    return config.learning_rate == 1e-2 and config.effective_batch_size == 8


def _fails(config: TrialConfig) -> bool:
    return config.learning_rate == 1e-2 and config.effective_batch_size == 16


def run_asked_sweep(root: Path) -> Path:
    """Run a sweep in two sessions; returns its journal. Texts name moments in local time, so the zone must be fixed."""
    storage = Storage(root / "tiny")
    SweepFolder(root, "tiny").root.mkdir()
    done: set[str] = set()

    def first(sweep: AskedSweep) -> None:
        stopped = sweep.of(Outcome.STOPPED)
        if stopped and "resume" not in done:
            done.add("resume")
            sweep.ask("resume", stopped[-1])
            sweep.ask("clone", stopped[0], changes=("learning_rate=2e-5", "weight_decay=0.1"))
            sweep.ask("clone", stopped[0], changes=("seed=5",), from_weights=True)
            sweep.ask("stop", "nobody")
            storage.tracker.runs[stopped[0]].tags["orchestrate.action"] = "halt"
        running = sweep.of(Outcome.RUNNING)
        if len(sweep.arrivals) > 5 and running and "stop" not in done:
            done.add("stop")
            sweep.ask("stop", running[0])

    AskedSweep(storage, first).run(until=lambda: "stop" in done and len(storage.reports) > 12)
    AskedSweep(storage, lambda sweep: None).run()
    return storage.journal


def write_sessions(root: Path, patch: pytest.MonkeyPatch) -> Journal:
    """Write what sessions say of a sweep: its beginning, then an extension with other inputs and other repeats."""
    patch.setattr(session_journal, "environment", lambda: {"python": "3.11.7", "packages": {"torch": "2.13.0"}})
    patch.setattr(session_journal, "whoever", lambda: "ann@laptop")
    patch.chdir(root)
    folder = SweepFolder(root, "tiny")
    first = small_spec(
        storage=str(root), milestones=[0.25, 0.5, 1.0], searcher="sobol", budget={"trials": 4, "samples": 64}
    )
    second = small_spec(
        storage=str(root),
        milestones=[0.25, 0.5, 1.0],
        searcher="sobol",
        budget={"trials": 6, "samples": 64},
        stopping={"rungs": {"reduction_factor": 2, "quota_per_method": 1}, "audit": 0.5},
        tracking={"enabled": False},
    )
    journal = Journal(folder.journal)
    for spec, inputs in ((first, {"training data": "0" * 32}), (second, {"training data": "1" * 32})):
        start: Any = _start(spec, folder, inputs)
        session_journal.open_journal(start, journal)
        journal.append(session_journal.session_record(start, Capacity(2.0, 0.0, 2, "auto")))
    return journal


def _start(spec: SweepSpec, folder: SweepFolder, inputs: dict[str, str]) -> SimpleNamespace:
    plan = plan_sweep(spec, 1000)
    return SimpleNamespace(
        spec=spec,
        plan=plan,
        folder=folder,
        content={**spec.content(), "record": False},
        inputs=inputs,
        extension=Extension(plan),
        validation=SimpleNamespace(setup=None),
        entrypoint=None,
    )
