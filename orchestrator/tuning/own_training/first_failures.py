"""Fail fast: code that is wrong is wrong in every trial, so the sweep ends before all of them have failed alike."""

from __future__ import annotations

from orchestrator.errors import EntrypointError, EntrypointFailure
from orchestrator.tuning.worker.messages import StepResult

MOST_CRASHES = 3


class FirstFailures:
    """Counts failures while no trial of the sweep has reached a milestone; afterwards a failure is its trial's alone."""

    def __init__(self) -> None:
        self._crashes = 0

    def take(self, result: StepResult, begun: bool) -> None:
        """Take a failed trial's result.

        Args:
            result: What the worker answered.
            begun: Whether some trial has reached a milestone.

        Raises:
            EntrypointError: If the code does not keep to what a trial promises.
            EntrypointFailure: If the third trial has failed.
        """
        if begun:
            return
        if result["misuse"] is not None:
            raise EntrypointError(*result["misuse"])
        self._crashes += 1
        if self._crashes >= MOST_CRASHES:
            raise EntrypointFailure(
                f"{MOST_CRASHES} trials failed before any reached a milestone, the last one so: {result['failure']}. "
                "The sweep ends; mend the code and run it again with --fresh"
            )
