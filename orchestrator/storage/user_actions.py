"""What users ask of a sweep's trials, as files in its folder: no port is opened, and any machine that sees the storage can ask.

A command leaves an action as a file; the driver takes it up within a second or two, journals it as ``action`` with what
became of it, and removes the file. The journal is the answer, so an action is carried out once whatever is killed when.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from orchestrator.storage.journal_records.users import ActionRecord, ActionState
from orchestrator.storage.sweep_folder import SweepFolder

ActionKind = Literal["stop", "resume", "clone"]
KINDS: tuple[ActionKind, ...] = ("stop", "resume", "clone")


@dataclass(frozen=True)
class ControlAction:
    """One thing that a user asks of one trial.

    Args:
        kind: What is to be done.
        trial: Trial id.
        who: Who asks, and by which way (``ann@laptop``, ``a tag in MLflow``).
        now: Stop between two milestones; what was trained since the last one is lost.
        changes: Of a clone: ``field=value`` texts.
        from_weights: Of a clone: start from its parent's newest weights.
        asked: Unix time.
        action_id: Names it in the journal.
    """

    kind: ActionKind
    trial: str
    who: str
    now: bool = False
    changes: tuple[str, ...] = ()
    from_weights: bool = False
    asked: float = field(default_factory=time.time)
    action_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def record(self, state: ActionState, answer: str, made: str = "") -> ActionRecord:
        """Return the action and what became of it (``done``, ``accepted`` or ``refused``) as the journal holds it."""
        return ActionRecord(id=self.action_id, asked=asdict(self), state=state, answer=answer, made=made)


def whoever() -> str:
    """Return who runs this process, and where."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without an entry for its user
        name = str(os.getuid())
    return f"{name}@{platform.node()}"


def leave_action(folder: SweepFolder, action: ControlAction) -> None:
    """Write an action where the sweep's driver, or the next one, finds it.

    Raises:
        OSError: If the folder cannot be written.
    """
    folder.actions.mkdir(exist_ok=True)
    file = folder.actions / f"{int(action.asked * 1000):015d}-{action.action_id}.json"
    draft = file.with_suffix(".tmp")
    with draft.open("w") as stream:
        json.dump(asdict(action), stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def waiting_actions(folder: SweepFolder) -> list[ControlAction]:
    """Return the actions that no driver has taken up, in the order in which they were asked; unreadable ones are left out."""
    found = []
    for file in sorted(folder.actions.glob("*.json")):
        try:
            found.append(action_from(json.loads(file.read_text())))
        except (OSError, ValueError, TypeError):
            continue
    return found


def forget_action(folder: SweepFolder, action_id: str) -> None:
    """Remove an action's file; it stands in the journal."""
    for file in folder.actions.glob(f"*-{action_id}.json"):
        file.unlink(missing_ok=True)


def action_from(values: Mapping[str, Any]) -> ControlAction:
    """Rebuild an action from its dictionary form.

    Raises:
        TypeError: If fields are missing or unknown.
        ValueError: If its kind is unknown.
    """
    if values.get("kind") not in KINDS:
        raise ValueError(f"an action is one of {', '.join(KINDS)}, got {values.get('kind')!r}")
    return ControlAction(**{**values, "changes": tuple(values.get("changes", ()))})
