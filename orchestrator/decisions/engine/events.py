"""The engine's events as plain JSON-able dictionaries, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.decisions.trials import TrialFacts
from orchestrator.records import Action, Decision, TrialState

Event = dict[str, Any]


def plain(event: str, **values: Any) -> Event:
    """Return an event named after the engine's method, with that method's arguments in plain form."""
    return {"event": event, **{name: _plain(value) for name, value in values.items()}}


def arguments(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the method that an event (or its JSON) is named after."""
    return {name: _revived(name, value) for name, value in event.items() if name != "event"}


def _plain(value: Any) -> Any:
    if isinstance(value, (TrialFacts, Decision)):
        return asdict(value)
    if isinstance(value, TrialState):
        return value.value
    return dict(value) if isinstance(value, Mapping) else value


def _revived(name: str, value: Any) -> Any:
    if name == "facts":
        return TrialFacts(**value)
    if name == "state":
        return TrialState(value)
    if name in ("halted", "decision") and value is not None:
        return Decision(**{**value, "action": Action(value["action"])})
    return value
