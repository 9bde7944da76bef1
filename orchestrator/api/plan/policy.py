"""From the sweep file's stopping section to the decision engine."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.decisions.engine.engine import StoppingEngine
from orchestrator.decisions.engine.policy import StoppingPolicy
from orchestrator.decisions.forecast.model import load_model
from orchestrator.decisions.rules.forecast import ForecastRule
from orchestrator.decisions.rules.own import own_rule
from orchestrator.decisions.rules.registry import RULES
from orchestrator.decisions.rules.rule import StepRule, StoppingRule, SweepOutline
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.decisions.trials import UNKNOWN_EPOCHS
from orchestrator.history.objective import make_objective
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import SweepPlan


def make_policy(spec: SweepSpec, plan: SweepPlan, record: bool) -> StoppingPolicy:
    """Return the rules that the file names, with what the plan makes of them."""
    rules = (rule(**vars(getattr(spec.stopping, name))) for name, rule in RULES.items())
    return StoppingPolicy((*(_resolved(rule, plan) for rule in rules), *own_rules(spec)), record)


def own_rules(spec: SweepSpec) -> tuple[StoppingRule, ...]:
    """Return the rules of the user's own that the file names.

    Raises:
        SpecError: If an option is wrong.
        PluginError: If one is no rule.
    """
    return tuple(own_rule(each.rule, each.options) for each in spec.stopping.rules)


def _resolved(rule: StoppingRule, plan: SweepPlan) -> StoppingRule:
    # The file says shares of the budget, the plan which milestones these are.
    return replace(rule, milestones=plan.rung_indices) if isinstance(rule, RungRule) else rule


def check_forecast(spec: SweepSpec) -> None:
    """Raise unless the forecast's weights can be read.

    Raises:
        SpecError: With the file and the mend.
    """
    forecast = ForecastRule(**vars(spec.stopping.forecast))
    if forecast.enabled:
        load_model(forecast.file)


def make_outline(spec: SweepSpec, plan: SweepPlan) -> SweepOutline:
    """Return what the rules may know of the sweep."""
    return SweepOutline(plan.levels, make_objective(spec), plan.epochs or UNKNOWN_EPOCHS)


def make_engine(spec: SweepSpec, plan: SweepPlan, record: bool) -> StoppingEngine:
    """Return a fresh engine for the sweep."""
    return StoppingEngine(make_policy(spec, plan, record), make_outline(spec, plan))


def make_step_rule(spec: SweepSpec, plan: SweepPlan, record: bool) -> StepRule | None:
    """Return the rule that workers check at every step, or None when it is off."""
    return make_policy(spec, plan, record).worker_rule()
