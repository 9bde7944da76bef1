"""From the sweep file's stopping section to the decision engine."""

from __future__ import annotations

from pathlib import Path

from orchestrator.coordinating.sweep_plan import SweepPlan
from orchestrator.decisions.engine.engine import StoppingEngine
from orchestrator.decisions.engine.policy import StoppingPolicy
from orchestrator.decisions.forecast.forecast import ForecastRule
from orchestrator.decisions.forecast.model import SHIPPED_WEIGHTS, load_model
from orchestrator.decisions.forecast.panel import UNKNOWN_EPOCHS
from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.decisions.rules.early_dynamics import EarlyDynamicsRule
from orchestrator.decisions.rungs.rung import RungRule
from orchestrator.history.objective import make_objective
from orchestrator.spec.sweep import SweepSpec


def make_policy(spec: SweepSpec, plan: SweepPlan, record: bool) -> StoppingPolicy:
    """Return the rules that the file names."""
    rules = spec.stopping
    return StoppingPolicy(
        divergence=DivergenceRule(
            enabled=rules.divergence.enabled,
            loss_margin_nats=rules.divergence.loss_margin,
            grad_norm_factor=rules.divergence.grad_norm_factor,
        ),
        rungs=RungRule(
            enabled=rules.rungs.enabled and bool(plan.rung_indices),
            reduction_factor=rules.rungs.reduction_factor,
            levels=plan.rung_indices,
            quota_per_method=rules.rungs.quota_per_method,
        ),
        forecast=ForecastRule(
            enabled=rules.forecast.enabled,
            miss=rules.forecast.miss,
            tolerance=rules.forecast.tolerance,
            weights=_weights(spec),
            epochs=plan.epochs or UNKNOWN_EPOCHS,
        ),
        early_dynamics=EarlyDynamicsRule(
            enabled=rules.early_dynamics.enabled,
            share=rules.early_dynamics.share,
            drop=rules.early_dynamics.drop,
            min_cohort=rules.early_dynamics.min_cohort,
        ),
        record=record,
    )


def check_forecast(spec: SweepSpec) -> None:
    """Raise unless the forecast's weights can be read.

    Raises:
        SpecError: With the file and the mend.
    """
    if spec.stopping.forecast.enabled:
        load_model(_weights(spec))


def _weights(spec: SweepSpec) -> Path:
    named = spec.stopping.forecast.weights
    return SHIPPED_WEIGHTS if named is None else Path(named)


def make_engine(spec: SweepSpec, plan: SweepPlan, record: bool) -> StoppingEngine:
    """Return a fresh engine for the sweep."""
    return StoppingEngine(make_policy(spec, plan, record), plan.levels, make_objective(spec))


def make_divergence(spec: SweepSpec, plan: SweepPlan, record: bool) -> DivergenceRule | None:
    """Return the rule that workers check at every step, or None when it is off."""
    return make_policy(spec, plan, record).worker_rule()
