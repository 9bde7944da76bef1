"""What is recommended: a sweep that is valid, keeps to its budget, and gives each choice a reason and a source."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InputError, SpecError
from orchestrator.reporting.recommendation.advice import Advice
from orchestrator.reporting.recommendation.compose import recommend
from orchestrator.reporting.recommendation.evidence import PastSweep, PastTrial, kind_of_objective
from orchestrator.reporting.recommendation.published import rate_rule
from orchestrator.reporting.recommendation.recommendation import Recommendation
from orchestrator.reporting.recommendation.request import BudgetAsked, Request, parse_budget
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.methods.catalogue import METHODS
from orchestrator.spec.reading.yaml_text import read_value
from orchestrator.spec.sweep_plan import plan_sweep
from orchestrator.training.setup.sizes import DataFacts, ModelFacts

BASE = ModelFacts("base", "llama", 2048, 1_200_000_000, 400_000, 4096)
ROWS = DataFacts("rows.jsonl#train", 5000, 0, 300.0, 120.0, 900.0, 1200, 0.0)


def request(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "model": BASE,
        "data": ROWS,
        "budget": parse_budget("24-trials"),
        "objective": "loss",
        "settings": {"model": "base", "data": {"train": "rows.jsonl"}},
    }
    return Request(**{**values, **changes})


def past(rates: dict[float, float], name: str = "earlier", method: str = "full", **changes: Any) -> PastSweep:
    trials = tuple(PastTrial(method, rate, 16, value, 1000, True) for rate, value in rates.items())
    values: dict[str, Any] = {
        "name": name,
        "place": "runs",
        "objective": "loss",
        "mode": "min",
        "samples": 10_000,
        "model": BASE,
        "data": ROWS.identity,
        "rows": ROWS.rows,
        "trials": trials,
    }
    return PastSweep(**{**values, **changes})


def range_of(found: Recommendation, method: str) -> tuple[float, float]:
    low, high = found.values["search_space"]["method"][method]["learning_rate"]["log_uniform"]
    return low, high


@given(
    width=st.integers(32, 16384),
    parameters=st.integers(10_000, 10**11),
    family=st.sampled_from(["llama", "qwen3", "gpt2"]),
    rows=st.integers(40, 10**6),
    tokens=st.floats(2, 4000),
    objective=st.sampled_from(["loss", "downstream", "forgetting"]),
    trials=st.integers(2, 200),
    methods=st.lists(st.sampled_from(sorted(METHODS)), max_size=3, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_any_recommendation_is_a_sweep_with_reasons(
    width: int, parameters: int, family: str, rows: int, tokens: float, objective: Any, trials: int, methods: list[str]
) -> None:
    asked = request(
        model=ModelFacts("b", family, width, parameters, width * 12, 512),
        budget=BudgetAsked(trials, "trials"),
        data=DataFacts("rows.jsonl#train", rows, 0, tokens, tokens / 2, tokens, math.ceil(tokens), 0.0),
        objective=objective,
        source="text.txt",
        methods=tuple(methods),
    )
    found = recommend(asked)
    spec = parse_sweep(dict(found.values))
    plan_sweep(spec, rows - int(spec.data.held_out))
    assert spec.budget.trials is not None
    assert spec.budget.trials + spec.winner.candidates * spec.winner.repeats <= trials
    assert all(each.reason and each.sources for each in found.advice)
    told = {each.field for each in found.advice}
    for method in spec.search_space.method:
        assert f"search_space.method.{method}.learning_rate" in told
        low, high = range_of(found, method)
        assert 0 < low < high
    assert read_value(found.yaml) == yaml.safe_load(yaml.safe_dump(dict(found.values)))


@given(amount=st.integers(5_000, 10**9))
@settings(max_examples=30, deadline=None)
def test_samples_are_never_exceeded(amount: int) -> None:
    found = recommend(request(budget=BudgetAsked(amount, "samples")))
    spec = parse_sweep(dict(found.values))
    assert spec.budget.trials is not None
    assert spec.budget.samples is not None
    assert (spec.budget.trials + spec.winner.candidates * spec.winner.repeats) * spec.budget.samples <= amount


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("24-trials", 24, "trials"),
        ("1 trial", 1, "trials"),
        ("200k-samples", 200_000, "samples"),
        ("1.5M samples", 1_500_000, "samples"),
        ("90min", 90, "minutes"),
        ("2-hours", 120, "minutes"),
    ],
)
def test_budgets_are_read(text: str, amount: float, unit: str) -> None:
    assert parse_budget(text) == BudgetAsked(amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["24", "-3 trials", "0-trials", "1.5 trials", "many", "", "10 euros"])
def test_wrong_budgets_are_one_clear_error(text: str) -> None:
    with pytest.raises(InputError, match="--budget"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"budget": BudgetAsked(1, "trials")}, "--budget"),
        ({"budget": BudgetAsked(100, "samples")}, "--budget"),
        ({"samples": 10}, "--samples"),
        ({"objective": "downstream"}, "--task"),
        ({"objective": "forgetting"}, "--text"),
    ],
)
def test_what_cannot_be_met_is_one_clear_error(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        recommend(request(**changes))


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(SpecError, match=r"no method of this name.*lora"):
        recommend(request(methods=("loraa",)))


def test_lora_lies_ten_times_above_full_and_fifteen_in_very_short_runs() -> None:
    def centre(method: str, steps: int) -> float:
        return rate_rule(method, BASE, "loss", steps).belief.centre

    assert centre("lora", 1000) / centre("full", 1000) == pytest.approx(10)
    assert centre("lora", 50) / centre("full", 50) == pytest.approx(15)


def test_rates_follow_the_published_dependence_on_width() -> None:
    def centre(family: str, width: int) -> float:
        return rate_rule("full", ModelFacts("x", family, width, 10**9), "loss", 1000).belief.centre

    assert centre("llama", 2000) == pytest.approx(5e-5)
    assert centre("llama", 4000) == pytest.approx(5e-5 * 0.5**0.781)
    assert centre("qwen3", 4000) == pytest.approx(5e-5 * 0.5**0.0775)
    unknown = rate_rule("full", ModelFacts("x", "gpt2", 500, 10**9), "loss", 1000).belief
    assert unknown.deviation > rate_rule("full", ModelFacts("x", "llama", 500, 10**9), "loss", 1000).belief.deviation


@pytest.mark.parametrize(
    ("family", "width", "best"),
    [
        ("llama", 2048, 1e-3),
        ("llama", 3072, 1e-3),
        ("llama", 4096, 3e-4),
        ("llama", 8192, 3e-4),
        ("qwen3", 2560, 1e-3),
        ("qwen3", 4096, 1e-3),
        ("qwen3", 5120, 3e-4),
        ("qwen3_moe", 2048, 1e-3),
    ],
)
def test_best_rates_of_the_published_sweep_lie_in_the_recommended_range(family: str, width: int, best: float) -> None:
    # tinker-cookbook, sft_sweep.md: LoRA of the largest rank on tulu3, 780 steps of 128 samples; Llama 3.2 1B and 3B, 3.1 8B,
    # 3.3 70B; Qwen3 4B, 8B, 32B and 30B-A3B.
    low, high = rate_rule("lora", ModelFacts("x", family, width, 10**9), "loss", 780).belief.interval(0.8)
    assert low <= best <= high


def test_away_from_the_training_distribution_rates_are_lower_and_batches_larger() -> None:
    loss = recommend(request(samples=20_000, methods=("full",)))
    away = recommend(request(samples=20_000, methods=("full",), objective="downstream", source="task.jsonl"))
    assert range_of(away, "full")[0] < range_of(loss, "full")[0]
    sizes = [found.values["search_space"]["effective_batch_size"] for found in (loss, away)]
    assert max(sizes[1]) > max(sizes[0])


def test_adapters_bound_the_batch() -> None:
    rows = DataFacts("rows.jsonl#train", 400_000, 0, 300.0, 120.0, 900.0, 1200, 0.0)
    full = recommend(request(data=rows, methods=("full",))).values["search_space"]["effective_batch_size"]
    both = recommend(request(data=rows, methods=("full", "lora"))).values["search_space"]["effective_batch_size"]
    assert max(both) < max(full)


def test_own_sweeps_move_and_narrow_the_range() -> None:
    rates = {10 ** (-4.5 + step / 4): abs(step - 6.0) for step in range(10)}  # best at 1e-3
    plain, told = recommend(request()), recommend(request(), [past(rates)])
    before, after = range_of(plain, "full"), range_of(told, "full")
    assert after[1] / after[0] < before[1] / before[0]
    assert math.sqrt(after[0] * after[1]) > 2 * math.sqrt(before[0] * before[1])
    assert told.past_sweeps == ("earlier",)
    advice = next(each for each in told.advice if each.field == "search_space.method.full.learning_rate")
    assert "earlier full best near" in advice.reason
    assert "past sweeps" in advice.sources


def test_another_models_sweep_tells_less_than_ones_own() -> None:
    rates = {10 ** (-4.5 + step / 4): abs(step - 6.0) for step in range(10)}
    other = ModelFacts("other", "qwen3", 2048, 1_200_000_000)
    centres = [
        math.prod(range_of(recommend(request(), sweeps), "full"))
        for sweeps in ([], [past(rates, model=other, data="else#train")], [past(rates)])
    ]
    assert centres[0] < centres[1] < centres[2]


def test_the_best_method_of_a_like_sweep_joins_the_search() -> None:
    good, bad = past({1e-4: 1.0, 1e-3: 1.1}, method="dora"), past({1e-4: 2.0, 1e-3: 2.1})
    sweep = past({}, trials=(*good.trials, *bad.trials))
    assert "dora" in recommend(request(), [sweep]).values["search_space"]["method"]
    assert "dora" not in recommend(request()).values["search_space"]["method"]


def test_rank_grows_with_what_the_data_tell() -> None:
    def rank(rows: int) -> int:
        data = DataFacts("rows.jsonl#train", rows, 0, 300.0, 120.0, 900.0, 1200, 0.0)
        return int(recommend(request(data=data, methods=("lora",))).values["search_space"]["method"]["lora"]["r"])

    assert rank(2_000) < rank(60_000) <= rank(1_000_000)


def test_own_settings_are_kept_and_their_reasons_dropped() -> None:
    settings = {
        "model": "base",
        "data": {"train": "rows.jsonl", "held_out": 7},
        "stopping": {"audit": 0.2},
        "search_space": {
            "schedule": ["constant", "cosine"],
            "method": {"full": {"learning_rate": {"choice": [1e-5, 2e-5]}}},
        },
    }
    found = recommend(request(settings=settings))
    spec = parse_sweep(dict(found.values))
    assert spec.data.held_out == 7
    assert spec.stopping.audit == 0.2
    assert spec.search_space.learning_rate_of("full").grid() == (1e-5, 2e-5)
    told = {each.field for each in found.advice}
    assert not told & {"data.held_out", "search_space.schedule", "search_space.method.full.learning_rate"}


def test_a_name_that_was_used_is_numbered() -> None:
    first = recommend(request()).values["name"]
    second = recommend(request(), [past({1e-4: 1.0}, name=first)]).values["name"]
    third = recommend(request(), [past({1e-4: 1.0}, name=name) for name in (first, second)]).values["name"]
    assert (second, third) == (f"{first}-2", f"{first}-3")


def test_a_hostile_name_stays_inside_its_comment() -> None:
    rates = {10 ** (-4.5 + step / 4): abs(step - 6.0) for step in range(10)}
    found = recommend(request(), [past(rates, name="evil\nname: other\u2028x: 1")], ["note\r\nmodel: stolen"])
    values = yaml.safe_load(found.yaml)
    assert values["name"] != "other"
    assert values["model"] == "base"


def test_advice_needs_a_reason_and_a_source() -> None:
    with pytest.raises(ValueError, match="reason"):
        Advice("budget", 1, " ", ("x",))
    with pytest.raises(ValueError, match="source"):
        Advice("budget", 1, "because", ())


@pytest.mark.parametrize(
    ("label", "kind"),
    [("eval/loss", "loss"), ("task/exact_match", "downstream"), ("1 eval/loss + 1 general/forgetting", "forgetting")],
)
def test_kind_of_an_objective_is_told_by_its_metric(label: str, kind: str) -> None:
    assert kind_of_objective(label) == kind
