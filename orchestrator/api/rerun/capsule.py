"""The capsule of a trial: what was recorded of the run that trained it, and in what this machine differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.history.journal_state import JournalState
from orchestrator.results.environment import package_versions
from orchestrator.storage.journal_records.sessions import SessionRecord
from orchestrator.storage.journal_records.trials import MilestoneRecord

Agreement = Literal["same", "differs", "unknown"]


@dataclass(frozen=True)
class CapsuleLine:
    """One thing that a result depends on, as recorded and as it is here."""

    what: str
    agreement: Agreement
    before: str
    now: str


@dataclass(frozen=True)
class Capsule:
    """What was recorded when a trial was trained.

    Args:
        environment: Versions, code and machine; empty where an older version recorded none.
        threads: CPU threads that the trial had.
        inputs: Digests of training data and base model.
        evaluation: Digests of the evaluation sets by name.
        folder: Folder in which the sweep was run, empty if unknown.
        several: Whether sessions with different environments trained the trial.
    """

    environment: Mapping[str, object]
    threads: int
    inputs: Mapping[str, str]
    evaluation: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    several: bool = False


def read_capsule(state: JournalState, trial_id: str) -> Capsule:
    """Return the capsule of a trial, of the session that trained its last milestone."""
    epochs = [record.epoch for record in state.records.of(MilestoneRecord) if record.trial == trial_id]
    sessions = {record.epoch: record for record in state.records.of(SessionRecord)}
    used = [sessions[epoch] for epoch in dict.fromkeys(epochs) if epoch in sessions]
    last = used[-1] if used else state.session
    environments = [session.environment for session in used]
    return Capsule(
        environment=last.environment or {},
        threads=max(1, int((last.resources or {}).get("cpu", 1))),
        inputs=state.first.inputs,
        evaluation=last.evaluation or {},
        folder=last.folder,
        several=any(each != environments[0] for each in environments[1:]),
    )


def compare_environment(before: Mapping[str, object], now: Mapping[str, object]) -> list[CapsuleLine]:
    """Compare versions, code and machine."""
    lines = [
        _line("code", before.get("code"), now.get("code")),
        _line("git commit", _commit(before), _commit(now)),
        _line("python", before.get("python"), now.get("python")),
        _line("machine", before.get("machine"), now.get("machine")),
        _line("host", before.get("host"), now.get("host")),
    ]
    old, new = package_versions(before), package_versions(now)
    return lines + [_line(name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])]


def compare_digests(what: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[CapsuleLine]:
    """Compare digests by name."""
    return [_line(f"{what}{name}", before.get(name), now[name]) for name in now]


def _commit(environment: Mapping[str, object]) -> str | None:
    commit = environment.get("git_commit")
    return f"{commit}{' with uncommitted changes' if environment.get('git_dirty') else ''}" if commit else None


def _line(what: str, before: object, now: object) -> CapsuleLine:
    old, new = ("" if value is None else str(value) for value in (before, now))
    agreement: Agreement = "unknown" if not old or not new else "same" if old == new else "differs"
    return CapsuleLine(what, agreement, old, new)
