"""What every learning-rate schedule promises, as tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from orchestrator.spec.trial.options import check_options
from orchestrator.spec.trial.schedules import Schedule

PLANS = ((1, 0), (2, 1), (10, 0), (10, 3), (1000, 100))
"""Optimizer steps and warm-up steps of several budgets."""


class ScheduleContract:
    """Override `schedule`; pytest runs the rest."""

    def schedule(self) -> tuple[Callable[..., float], Mapping[str, float]]:
        """Return the function and some of its options; override it."""
        raise NotImplementedError

    def entry(self) -> Schedule:
        """Return the entry that the function carries."""
        found = getattr(self.schedule()[0], "entry", None)
        assert isinstance(found, Schedule), "a schedule carries a Schedule: put @entry(Schedule(PLUGIN, ...)) above it"
        return found

    def factors(self, steps: int, warmup_steps: int) -> list[float]:
        """Return the factor of every step after the warm-up."""
        function, given = self.schedule()
        options = {name: float(option.default) for name, option in self.entry().options.items()} | dict(given)
        return [function(step, steps, warmup_steps, options) for step in range(warmup_steps, steps)]

    # -- the promises -----------------------------------------------------------------------------

    def test_its_options_keep_to_its_own_rules(self) -> None:
        """The given options are declared, and within bounds."""
        check_options("schedule", "contract", self.schedule()[1], self.entry().options)

    def test_factors_are_numbers_from_nought(self) -> None:
        """For every step of every plan, the shortest too."""
        for plan in PLANS:
            wrong = [factor for factor in self.factors(*plan) if not (math.isfinite(factor) and factor >= 0)]
            assert not wrong, f"{plan[0]} steps, {plan[1]} of them warm-up: {wrong[:3]}"

    def test_it_is_a_function_of_its_arguments(self) -> None:
        """A resumed trial asks again and must hear the same."""
        assert all(self.factors(*plan) == self.factors(*plan) for plan in PLANS)

    def test_it_follows_the_budget_only_where_its_entry_says_so(self) -> None:
        """A schedule that does not is the same for a longer budget, so that a trial can be trained on."""
        if self.entry().follows_budget:
            return
        short, long = self.factors(10, 3), self.factors(1000, 3)
        assert long[: len(short)] == short
