"""A tracker of the user's own, whose faults are told and do not stop a sweep."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, cast

from orchestrator.errors import PluginError
from orchestrator.plugins.code import PluginCode
from orchestrator.plugins.loading import check, guarded
from orchestrator.tracking.no_tracker import NoTracker
from orchestrator.tracking.tracker import Tracker, TrackerHealth

_LOG = logging.getLogger(__name__)

Task = TypeVar("Task")


def guarded_tracker(opener: Callable[[Task], Tracker], task: Task, code: PluginCode) -> Tracker:
    """Open a tracker of the user's own.

    Raises:
        PluginError: If it cannot be opened, or lacks a method of a `Tracker`.
    """
    with guarded(code, "the tracker cannot be opened"):
        tracker = opener(task)
    lacking = [name for name in dir(NoTracker) if not name.startswith("_") and not hasattr(tracker, name)]
    check(not lacking, code, f"its tracker lacks {', '.join(lacking)}", "derive it from NoTracker, which does nothing")
    return cast(Tracker, _Guarded(tracker, code))


class _Guarded:
    """Passes everything on; what fails is logged once, shown as the tracker's health, and answered as by no tracker."""

    def __init__(self, tracker: Tracker, code: PluginCode) -> None:
        self._tracker, self._code = tracker, code
        self._error = ""
        self._nothing = NoTracker()

    @property
    def health(self) -> TrackerHealth:
        """The tracker's own, or what it failed with last."""
        found = self._tracker.health
        return replace(found, last_error=self._error) if self._error else found

    def __getattr__(self, name: str) -> object:
        found = getattr(self._tracker, name)
        if not callable(found):
            return found

        def call(*arguments: object, **named: object) -> object:
            try:
                with guarded(self._code, f"{name} failed"):
                    return found(*arguments, **named)
            except PluginError as error:
                self._note(str(error))
                return getattr(self._nothing, name)(*arguments, **named)

        return call

    def _note(self, error: str) -> None:
        if error != self._error:
            _LOG.warning("tracking goes on without what failed: %s", error)
        self._error = error
