import math

import pytest

from orchestrator.decisions.objective import WORST, Constraint, Objective, is_judgeable
from orchestrator.errors import SpecError


def test_objective_key_is_smaller_for_the_better_result_in_both_modes():
    low, high = {"eval/loss": 1.0}, {"eval/loss": 2.0}
    assert Objective("eval/loss").key(low) < Objective("eval/loss").key(high)
    assert Objective("eval/loss", "max").key(high) < Objective("eval/loss", "max").key(low)


def test_objective_adds_weighted_metrics():
    objective = Objective({"a/exact_match": 0.25, "b/exact_match": 0.75}, "max")
    assert objective.value({"a/exact_match": 1.0, "b/exact_match": 0.5}) == pytest.approx(0.625)
    assert objective.label == "0.25 a/exact_match + 0.75 b/exact_match"


def test_objective_ranks_feasible_first_then_by_violation():
    objective = Objective("eval/loss", constraints=(Constraint("general/forgetting", at_most=0.05),))
    feasible = objective.key({"eval/loss": 9.0, "general/forgetting": 0.05})
    slightly = objective.key({"eval/loss": 1.0, "general/forgetting": 0.06})
    badly = objective.key({"eval/loss": 0.5, "general/forgetting": 0.5})
    assert feasible < slightly < badly < WORST
    assert slightly[0] == pytest.approx(0.2)


def test_objective_not_a_number_is_worst_but_an_unknown_constraint_is_only_infeasible():
    objective = Objective("eval/loss", constraints=(Constraint("acc", at_least=0.5),))
    assert objective.key({"eval/loss": math.nan, "acc": 1.0}) == WORST
    assert objective.key({"eval/loss": math.inf, "acc": 1.0}) == WORST
    broken = objective.key({"eval/loss": 1.0, "acc": math.nan})
    assert is_judgeable(broken)
    assert broken[0] == math.inf
    assert broken < WORST


def test_objective_missing_metric_names_the_available_ones():
    with pytest.raises(SpecError, match=r"eval/los.*available metrics: eval/loss, train/loss.*eval/loss"):
        Objective("eval/los").value({"eval/loss": 1.0, "train/loss": 1.0})


def test_objective_partial_skips_constraints_measured_at_the_end_only():
    objective = Objective("eval/loss", constraints=(Constraint("general/forgetting", at_most=0.05),))
    assert objective.key({"eval/loss": 2.0}, partial=True) == (0.0, 2.0)
    with pytest.raises(ValueError, match="general/forgetting"):
        objective.key({"eval/loss": 2.0})


@pytest.mark.parametrize("wrong", [{"at_most": None}, {"at_most": 1.0, "at_least": 0.0}, {"at_most": math.inf}])
def test_constraint_needs_exactly_one_finite_bound(wrong):
    with pytest.raises(ValueError, match="a constraint on m needs"):
        Constraint("m", **wrong)


@pytest.mark.parametrize(("metric", "mode"), [("", "min"), ({}, "min"), ({"a": 0.0}, "min"), ("a", "least")])
def test_objective_refuses_what_it_cannot_rank(metric, mode):
    with pytest.raises(ValueError, match="objective"):
        Objective(metric, mode)
