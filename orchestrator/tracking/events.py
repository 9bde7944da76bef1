"""What travels from a tracker through the outbox to a sink: few, primitive, idempotent changes of runs."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.errors import OrchestratorError

SWEEP = ""
"""Run key of the sweep itself; every other run key is a trial id."""


class EventKind(enum.StrEnum):
    """What is changed.

    Bodies: OPEN ``{name, params, tags, datasets, experiment}``; METRICS ``{series: {key: [[step...], [ms...],
    [value...]]}}``; TAGS ``{tags, name?, experiment?}``; CLOSE ``{status, tags, name?}``; TEXT ``{path, text}``;
    FILE ``{folder, file}``. ``experiment`` holds tags of the experiment itself.
    """

    OPEN = "open"
    METRICS = "metrics"
    TAGS = "tags"
    CLOSE = "close"
    TEXT = "text"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one run.

    Args:
        kind: What is changed.
        run: Trial id, or `SWEEP`.
        timestamp_ms: When it happened (wall clock); redelivery writes the same rows because of it.
        body: See `EventKind`; JSON values (NaN allowed).
        keys: Idempotency keys; known keys are never emitted again.
    """

    kind: EventKind
    run: str
    timestamp_ms: int
    body: Mapping[str, Any]
    keys: tuple[str, ...] = field(default=())


class SinkError(OrchestratorError):
    """A sink could not take events.

    Args:
        message: What went wrong.
        permanent: True when the same events would be refused again, False when a retry may succeed.
    """

    def __init__(self, message: str, permanent: bool = False) -> None:
        super().__init__(message, permanent)
        self.message, self.permanent = message, permanent

    def __str__(self) -> str:
        return self.message


class Sink(Protocol):
    """A store of runs. Idempotent: events delivered twice leave what once would leave."""

    def open(self, known_run_ids: Mapping[str, str]) -> bool:
        """Connect (may take seconds); True when the store still holds all of the known runs.

        Raises:
            SinkError: If the store cannot be reached or used.
        """

    def deliver(self, events: Sequence[Event]) -> None:
        """Apply events in order.

        Raises:
            SinkError: If not all of them could be applied; some may have been.
        """

    def asked(self) -> Mapping[str, str]:
        """Return what users ask by the tag `orchestrate.action`, by run key; answered ones are left out.

        Raises:
            SinkError: If the store cannot be asked.
        """

    @property
    def run_ids(self) -> Mapping[str, str]:
        """Ids that the store gave to runs, by run key."""

    @property
    def experiment_id(self) -> str:
        """Id that the store gave to the experiment, empty while unknown."""

    def close(self) -> None:
        """Let go of connections."""
