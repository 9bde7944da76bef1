"""A sweep of the user's own code that was really trained, milestone by milestone, but by no driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.history.journal_facts import FILE
from orchestrator.spec.loading import load_sweep
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import plan_sweep
from orchestrator.storage.journal import Journal
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tracking.provenance import environment
from orchestrator.tuning.own_training.inspect_entrypoint import inspect_entrypoint
from orchestrator.tuning.worker.task import WorkerTask
from tests.worlds.driverless import Driverless
from tests.worlds.journals.lines import as_record

SWEEP = """
name: mine
entrypoint: script.py:train
search_space: {effective_batch_size: 8, learning_rate: 0.1, params: {quality: [0.5, 0.9]}}
searcher: grid
budget: {samples: 64}
milestones: [0.5, 1.0]
"""
CODE = """
import json

def train(trial):
    folder = trial.latest_checkpoint()
    loss = 2.0 if folder is None else json.loads((folder / "loss.json").read_text())
    while trial.samples_seen < trial.samples:
        seen = trial.samples_seen + trial.effective_batch_size
        loss *= 1 - 0.1 * trial.params["quality"]
        scores = None
        if trial.reaches_milestone(seen):
            scores = {"eval/loss": loss}
            with trial.save_checkpoint(seen) as folder:
                (folder / "loss.json").write_text(json.dumps(loss))
                (folder / "more").mkdir()
                (folder / "more" / "words.txt").write_text("a")
        trial.report(samples_seen=seen, loss=loss, grad_norm=loss, scores=scores)
        if trial.should_stop():
            return
"""


def write_project(folder: Path, code: str = CODE, sweep: str = SWEEP) -> SweepSpec:
    """Write a sweep file and its code into a folder, whose ``runs`` is the storage."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "script.py").write_text(code)
    (folder / "mine.yaml").write_text(sweep)
    return load_sweep(folder / "mine.yaml", [f"storage={folder / 'runs'}"])


class OwnDriverless(Driverless):
    """Trains trials with the entrypoint of a sweep and journals them.

    Args:
        spec: The sweep.
        levels: Its milestones in samples; default: as planned.
    """

    def __init__(self, spec: SweepSpec, levels: Sequence[int] = ()) -> None:
        assert spec.entrypoint is not None
        plan = plan_sweep(spec, None)
        plan = replace(plan, levels=tuple(levels) or plan.levels)
        report = inspect_entrypoint(spec.entrypoint, "sweep file")
        self.folder = SweepFolder(Path(spec.storage), spec.name)
        self.journal = Journal(self.folder.journal)
        found = replace(spec.entrypoint, folder=report.folder)
        self._task = WorkerTask(
            spec.trial_setup,
            "",
            self.folder,
            plan.levels,
            None,
            threads=1,
            entrypoint=found,
            judged=spec.judged_metrics,
            varied=spec.search_space.varied,
        )
        inputs = {f"{FILE}{name}": value for name, value in report.files.items()}
        content = {**spec.content(), "record": False}
        self.journal.append(
            as_record("sweep", {"sweep_id": "5" * 16, "content": content, "inputs": inputs, "plan": asdict(plan)})
        )
        session: dict[str, Any] = {
            "slots": 1,
            "cpus": 1.0,
            "resources": {"cpu": 1.0},
            "environment": environment(),
            "folder": report.folder,
            "storage": str(self.folder.storage.resolve()),
            "entrypoint": asdict(found),
            "evaluation": {},
            "tracking": None,
        }
        self.journal.append(as_record("session", session))
