"""What a worker tells the process that trains a trial with the user's code: one small JSON file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import EntrypointSettings

VARIABLE = "ORCHESTRATE_TRIAL"
"""Environment variable that names the file; it reaches every process that the code starts."""


@dataclass(frozen=True)
class TrialAssignment:
    """One trial as its process needs to know it.

    Args:
        trial_id: The trial.
        name: Its name for people.
        sweep: Name of the sweep.
        config: Its configuration.
        levels: All milestones in samples; the last is the budget.
        judged: Metrics that every milestone must report.
        known_milestones: How many milestones were reported before this process began.
        known_samples: Samples seen at the last of them.
        known_seconds: Training seconds up to it.
        checkpoints: Folder for the trial's checkpoints.
        socket: Where the worker listens.
        log: File that takes what the code prints.
        entrypoint: The code.
        goes_on_from: Samples of the other trial's checkpoint from which this one was made to go on; 0: it was not.
    """

    trial_id: str
    name: str
    sweep: str
    config: TrialConfig
    levels: tuple[int, ...]
    judged: tuple[str, ...]
    known_milestones: int
    known_samples: int
    known_seconds: float
    checkpoints: str
    socket: str
    log: str
    entrypoint: EntrypointSettings
    goes_on_from: int = 0

    @property
    def where(self) -> str:
        """The code as messages name it."""
        return self.entrypoint.label

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps({**asdict(self), "config": self.config.as_dict()}), encoding="utf-8")

    def listening_at(self, socket: Path) -> TrialAssignment:
        """Return the assignment with the worker's socket."""
        return replace(self, socket=str(socket))


def read_assignment(path: Path) -> TrialAssignment:
    """Return what `TrialAssignment.write` wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    values["config"] = TrialConfig.from_dict(values["config"])
    values["entrypoint"] = EntrypointSettings(**values["entrypoint"])
    values["levels"], values["judged"] = tuple(values["levels"]), tuple(values["judged"])
    return TrialAssignment(**values)


def assignment_of_environment() -> TrialAssignment | None:
    """Return the assignment of the trial that this process trains; None outside of a sweep."""
    place = os.environ.get(VARIABLE)
    return read_assignment(Path(place)) if place else None
