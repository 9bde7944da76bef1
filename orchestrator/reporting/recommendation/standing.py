"""Choices that do not depend on past sweeps: data, evaluation, objective, schedule, stopping, winner."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.errors import InputError
from orchestrator.reporting.recommendation.advice import Advice
from orchestrator.reporting.recommendation.published import ASSUMPTION, PAPER
from orchestrator.reporting.recommendation.request import Request
from orchestrator.reporting.recommendation.spending import CANDIDATES, Spending

LOW_RATES = "arXiv 2509.20758 (ICLR 2026)"
INSTRUCTLAB = "instructlab/training (fa5b53b), the paper's code"
STOPPING = "docs/stopping.md (measured on recorded sweeps)"
FORECAST_TRIALS = 4
SHARES = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0)
MOST_HELD_OUT, HELD_OUT_SHARE = 500, 0.1
TASK_LIMIT, TEXT_LIMIT, ANSWER_TOKENS = 200, 100, 32


def data_fields(request: Request) -> tuple[dict[str, object], list[Advice]]:
    """Return fields of ``data`` besides those that the user gave, and why."""
    facts, given = request.data, request.own_data
    fields: dict[str, object] = dict(given)
    advice: list[Advice] = []
    if "held_out" not in given:
        count = max(1, min(MOST_HELD_OUT, round(facts.rows * HELD_OUT_SHARE)))
        fields["held_out"] = count
        reason = f"a tenth of {facts.rows:,} rows, at most {MOST_HELD_OUT}: more only makes evaluations slower"
        advice.append(Advice("data.held_out", count, reason, (ASSUMPTION,)))
    if facts.too_long_share and "too_long" not in given:
        fields["too_long"] = "drop"
        reason = f"{facts.too_long_share:.1%} of the measured rows are longer than the model or max_length takes"
        advice.append(Advice("data.too_long", "drop", reason, ("the data",)))
    if facts.rows_without_answer and "missing_answer" not in given:
        fields["missing_answer"] = "drop"
        reason = f"{facts.rows_without_answer:,} rows have no prompt or no answer"
        advice.append(Advice("data.missing_answer", "drop", reason, ("the data",)))
    return fields, advice


def evaluation(request: Request) -> tuple[list[dict[str, object]], dict[str, object], list[Advice]]:
    """Return the evaluation sets, the objective, and why.

    Raises:
        InputError: If the objective needs rows or text that were not named.
    """
    sets: list[dict[str, object]] = [{"name": "eval", "kind": "loss", "data": "held_out"}]
    if request.objective == "loss":
        reason = "the loss on held-out rows of the training data, as asked"
        return (
            sets,
            {"metric": "eval/loss", "mode": "min"},
            [Advice("objective", "eval/loss", reason, ("--objective",))],
        )
    if not request.source:
        option, what = (
            ("--task", "rows of a task that is not trained on")
            if request.objective == "downstream"
            else ("--text", "general text")
        )
        raise InputError(
            option, rule=f"the objective {request.objective} is measured on {what}", mend=f"name it: {option} FILE"
        )
    if request.objective == "downstream":
        sets.append(
            {
                "name": "task",
                "kind": "exact_match",
                "data": request.source,
                "limit": TASK_LIMIT,
                "max_new_tokens": ANSWER_TOKENS,
            }
        )
        reason = "the share of right answers on the task, as asked; in-distribution loss does not rank recipes by it"
        told = Advice("objective", "task/exact_match", reason, ("--objective", PAPER))
        return sets, {"metric": "task/exact_match", "mode": "max"}, [told]
    sets.append({"name": "general", "kind": "text_loss", "data": request.source, "limit": TEXT_LIMIT})
    metric = {"eval/loss": 1.0, "general/forgetting": 1.0}
    reason = "a nat lost on general text counts as much as a nat gained on the data; change the weights to taste"
    return sets, {"metric": metric, "mode": "min"}, [Advice("objective", metric, reason, ("--objective", ASSUMPTION))]


def recipe_fields() -> tuple[dict[str, object], list[Advice]]:
    """Return schedule, warm-up and optimizer, and why."""
    values: dict[str, object] = {
        "schedule": "constant",
        "warmup": {"ratio": 0.03},
        "beta2": 0.95,
        "weight_decay": 0.0,
        "clip_norm": 1.0,
        "seed": 0,
    }
    reasons = {
        "schedule": (
            "constant was as good as cosine (Granite 7B: MMLU 0.524 and 0.525), and keeps early comparisons "
            "from being turned round by the decay",
            (PAPER, "arXiv 2509.02046"),
        ),
        "warmup": (
            "0, 25 and 100 steps ended alike (MMLU 0.531, 0.528, 0.526); a little guards the top of the range",
            (PAPER, ASSUMPTION),
        ),
        "beta2": (
            "Adam (0.9, 0.95), no weight decay, gradients clipped at norm 1, as the paper's code",
            (INSTRUCTLAB,),
        ),
        "seed": ("one seed in the search; new seeds go to the best recipes, where they tell most", (ASSUMPTION,)),
    }
    return values, [Advice(f"search_space.{key}", values[key], *reasons[key]) for key in reasons]


def milestones(sizes: Sequence[int], samples: int) -> tuple[list[float], Advice]:
    """Return milestones that leave every batch size a step before the first of them."""
    shares = [share for share in SHARES if share * samples >= max(sizes)]
    reason = "doubling, from where the largest batch has made a step; all trials are compared at equal samples seen"
    return shares, Advice("milestones", shares, reason, (STOPPING,))


def stopping_fields(request: Request, trials: int) -> tuple[dict[str, object], Advice]:
    """Return the stopping rules and why."""
    off = (
        "the paper's rule (low gradient norm, high loss) stays off: in distribution its loss half has the opposite sign"
    )
    if request.objective != "loss":
        off = "the paper's rule stays off: away from the training distribution the sign of its loss half differed between "
        off += "two measurements, so record a sweep before switching it on"
    if trials < FORECAST_TRIALS:
        reason = f"{trials} trials are too few to stop one by comparison with the others"
        value: dict[str, object] = {"rungs": {"enabled": False}}
        return value, Advice("stopping", value, reason, (ASSUMPTION,))
    value = {"forecast": {"miss": 0.05}}
    reason = f"those go on that may still end best, at 5 % risk to lose the best at a milestone; {off}"
    return value, Advice("stopping", value, reason, (STOPPING, PAPER))


def winner_fields(spending: Spending) -> tuple[dict[str, object], Advice]:
    """Return the repeats of the best recipes and why."""
    if not spending.repeats:
        value: dict[str, object] = {"repeats": 0}
        reason = (
            "the budget is too small for new seeds, so the winner may only be lucky: repeat it before relying on it"
        )
        return value, Advice("winner", value, reason, (ASSUMPTION,))
    value = {"candidates": CANDIDATES, "repeats": spending.repeats}
    reason = f"{CANDIDATES * spending.repeats} trials of the budget are kept for new seeds of the two best recipes: "
    reason += "differences such as 6.77 and 6.76 on one seed, as published, tell nothing"
    return value, Advice("winner", value, reason, (PAPER,))
