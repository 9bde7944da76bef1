"""A sweep file that says nothing of stopping gets the policy that replays and benchmarks call ours."""

import dataclasses

from orchestrator.api.plan.policy import make_policy
from orchestrator.coordinating.sweep_plan import plan_sweep
from orchestrator.decisions.engine.policy import DEFAULT_POLICY
from orchestrator.spec.loading import parse_sweep

SWEEP = {
    "name": "plain",
    "model": "testbed",
    "data": {"train": "testbed:sft"},
    "search_space": {"method": "full", "effective_batch_size": 8},
    "budget": {"samples": 512},
}


def test_default_of_the_sweep_file_is_the_default_policy() -> None:
    spec = parse_sweep(SWEEP)
    policy = make_policy(spec, plan_sweep(spec, 1000), record=False)
    # The file names every milestone before the last as a rung; the policy leaves that to its own default.
    assert policy.rungs.levels == tuple(range(len(spec.milestones) - 1))
    # How often rows are seen is told by data and budget, not by a default.
    assert policy.forecast.epochs == 0.512
    forecast = dataclasses.replace(policy.forecast, epochs=DEFAULT_POLICY.forecast.epochs)
    assert dataclasses.replace(policy, rungs=DEFAULT_POLICY.rungs, forecast=forecast) == DEFAULT_POLICY
    assert dataclasses.replace(policy.rungs, levels=None) == DEFAULT_POLICY.rungs
