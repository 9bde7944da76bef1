"""From a request and past sweeps to a ready sweep, each choice with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.reporting.recommendation.advice import Advice, Evidence
from orchestrator.reporting.recommendation.evidence import PastSweep, Seen, seen_batch, seen_rates
from orchestrator.reporting.recommendation.methods import RANKED_METHODS, choose_methods, choose_rank
from orchestrator.reporting.recommendation.published import ASSUMPTION
from orchestrator.reporting.recommendation.ranges import Ranged, batch_sizes, learning_rates
from orchestrator.reporting.recommendation.recommendation import Recommendation
from orchestrator.reporting.recommendation.request import Request
from orchestrator.reporting.recommendation.spending import Spending, spend
from orchestrator.reporting.recommendation.standing import (
    data_fields,
    evaluation,
    milestones,
    recipe_fields,
    stopping_fields,
    winner_fields,
)
from orchestrator.spec.search_space.domains import KINDS

LEARNING_TRIALS = 24
"""Trials from which a searcher that learns pays (docs/decisions/2026-11-21-searchers-learn-at-milestones.md)."""


def recommend(request: Request, past: Sequence[PastSweep] = (), notes: Sequence[str] = ()) -> Recommendation:
    """Return a ready sweep for a model, data and a budget.

    Args:
        request: What is asked for.
        past: Sweeps that were run before, of any model and data.
        notes: What could not be looked at, and why.

    Raises:
        InputError: If the budget is too small or something that the objective needs was not named.
    """
    spending = spend(request)
    data, data_advice = data_fields(request)
    sets, objective, objective_advice = evaluation(request)
    space, space_advice, evidence, sizes = _search_space(request, spending, past)
    levels, levels_advice = milestones(sizes, spending.samples)
    stopping, stopping_advice = stopping_fields(request, spending.trials)
    winner, winner_advice = winner_fields(spending)
    searcher, searcher_advice = _searcher(spending.trials)
    budget, budget_advice = _budget(request, spending)
    values: dict[str, object] = {
        "name": _free_name(_name(request), past),
        "model": request.settings["model"],
        "data": data,
        "evaluation": sets,
        "objective": objective,
        "search_space": space,
        "searcher": searcher,
        "budget": budget,
        "milestones": levels,
        "stopping": stopping,
        "winner": winner,
    }
    advice = [
        *data_advice,
        *objective_advice,
        *space_advice,
        searcher_advice,
        budget_advice,
        levels_advice,
        stopping_advice,
        winner_advice,
    ]
    values, advice = _with_settings(values, request.settings, advice)
    names = tuple(dict.fromkeys(sweep.name for sweep in past))
    return Recommendation(values, tuple(advice), tuple(evidence), names, (*notes, *_notes(request)))


def _search_space(
    request: Request, spending: Spending, past: Sequence[PastSweep]
) -> tuple[dict[str, object], list[Advice], list[Evidence], list[int]]:
    methods, methods_advice = choose_methods(request, spending.trials, past)
    batches, sizes = batch_sizes(request, methods, spending.samples, spending.trials, _batches(past))
    rates = [each for sweep in past for each in seen_rates(sweep)]
    each_gets = spending.trials / len(methods)
    advice, evidence, bodies = [methods_advice], list(batches.evidence), {}
    for method in methods:
        ranged = learning_rates(request, method, spending.samples, batches.belief.centre, each_gets, rates)
        body, told = _body(request, method, spending.samples, ranged)
        bodies[method] = body
        advice += told
        evidence += ranged.evidence
    recipe, recipe_advice = recipe_fields()
    space = {"method": bodies, "effective_batch_size": batches.value, **recipe}
    return space, [*advice, batches.advice, *recipe_advice], evidence, sizes


def _body(request: Request, method: str, samples: int, ranged: Ranged) -> tuple[dict[str, object], list[Advice]]:
    body: dict[str, object] = {"learning_rate": ranged.value}
    advice = [ranged.advice]
    if method in RANKED_METHODS and (chosen := choose_rank(request, samples)) is not None:
        rank, told = chosen
        body |= {"r": rank, "lora_alpha": 2 * rank}
        advice.append(replace(told, field=f"search_space.method.{method}.r"))
    return body, advice


def _batches(past: Sequence[PastSweep]) -> list[Seen]:
    return [seen for sweep in past if (seen := seen_batch(sweep)) is not None]


def _searcher(trials: int) -> tuple[dict[str, object], Advice]:
    if trials >= LEARNING_TRIALS:
        reason = "from two dozen trials on a searcher that learns at milestones finds better recipes than Sobol"
        source = "docs/decisions/2026-11-21-searchers-learn-at-milestones.md"
        return {"kind": "tpe"}, Advice("searcher", "tpe", reason, (source,))
    reason = "an even cover of the space; too few trials to learn from"
    return {"kind": "sobol"}, Advice("searcher", "sobol", reason, (ASSUMPTION,))


def _budget(request: Request, spending: Spending) -> tuple[dict[str, object], Advice]:
    value: dict[str, object] = {"trials": spending.trials, "samples": spending.samples}
    if request.budget.unit == "minutes":
        value["wall_minutes"] = request.budget.amount
    reason = f"{spending.reason}; at most {spending.most_samples:,} samples in all, fewer where trials are stopped"
    return value, Advice("budget", value, reason, (spending.source, ASSUMPTION))


def _name(request: Request) -> str:
    parts = [_last_word(request.model.identity), _last_word(request.data.identity), "recommended"]
    return "-".join(part for part in parts if part)[-100:].lstrip("-._")


def _free_name(name: str, past: Sequence[PastSweep]) -> str:
    """Return the name, numbered where a past sweep has it: a storage folder holds one sweep of a name."""
    taken = {sweep.name for sweep in past}
    tries = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 2)))
    return next(each for each in tries if each not in taken)


def _last_word(identity: str) -> str:
    place = identity.partition("#")[0].partition("?")[0].rstrip("/")
    word = re.split(r"[/:]", place)[-1] or place
    return re.sub(r"[^A-Za-z0-9_]+", "-", re.sub(r"\.(jsonl?|csv|tsv|parquet|gz)$", "", word)).strip("-")


def _with_settings(
    values: dict[str, object], settings: Mapping[str, object], advice: Sequence[Advice]
) -> tuple[dict[str, object], list[Advice]]:
    """Lay the user's own fields over the recommended ones, and drop the reasons of what they replace."""
    replaced: set[str] = set()
    merged = _merged(values, settings, "", replaced)
    kept = [
        each
        for each in advice
        if not any(each.field == field or each.field.startswith(f"{field}.") for field in replaced)
    ]
    return merged, kept


def _merged(
    values: Mapping[str, object], own: Mapping[str, object], path: str, replaced: set[str]
) -> dict[str, object]:
    result = dict(values)
    for key, value in own.items():
        here = f"{path}.{key}" if path else key
        # A domain such as {choice: [...]} replaces another one as a whole.
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and not any(kind in value for kind in KINDS):
            result[key] = _merged(below, value, here, replaced)
        else:
            replaced.add(here)
            result[key] = value
    return result


def _notes(request: Request) -> list[str]:
    told = [
        f"Base model: {request.model.family}, {request.model.parameters:,} parameters, width {request.model.hidden_size}. "
        f"Data: {request.data.rows:,} rows of {request.data.mean_tokens:g} tokens, {request.data.mean_answer_tokens:g} of "
        "them learned."
    ]
    if request.data.is_estimate:
        told.append("Lengths are reckoned from characters, as no tokenizer could be read.")
    return told
