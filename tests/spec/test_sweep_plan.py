"""From sweep and data to budget, milestones and number of trials."""

from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import plan_sweep
from tests.worlds.tuning_worlds import small_spec


def spec(**changes: Any) -> SweepSpec:
    return small_spec(**changes)


def test_grid_counts_every_configuration() -> None:
    plan = plan_sweep(spec(), 100)
    assert (plan.trials, plan.samples, plan.levels, plan.rung_indices) == (
        12,
        64,
        (2, 4, 8, 16, 32, 64),
        (0, 1, 2, 3, 4),
    )
    assert plan.exhaustive_samples == 12 * 64


def test_budget_cuts_the_grid() -> None:
    assert plan_sweep(spec(budget={"samples": 64, "trials": 5}), 100).trials == 5
    assert plan_sweep(spec(budget={"samples": 64, "trials": 50}), 100).trials == 12


@pytest.mark.parametrize("searcher", ["random", "sobol", "tpe"])
def test_finite_space_holds_no_more_trials_than_configurations(searcher: str) -> None:
    assert plan_sweep(spec(searcher=searcher), 100).trials == 12
    assert plan_sweep(spec(searcher=searcher, budget={"samples": 64, "trials": 7}), 100).trials == 7


def test_continuous_space_has_the_default_number_of_trials() -> None:
    space = {"method": ["full", "lora"], "effective_batch_size": [8, 16]}
    assert plan_sweep(spec(searcher="sobol", search_space=space), 100).trials == 24


@pytest.mark.parametrize(
    ("budget", "samples"), [({}, 300), ({"epochs": 1.5}, 450), ({"epochs": 0.1}, 30), ({"samples": 77}, 77)]
)
def test_epochs_are_passes_over_the_rows(budget: dict[str, float], samples: int) -> None:
    assert plan_sweep(spec(budget=budget), 300).samples == samples


def test_rungs_are_found_by_their_level_where_milestones_merge() -> None:
    # Both early shares meet at 16 samples, so that the list of levels is shorter than the list of shares.
    merged = {
        "milestones": [0.24, 0.25, 0.5, 1.0],
        "stopping": {"rungs": {"levels": [0.5]}},
        "search_space": {"method": {"full": {"learning_rate": 1e-5}}, "effective_batch_size": 16},
    }
    plan = plan_sweep(spec(**merged), 100)
    assert plan.levels == (16, 32, 64)
    assert plan.rung_indices == (1,)


def test_the_whole_budget_is_no_rung() -> None:
    plan = plan_sweep(spec(milestones=[0.5, 0.99, 1.0], budget={"samples": 64}), 100)
    assert plan.levels[-1] == 64
    assert all(index < len(plan.levels) - 1 for index in plan.rung_indices)


def test_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        plan_sweep(spec(), 12, "sweep.yaml")
    error = caught.value
    assert (error.where, error.field, error.value) == ("sweep.yaml", "search_space.effective_batch_size", 16)
    assert "12 training rows" in error.rule
    assert "at most 12" in error.mend


def test_budget_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        plan_sweep(spec(budget={"samples": 12}), 100)
    assert (caught.value.field, caught.value.value) == ("budget.samples", 12)


def test_infinite_grid_is_refused() -> None:
    space = {"method": {"full": {"learning_rate": {"log_uniform": [1e-5, 1e-4]}}}, "effective_batch_size": 8}
    with pytest.raises(SpecError, match="the grid searcher needs finite domains"):
        plan_sweep(spec(search_space=space), 100)
