"""A sweep file that says nothing of stopping gets the policy that replays and benchmarks call ours."""

from dataclasses import replace

from orchestrator.api.plan.policy import make_engine, make_policy
from orchestrator.decisions.engine.policy import DEFAULT_POLICY
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.sweep_plan import plan_sweep

SWEEP = {
    "name": "plain",
    "model": "testbed",
    "data": {"train": "testbed:sft"},
    "search_space": {"method": "full", "effective_batch_size": 8},
    "budget": {"samples": 512},
}


def test_default_of_the_sweep_file_is_the_default_policy() -> None:
    spec = parse_sweep(SWEEP)
    plan = plan_sweep(spec, 1000)
    policy = make_policy(spec, plan, record=False)
    (rungs,) = (rule for rule in policy.rules if isinstance(rule, RungRule))
    # The file names every milestone before the last as a rung; the policy leaves that to its own default.
    assert rungs.milestones == tuple(range(len(spec.milestones) - 1))
    rules = tuple(replace(rule, milestones=None) if isinstance(rule, RungRule) else rule for rule in policy.rules)
    assert replace(policy, rules=rules) == DEFAULT_POLICY


def test_how_often_rows_are_seen_is_told_by_data_and_budget() -> None:
    spec = parse_sweep(SWEEP)
    assert make_engine(spec, plan_sweep(spec, 1000), record=False).sweep.epochs == 0.512
