"""Optuna's samplers learn at every milestone, the same in every process."""

import math
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.coordinating.searchers.make import make_searcher
from orchestrator.coordinating.searchers.searcher import Searcher
from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.trial.identity import trial_fingerprint
from tests.worlds.tuning_worlds import small_spec

BEST = {"full": 1e-5, "lora": 3e-3}
SPACE: dict[str, Any] = {
    "method": {
        "full": {"learning_rate": {"log_uniform": [1e-6, 1e-2]}},
        "lora": {"learning_rate": {"log_uniform": [1e-6, 1e-2]}, "r": {"integer": [4, 32], "log": True}},
    },
    "effective_batch_size": [8, 16],
    "weight_decay": {"uniform": [0.0, 0.1]},
    "any_learning_rate": True,
}
TWO = [{"metric": "eval/loss"}, {"metric": "other/loss"}]
TPE, GP = {"kind": "tpe", "startup_trials": 6}, {"kind": "gp", "startup_trials": 6}
NSGA2 = {"kind": "nsga2", "startup_trials": 6, "objectives": TWO}
LEARNING: list[Any] = [TPE, GP, NSGA2]
TRIALS, SEEDS = 22, 3


def named(searcher: Any) -> str:
    return str(searcher["kind"])


def source_of(searcher: Any, space: dict[str, Any] = SPACE, **changes: Any) -> Searcher:
    spec = small_spec(searcher=searcher, search_space={**space, **changes}, budget={"trials": TRIALS, "samples": 64})
    return make_searcher(spec, 64, TRIALS)


def miss(config: TrialConfig) -> float:
    """Return how far a configuration's learning rate lies from its method's best one, in decades."""
    return abs(math.log10(config.learning_rate / BEST[config.method]))


def scores_of(config: TrialConfig, level: int) -> dict[str, float]:
    loss = miss(config) + 8 / level + 0.05 * (config.method == "lora")
    return {"eval/loss": loss, "other/loss": 2 * loss + config.weight_decay}


def drawn(source: Searcher, count: int) -> list[TrialConfig]:
    """Draw configurations of which every one waits at the first milestone, so that none ever ends."""
    found = []
    for _ in range(count):
        config = source.propose()
        assert config is not None
        source.tell(config, Outcome.PAUSED, 8, scores_of(config, 8))
        found.append(config)
    return found


def unheard(source: Searcher, count: int) -> list[TrialConfig]:
    """Draw configurations without telling of any."""
    return [config for _ in range(count) if (config := source.propose()) is not None]


@pytest.fixture(scope="module", params=LEARNING, ids=named)
def late(request: pytest.FixtureRequest) -> list[TrialConfig]:
    """The last ten proposals of each of some sweeps in which no trial has ended."""
    return [
        config for seed in range(SEEDS) for config in drawn(source_of({**request.param, "seed": seed}), TRIALS)[-10:]
    ]


def test_proposals_come_nearer_to_the_optimum_though_no_trial_ends(late: list[TrialConfig]) -> None:
    blind = [unheard(source_of({"kind": "random", "seed": seed}), TRIALS)[-10:] for seed in range(SEEDS)]
    assert statistics.median(map(miss, late)) < statistics.median(miss(config) for part in blind for config in part) / 2


def test_every_method_is_modelled_by_itself(late: list[TrialConfig]) -> None:
    # The two methods' best learning rates lie 2.5 decades apart.
    for method, best in BEST.items():
        rates = [math.log10(config.learning_rate) for config in late if config.method == method]
        assert statistics.median(rates) == pytest.approx(math.log10(best), abs=0.7)


def test_the_better_method_is_proposed_more_often() -> None:
    worse = {"full": 2.0, "lora": 0.0}
    source = source_of(TPE)
    found = []
    for _ in range(TRIALS):
        config = source.propose()
        assert config is not None
        source.tell(config, Outcome.PAUSED, 8, {"eval/loss": miss(config) + worse[config.method]})
        found.append(config.method)
    assert found[-12:].count("lora") > 8


@pytest.mark.parametrize("searcher", LEARNING, ids=named)
def test_start_up_trials_are_sobol_points(searcher: Any) -> None:
    assert drawn(source_of(searcher), 6) == unheard(source_of("sobol"), 6)
    assert unheard(source_of(searcher), 12) == unheard(source_of("sobol"), 12)


def test_samplers_part_once_they_have_heard_of_a_milestone() -> None:
    after = [tuple(map(trial_fingerprint, drawn(source_of(searcher), 12)[6:])) for searcher in LEARNING]
    assert len(set(after)) == len(LEARNING)


@pytest.mark.parametrize("searcher", LEARNING, ids=named)
def test_every_milestone_counts(searcher: Any) -> None:
    # The first milestone points to low learning rates, the second one to high ones: some have been there.
    told: dict[bool, list[TrialConfig]] = {}
    for deeper in (False, True):
        source = source_of(searcher, method={"full": SPACE["method"]["full"]})
        for config in unheard(source, 12):
            height = math.log10(config.learning_rate)
            source.tell(config, Outcome.RUNNING, 8, {"eval/loss": height, "other/loss": height})
            if deeper:
                source.tell(config, Outcome.PAUSED, 16, {"eval/loss": -height, "other/loss": -height})
        told[deeper] = unheard(source, 6)
    low, high = (statistics.median(config.learning_rate for config in told[deeper]) for deeper in (False, True))
    assert low < 1e-4 < high


# -- interruption ---------------------------------------------------------------------------------


class Recorded:
    """A source together with the journal of its calls, from which another process rebuilds it."""

    def __init__(self, searcher: Any, repeats: int) -> None:
        self._arguments: Any = (searcher, {**SPACE, "repeats": repeats})
        self.source = source_of(*self._arguments)
        self.calls: list[tuple[Any, ...]] = []
        self.configs: list[TrialConfig] = []

    def propose(self) -> None:
        config = self.source.propose()
        assert config is not None
        self.configs.append(config)
        self.calls.append((config, Outcome.PENDING))

    def tell(self, *call: Any) -> None:
        self.source.tell(*call)
        self.calls.append(call)

    def rebuilt(self) -> Searcher:
        source = source_of(*self._arguments)
        for call in self.calls:
            source.tell(*call)
        return source


events = st.lists(
    st.one_of(
        st.just("propose"),
        st.tuples(st.integers(0, 30), st.sampled_from([8, 16, 64]), st.sampled_from(list(Outcome))),
    ),
    max_size=12,
)


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("searcher", LEARNING, ids=named)
@given(events=events)
@settings(deadline=None, max_examples=4)
def test_a_rebuilt_source_goes_on_like_the_uninterrupted_one(searcher: Any, repeats: int, events: list[Any]) -> None:
    recorded = Recorded(searcher, repeats)
    for _ in range(8):
        recorded.propose()
        recorded.tell(recorded.configs[-1], Outcome.RUNNING, 8, scores_of(recorded.configs[-1], 8))
    for event in events:
        if event == "propose":
            recorded.propose()
            continue
        number, level, outcome = event
        config = recorded.configs[number % len(recorded.configs)]
        recorded.tell(config, outcome, level, scores_of(config, level) if number % 5 else {})
    rebuilt = recorded.rebuilt()
    assert unheard(rebuilt, 3) == unheard(recorded.source, 3)


def test_an_interruption_between_repeats_loses_none() -> None:
    recorded = Recorded(TPE, repeats=3)
    for _ in range(4):
        recorded.propose()
    rest = unheard(recorded.rebuilt(), 5)
    assert [config.seed for config in recorded.configs + rest] == [0, 1, 2] * 3
    assert rest[0].learning_rate == recorded.configs[3].learning_rate


@pytest.mark.parametrize("searcher", LEARNING, ids=named)
def test_repeats_are_heard_one_by_one(searcher: Any) -> None:
    configs = drawn(source_of(searcher, repeats=2), 16)
    assert [config.seed for config in configs] == [0, 1] * 8
    assert all(
        first.learning_rate == second.learning_rate for first, second in zip(configs[::2], configs[1::2], strict=True)
    )


# -- missing and broken scores --------------------------------------------------------------------


@pytest.mark.parametrize("searcher", LEARNING, ids=named)
def test_broken_configurations_are_kept_away_from(searcher: Any) -> None:
    late = []
    for seed in range(SEEDS):
        source = source_of({**searcher, "seed": seed}, method={"full": SPACE["method"]["full"]})
        for number in range(TRIALS):
            config = source.propose()
            assert config is not None
            late += [config.learning_rate] if number >= TRIALS - 10 else []
            if config.learning_rate > 1e-4:
                source.tell(config, Outcome.DIVERGED if number % 2 else Outcome.FAILED)
            else:
                # The higher the better, up to the cliff.
                height = -math.log10(config.learning_rate)
                source.tell(config, Outcome.PAUSED, 8, {"eval/loss": height, "other/loss": height})
    # Half of the range, on its logarithm, breaks, and the better half of the rest is next to it.
    assert sum(rate > 1e-4 for rate in late) / len(late) < 0.45


@pytest.mark.parametrize("searcher", LEARNING, ids=named)
@pytest.mark.parametrize(
    "scores",
    [{}, {"unknown": 1.0}, {"eval/loss": math.nan, "other/loss": 1.0}, {"other/loss": 1.0}, {"eval/loss": 2.0}],
    ids=["none", "other", "nan", "second", "first"],
)
def test_missing_metrics_do_not_stop_proposals(searcher: Any, scores: dict[str, float]) -> None:
    source = source_of(searcher)
    found = []
    for number in range(14):
        config = source.propose()
        assert config is not None
        found.append(trial_fingerprint(config))
        source.tell(config, Outcome.COMPLETED if number % 2 else Outcome.PAUSED, 64 if number % 2 else 8, scores)
    assert len(set(found)) == 14


def test_an_objective_of_the_end_does_not_hold_the_others_up() -> None:
    late = []
    for seed in range(SEEDS):
        source = source_of({**NSGA2, "seed": seed}, method={"full": SPACE["method"]["full"]})
        for number in range(TRIALS):
            config = source.propose()
            assert config is not None
            source.tell(config, Outcome.RUNNING, 8, {"eval/loss": miss(config)})
            if number % 8 == 0:
                source.tell(config, Outcome.COMPLETED, 64, {"eval/loss": miss(config), "other/loss": 1.0})
            late += [miss(config)] if number >= TRIALS - 10 else []
    assert statistics.median(late) < 0.7


# -- no duplicates, and an end --------------------------------------------------------------------

finite = st.fixed_dictionaries(
    {
        "method": st.sampled_from(
            [
                {"full": {}},
                {"full": {}, "lora": {"r": {"choice": [4, 8]}}},
                {"lora": {"r": {"integer": [4, 6]}}, "bitfit": {}},
            ]
        ),
        "effective_batch_size": st.sampled_from([8, [8, 16], {"integer": [8, 24], "step": 8}]),
        "learning_rate": st.sampled_from([1e-4, [1e-5, 1e-4], {"uniform": [1e-4, 3e-4], "quantum": 1e-4}]),
        "repeats": st.integers(1, 2),
    }
)


@pytest.mark.parametrize(
    "searcher",
    # A Gaussian process is fitted anew for each of some hundred proposals: a minute.
    [pytest.param(each, marks=[pytest.mark.slow] if each["kind"] == "gp" else []) for each in LEARNING],
    ids=named,
)
@given(space=finite, quiet=st.integers(1, 5))
@settings(deadline=None, max_examples=4)
def test_finite_spaces_are_proposed_whole_and_nothing_twice(searcher: Any, space: dict[str, Any], quiet: int) -> None:
    source = source_of({**searcher, "startup_trials": 3}, space)
    whole = make_searcher(small_spec(searcher="grid", search_space=space), 64, 500)
    found = []
    for number in range(200):
        config = source.propose()
        if config is None:
            break
        found.append(trial_fingerprint(config))
        if number % quiet == 0:
            source.tell(config, Outcome.PAUSED, 8, {"eval/loss": number % 7, "other/loss": number % 3})
    assert sorted(found) == sorted(map(trial_fingerprint, unheard(whole, 500)))
    assert source.propose() is None
