"""Learning-rate ranges and effective batch sizes: published rules, moved and narrowed by past sweeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.reporting.recommendation.advice import Advice, Evidence
from orchestrator.reporting.recommendation.beliefs import Belief, Situation, similarity, update
from orchestrator.reporting.recommendation.evidence import Seen
from orchestrator.reporting.recommendation.published import (
    ASSUMPTION,
    LEAST_STEPS,
    TINKER_SWEEP,
    Rule,
    batch_rule,
    largest_batch,
    rate_rule,
)
from orchestrator.reporting.recommendation.request import Request
from orchestrator.spec.methods.catalogue import METHODS
from orchestrator.spec.trial.identity import short_number

SHOWN = 3
"""Past sweeps named in a reason; the records hold all."""


@dataclass(frozen=True)
class Ranged:
    """What was chosen for one quantity: the domain as in the sweep file, why, and what past sweeps contributed."""

    value: object
    advice: Advice
    evidence: tuple[Evidence, ...]
    belief: Belief


def learning_rates(
    request: Request, method: str, samples: int, batch: float, trials: float, seen: Sequence[Seen]
) -> Ranged:
    """Return a method's learning-rate range: the interval in which the best rate lies with n / (n + 1), for n trials.

    Args:
        request: What is asked for.
        method: The method.
        samples: Training budget of a trial.
        batch: Middle of the effective batch sizes, which says how many optimizer steps a trial has.
        trials: Trials that the method will get.
        seen: What past sweeps say of learning rates, whatever the method.
    """
    rule = rate_rule(method, request.model, request.objective, max(1, round(samples / batch)))
    field = f"search_space.method.{method}.learning_rate"
    belief, evidence = _moved(rule, field, _situation(request, method, samples), seen)
    coverage = max(1.0, trials) / (max(1.0, trials) + 1)
    low, high = (_two_digits(end) for end in belief.interval(coverage))
    reason = _reason(rule, belief, evidence, f"{coverage:.0%} interval for {max(1.0, trials):.2g} trials")
    sources = (*rule.sources, TINKER_SWEEP, ASSUMPTION, *(["past sweeps"] if evidence else []))
    advice = Advice(field, {"log_uniform": [low, high]}, reason, sources)
    return Ranged(advice.value, advice, evidence, belief)


def batch_sizes(
    request: Request, methods: Sequence[str], samples: int, trials: int, seen: Sequence[Seen]
) -> tuple[Ranged, list[int]]:
    """Return effective batch sizes: powers of two round the believed best, a factor of four apart; also as numbers."""
    adapters = any(METHODS[name].family != "weights" for name in methods)
    rule = batch_rule(request.data.rows, samples, request.objective, adapters)
    field = "search_space.effective_batch_size"
    belief, evidence = _moved(rule, field, _situation(request, "", samples), seen)
    top = max(1, min(request.data.rows, samples // LEAST_STEPS, largest_batch(adapters)))
    shifts = (0.0,) if trials < 6 else (-1.0, 1.0) if trials < 24 else (-2.0, 0.0, 2.0)
    middle = math.log2(belief.centre)
    sizes = sorted({min(2 ** max(0, round(middle + shift)), _power_below(top)) for shift in shifts})
    reason = _reason(rule, belief, evidence, f"at least {LEAST_STEPS} optimizer steps each")
    sources = (*rule.sources, *(["past sweeps"] if evidence else []))
    advice = Advice(field, sizes, reason, sources)
    return Ranged(sizes if len(sizes) > 1 else sizes[0], advice, evidence, belief), sizes


def _moved(rule: Rule, field: str, here: Situation, seen: Sequence[Seen]) -> tuple[Belief, tuple[Evidence, ...]]:
    belief, weights = update(rule.belief, here, [each.observation for each in seen])
    evidence = [
        Evidence(
            field=field,
            sweep=each.sweep,
            place=each.place,
            method=each.method,
            best=float(f"{each.best:.3g}"),
            trials=each.trials,
            similarity=round(similarity(here, each.observation.situation), 3),
            weight=round(weight, 3),
            at_edge=each.at_edge,
        )
        for each, weight in zip(seen, weights, strict=True)
    ]
    return belief, tuple(sorted(evidence, key=lambda each: -abs(each.weight)))


def _reason(rule: Rule, belief: Belief, evidence: Sequence[Evidence], interval: str) -> str:
    text = f"{rule.reason}, give or take a factor {10**rule.belief.deviation:.2g}"
    if not evidence:
        return f"{text}; {interval}"
    shown = "; ".join(_told(each) for each in evidence[:SHOWN])
    more = f"; and {len(evidence) - SHOWN} more" if len(evidence) > SHOWN else ""
    moved = f"now {short_number(belief.centre)}, give or take a factor {10**belief.deviation:.2g}"
    return f"{text}; past sweeps: {shown}{more}; {moved}; {interval}"


def _told(evidence: Evidence) -> str:
    edge = ", the edge of what it tried" if evidence.at_edge else ""
    what = f"{evidence.method} best near " if evidence.method else "best near "
    return f"{evidence.sweep} {what}{short_number(evidence.best)} ({evidence.trials} trials{edge}, weight {evidence.weight:.2f})"


def _situation(request: Request, method: str, samples: int) -> Situation:
    return Situation(
        model=request.model.identity,
        family=request.model.family,
        parameters=request.model.parameters,
        data=request.data.identity,
        method=method,
        method_family=METHODS[method].family if method else "",
        samples=samples,
        objective=request.objective,
    )


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def _power_below(value: int) -> int:
    return int(2 ** math.floor(math.log2(value)))
