"""A sweep that was really trained, milestone by milestone, but by no driver: its storage is as one would have left it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.records import Action, Decision, Outcome, Role, TrialConfig
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.trial.identity import digest, trial_fingerprint, trial_name
from orchestrator.storage.journal import Journal
from orchestrator.storage.milestone_reports import read_report
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import milestone_record
from orchestrator.tracking.provenance import environment
from orchestrator.training.model.load import find_model, weights_digest
from orchestrator.training.setup.inspect import inspect_setup
from orchestrator.tuning.detached.scoring import detached_sets, without_detached
from orchestrator.tuning.trainable import WorkerTask, make_runner
from tests.worlds.journals.lines import as_record


def write_rows(file: Path) -> Path:
    """Write 48 questions with one-word answers."""
    rows = [{"prompt": f"w{n % 30} w{n % 7}", "completion": f"w{n % 17}"} for n in range(48)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def tiny_spec(base: Path, rows: Path, storage: Path, **changes: Any) -> SweepSpec:
    """Return a sweep on a tiny base model."""
    values = {
        "name": "tiny",
        "model": str(base),
        "data": {"train": str(rows), "held_out": 12},
        "search_space": {
            "method": {"full": {"learning_rate": [1e-3, 3e-3]}, "lora": {"r": 4, "learning_rate": 1e-2}},
            "effective_batch_size": 8,
        },
        "searcher": "grid",
        "budget": {"samples": 32},
        "milestones": [0.5, 1.0],
        "storage": str(storage),
    }
    return parse_sweep({**values, **changes})


class Driverless:
    """Trains trials of a sweep and journals them.

    Args:
        spec: The sweep.
        levels: Its milestones in samples.
    """

    def __init__(self, spec: SweepSpec, levels: Sequence[int] = (16, 32)) -> None:
        self.folder = SweepFolder(Path(spec.storage), spec.name)
        self.journal = Journal(self.folder.journal)
        setup = without_detached(spec.trial_setup)
        self._task = WorkerTask(
            setup,
            digest(asdict(setup)),
            self.folder,
            tuple(levels),
            None,
            threads=1,
            device="cpu",
            keep_weights=any(entry.when == "milestones" for entry in detached_sets(spec.trial_setup)),
        )
        report = inspect_setup(spec.trial_setup, self.folder.cache)
        inputs = {"training data": report.train_digest, "base model": weights_digest(find_model(spec.model), None)}
        plan = {"trials": 3, "samples": levels[-1], "levels": list(levels), "rung_indices": []}
        content = {**spec.content(), "record": False}
        self.journal.append(
            as_record("sweep", {"sweep_id": "5" * 16, "content": content, "inputs": inputs, "plan": plan})
        )
        session = {
            "slots": 1,
            "cpus": 1.0,
            "resources": {"cpu": 1.0},
            "environment": environment(),
            "folder": str(Path.cwd()),
            "storage": str(self.folder.storage.resolve()),
            "evaluation": {entry.name: entry.digest for entry in report.evaluation},
            "tracking": None,
        }
        self.journal.append(as_record("session", session))

    def train(self, config: TrialConfig, milestones: int = 2, outcome: Outcome = Outcome.COMPLETED) -> str:
        """Train a trial through some milestones; returns its id."""
        trial_id, name = trial_fingerprint(config), trial_name(config)
        self.journal.append(as_record("trial", {"trial": trial_id, "name": name, "config": config.as_dict()}))
        runner = make_runner(self._task, {"trial_id": trial_id, "trial": config.as_dict(), "known_milestones": 0})
        for index in range(milestones):
            assert runner.step()["failure"] == ""
            milestone, _ = read_report(self.folder.report(trial_id, index))
            stops = outcome is Outcome.STOPPED and index == milestones - 1
            action = Action.STOP if stops else Action.CONTINUE
            decision = Decision(trial_id, milestone.samples_seen, action, "rungs", "the sweep", "a | reason <b>")
            self.journal.append(milestone_record(milestone, Role.SEARCH, {}, decision))
        runner.close()
        return trial_id

    def end(self, status: str = "completed") -> SweepFolder:
        """End the session."""
        self.journal.append(as_record("session_end", {"status": status, "wall_seconds": 4.0, "slot_seconds": 4.0}))
        self.journal.close()
        return self.folder


def config(method: str, learning_rate: float, **options: Any) -> TrialConfig:
    """Return a configuration of the tiny sweep."""
    return TrialConfig(method, 8, learning_rate, 32, method_options=options)
