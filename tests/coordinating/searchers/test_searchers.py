"""Where configurations come from: deterministic, without repeats, inside the space, and rebuilt by telling."""

from typing import Any

import pytest

from orchestrator.coordinating.searchers.listed import ListSearcher
from orchestrator.coordinating.searchers.make import make_searcher
from orchestrator.coordinating.searchers.searcher import Searcher, SearchTask
from orchestrator.errors import SpecError
from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.schema import sweep_schema
from orchestrator.spec.search_space.domains import Choice
from orchestrator.spec.search_space.enumeration import grid_configs
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.searchers import SEARCHERS, SearcherKind
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import plan_sweep
from orchestrator.spec.trial.dimensions import read_warmup
from orchestrator.spec.trial.identity import trial_fingerprint
from orchestrator.spec.trial.schedules import read_schedule
from tests.worlds.tuning_worlds import formula_loss, small_spec

WIDE: dict[str, Any] = {
    "method": {
        "full": {"learning_rate": {"log_uniform": [1e-6, 1e-3]}},
        "lora": {
            "learning_rate": {"log_uniform": [1e-5, 1e-1]},
            "r": {"integer": [4, 32], "log": True},
            "lora_dropout": {"uniform": [0.0, 0.2], "quantum": 0.05},
            "lora_alpha": 16,
        },
        "freeze_lower": {"share": {"uniform": [0.25, 0.75]}},
    },
    "effective_batch_size": [8, 16],
    "schedule": ["constant", {"name": "wsd", "decay_share": 0.2}, {"name": "linear", "min_ratio": 0}],
    "warmup": [0, {"steps": 0}, {"steps": 2}, {"samples": 16}, {"ratio": 0.05}],
    "clip_norm": [None, 1],
    "seed": [0, 3],
}
TWO = [{"metric": "eval/loss"}, {"metric": "other/loss", "mode": "max"}]
DRAWN: list[Any] = [
    {"kind": "random"},
    {"kind": "sobol"},
    {"kind": "tpe", "startup_trials": 4},
    {"kind": "gp", "startup_trials": 4},
    {"kind": "nsga2", "objectives": TWO},
]
LEARNING = DRAWN[2:]


def named(searcher: Any) -> str:
    return str(searcher["kind"])


def wide(searcher: Any, trials: int = 12, **space: Any) -> SweepSpec:
    return small_spec(searcher=searcher, search_space={**WIDE, **space}, budget={"trials": trials, "samples": 64})


def source_of(spec: SweepSpec) -> Searcher:
    return make_searcher(spec, 64, spec.budget.trials or 24)


def scores_of(config: TrialConfig, level: int) -> dict[str, float]:
    stand_in = {"freeze_lower": "full"}.get(config.method, config.method)
    values = TrialConfig.from_dict({**config.as_dict(), "method": stand_in})
    return {"eval/loss": formula_loss(values, level), "other/loss": config.learning_rate}


def draw(source: Searcher, count: int, told: bool = True) -> list[TrialConfig]:
    found = []
    for number in range(count):
        config = source.propose()
        if config is None:
            break
        found.append(config)
        if told:
            tell_some(source, config, number)
    return found


def tell_some(source: Searcher, config: TrialConfig, number: int) -> None:
    """Tell of a trial's milestones: two in three are completed, the others wait or are stopped, every seventh fails."""
    if number % 7 == 6:
        source.tell(config, Outcome.FAILED)
        return
    early = Outcome.STOPPED if number % 2 else Outcome.PAUSED
    source.tell(config, Outcome.RUNNING if number % 3 else early, 16, scores_of(config, 16))
    if number % 3:
        source.tell(config, Outcome.COMPLETED, 64, scores_of(config, 64))


def assert_inside(space: SearchSpace, config: TrialConfig) -> None:
    dimensions = space.dimensions(config.method)
    values = config.as_dict()
    for name, domain in dimensions.items():
        if name.startswith("option."):
            assert domain.contains(config.method_options[name.removeprefix("option.")]), name
        elif name == "schedule":
            assert isinstance(domain, Choice)
            assert (config.schedule, dict(config.schedule_options)) in [read_schedule(v) for v in domain.values]
        elif name == "warmup":
            assert isinstance(domain, Choice)
            assert (config.warmup_unit, config.warmup_amount) in [read_warmup(v) for v in domain.values]
        else:
            assert domain.contains(values[name]), name
    own = {name.removeprefix("option.") for name in dimensions if name.startswith("option.")}
    assert set(config.method_options) == own


@pytest.mark.parametrize("searcher", DRAWN, ids=named)
def test_proposals_lie_in_the_space_and_differ(searcher: Any) -> None:
    spec = wide(searcher)
    configs = draw(source_of(spec), 12)
    assert len({trial_fingerprint(config) for config in configs}) == len(configs) == 12
    for config in configs:
        assert_inside(spec.search_space, config)
        assert config.samples == 64
    assert len({config.method for config in configs}) > 1


@pytest.mark.parametrize("searcher", DRAWN, ids=named)
def test_same_seed_proposes_the_same(searcher: Any) -> None:
    assert draw(source_of(wide(searcher)), 10) == draw(source_of(wide(searcher)), 10)


@pytest.mark.parametrize("searcher", DRAWN, ids=named)
def test_another_seed_proposes_others(searcher: Any) -> None:
    assert draw(source_of(wide(searcher)), 6) != draw(source_of(wide({**searcher, "seed": 5})), 6)


@pytest.mark.parametrize("searcher", LEARNING, ids=named)
@pytest.mark.parametrize("repeats", [1, 2])
def test_source_is_rebuilt_by_telling_another_one(searcher: Any, repeats: int) -> None:
    spec = wide(searcher, repeats=repeats)
    earlier = draw(source_of(spec), 10, told=False)
    rebuilt = source_of(spec)
    for number, config in enumerate(earlier):
        tell_some(rebuilt, config, number)
    later = draw(rebuilt, 6)
    assert len(later) == 6
    for config in later:
        plain = TrialConfig.from_dict({**config.as_dict(), "seed": config.seed if repeats == 1 else 0})
        assert_inside(spec.search_space, plain)
    assert not {trial_fingerprint(c) for c in later} & {trial_fingerprint(c) for c in earlier}


@pytest.mark.parametrize("searcher", [*DRAWN, {"kind": "grid"}], ids=named)
def test_finite_space_is_searched_to_its_end(searcher: Any) -> None:
    spec = small_spec(searcher=searcher, budget={"trials": 12, "samples": 64})
    source = make_searcher(spec, 64, 500)
    configs = draw(source, 500)
    assert len({trial_fingerprint(config) for config in configs}) == len(configs) == 12
    assert source.propose() is None


@pytest.mark.parametrize("searcher", [*DRAWN, {"kind": "grid"}], ids=named)
def test_repeats_differ_by_their_seed_alone(searcher: Any) -> None:
    space = {"method": {"full": {"learning_rate": [1e-5, 3e-5]}}, "effective_batch_size": [8, 16], "repeats": 3}
    spec = small_spec(searcher=searcher, search_space=space, budget={"trials": 12, "samples": 64})
    configs = draw(make_searcher(spec, 64, 12), 12)
    seeds: dict[str, set[int]] = {}
    for config in configs:
        seeds.setdefault(trial_fingerprint(TrialConfig.from_dict({**config.as_dict(), "seed": 0})), set()).add(
            config.seed
        )
    assert len(configs) == 12
    assert all(found == {0, 1, 2} for found in seeds.values())


def test_sobol_takes_every_method_about_equally_often() -> None:
    spec = wide({"kind": "sobol"}, trials=32)
    methods = [config.method for config in draw(source_of(spec), 32)]
    assert all(9 <= methods.count(name) <= 12 for name in WIDE["method"])


def test_number_of_trials_limits_a_list() -> None:
    assert len(draw(source_of(wide({"kind": "sobol"}, trials=5)), 50)) == 5


def backwards(task: SearchTask) -> Searcher:
    return ListSearcher(grid_configs(task.space, task.samples)[::-1])


def test_a_searcher_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="searcher = 'backwards': must be one of grid, random, "):
        small_spec(searcher="backwards")
    monkeypatch.setitem(SEARCHERS, "backwards", SearcherKind("toy", f"{__name__}:backwards", enumerates=True))
    spec = small_spec(searcher="backwards", budget={"samples": 64})
    assert draw(make_searcher(spec, 64, 12), 20) == grid_configs(spec.search_space, 64)[::-1]
    assert plan_sweep(spec, 100).trials == 12
    assert "backwards" in sweep_schema()["$defs"]["SearcherSpec"]["properties"]["kind"]["anyOf"][0]["enum"]
