"""What a trial's code is to train with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.integrations.assignment import TrialAssignment
from orchestrator.records import TrialConfig
from orchestrator.spec.trial.batch_plan import BatchPlan
from orchestrator.spec.trial.schedules import multiplier


class Hyperparameters:
    """A trial's configuration, read-only.

    Args:
        assignment: What the worker says of the trial.
    """

    def __init__(self, assignment: TrialAssignment) -> None:
        self._assignment = assignment
        config = assignment.config
        self._plan = BatchPlan(config.samples, config.effective_batch_size, config.warmup_unit, config.warmup_amount)

    @property
    def id(self) -> str:
        """The trial's id, ten hex digits."""
        return self._assignment.trial_id

    @property
    def name(self) -> str:
        """The trial's name as it stands in tables, e.g. ``temperature0.05 lr3e-4 ebs64 s0``."""
        return self._assignment.name

    @property
    def sweep(self) -> str:
        """Name of the sweep."""
        return self._assignment.sweep

    @property
    def config(self) -> TrialConfig:
        """The whole configuration as a `TrialConfig`: every field of the search space; free hyperparameters are in `params`."""
        return self._assignment.config

    @property
    def params(self) -> Mapping[str, Any]:
        """Free hyperparameters by name: those of ``search_space.params`` and those of the trial's method."""
        return self._assignment.config.method_options

    @property
    def method(self) -> str:
        """Method of the trial; ``own`` where the sweep names none."""
        return self._assignment.config.method

    @property
    def learning_rate(self) -> float:
        """Peak learning rate."""
        return self._assignment.config.learning_rate

    @property
    def effective_batch_size(self) -> int:
        """Samples per optimizer step, over all micro-batches and processes."""
        return self._assignment.config.effective_batch_size

    @property
    def seed(self) -> int:
        """Seed for the order of the data and for whatever is initialised."""
        return self._assignment.config.seed

    @property
    def samples(self) -> int:
        """The budget in samples: train until so many are seen."""
        return self._assignment.config.samples

    @property
    def steps(self) -> int:
        """Optimizer steps of the budget; the last may hold fewer samples than the others."""
        return self._plan.steps

    @property
    def warmup_steps(self) -> int:
        """Optimizer steps of the warm-up."""
        return self._plan.warmup_steps

    def learning_rate_at(self, step: int) -> float:
        """Return the scheduled learning rate of an optimizer step, counted from 0; warm-up included.

        Args:
            step: 0 to ``steps - 1``.
        """
        config = self.config
        factor = multiplier(config.schedule, step, self.steps, self.warmup_steps, config.schedule_options)
        return config.learning_rate * factor
