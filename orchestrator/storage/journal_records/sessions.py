"""Records of sessions: where a sweep was trained and with what, how long, and which runs MLflow has of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.storage.journal_records.base import JournalRecord


@dataclass(frozen=True, kw_only=True)
class SessionRecord(JournalRecord):
    """A session has begun to train.

    Args:
        slots: Trials at once.
        cpus: CPUs of the cluster.
        resources: The sweep file's ``resources``.
        cluster: Its cluster profile.
        environment: See `provenance.environment`.
        folder: The folder in which the command was called.
        storage: The storage folder.
        entrypoint: The user's own training code; None without.
        evaluation: Digests of the evaluation sets by name.
        tracking: ``uri`` and ``experiment``; None where the sweep is not tracked, empty where older versions do not say.
    """

    slots: int = 0
    cpus: float = 0.0
    resources: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    storage: str = ""
    entrypoint: Mapping[str, Any] | None = None
    evaluation: Mapping[str, str] = field(default_factory=dict)
    tracking: Mapping[str, str] | None = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SessionEndRecord(JournalRecord):
    """A session has ended, ``completed`` or ``interrupted``, after so many seconds on the clock and of its slots."""

    status: str
    wall_seconds: float
    slot_seconds: float


@dataclass(frozen=True, kw_only=True)
class TrackingRecord(JournalRecord):
    """MLflow's run ids by trial id, that of the sweep under the empty string, and the id of the experiment."""

    run_ids: Mapping[str, str]
    experiment_id: str = ""


NO_SESSION = SessionRecord(epoch=-1)
"""Stands for the session of a sweep that has not begun to train."""
