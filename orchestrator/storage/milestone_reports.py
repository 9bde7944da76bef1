"""Milestone reports as files: how a worker hands a milestone to the driver.

Results that travel through Ray must stay tiny (a result above 100 KiB whose node dies ends the whole
sweep), so a step returns only the milestone's index and the signals travel through the storage. The same
file makes milestones repeatable: a worker whose checkpoint is ahead of the driver's journal (the driver
was killed in between) returns the stored report instead of training again.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

from orchestrator.records import Decision, Milestone, TrainingSignal, TrialState

_SIGNAL_FIELDS = [field.name for field in fields(TrainingSignal)]


def write_report(path: Path, milestone: Milestone, halted: Decision | None) -> None:
    """Write a milestone, and the decision that halted the trial inside the worker, atomically."""
    values = asdict(milestone)
    values["signals"] = [list(astuple(signal)) for signal in milestone.signals]
    values["signal_fields"] = _SIGNAL_FIELDS
    values["halted"] = None if halted is None else asdict(halted)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    with draft.open("w") as file:
        json.dump(values, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_report(path: Path) -> tuple[Milestone, Decision | None]:
    """Return what `write_report` wrote."""
    values: dict[str, Any] = json.loads(path.read_text())
    names = values.pop("signal_fields")
    values["signals"] = tuple(TrainingSignal(**dict(zip(names, row, strict=True))) for row in values["signals"])
    values["state"] = TrialState(values["state"])
    halted = values.pop("halted")
    return Milestone(**values), None if halted is None else Decision.from_dict(halted)
