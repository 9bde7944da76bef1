"""What the report computes: recipe, edges and next search, importance, Pareto front, calibration, thinned series."""

from __future__ import annotations

import itertools
import math
import random
import shutil

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import read_sweep
from orchestrator.coordinating.searchers.sobol import sobol_points
from orchestrator.records import TrialConfig
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts
from orchestrator.reporting.sweep_report.facts.sweep_files import recipe, sweep_yaml
from orchestrator.reporting.sweep_report.facts.thinning import drawn_trials, thin
from orchestrator.reporting.sweep_report.sections.calibration import forecasts
from orchestrator.reporting.sweep_report.sections.edges import edge_side, find_edges
from orchestrator.reporting.sweep_report.sections.importance import importance_section, importances
from orchestrator.reporting.sweep_report.sections.next_space import propose
from orchestrator.reporting.sweep_report.sections.pareto import pareto_front
from orchestrator.reporting.sweep_report.sections.trade_off import NAMES, points, trade_off_section
from orchestrator.spec.loading import load_sweep
from orchestrator.spec.search_space.domains import Choice, Integer, Uniform
from orchestrator.spec.search_space.enumeration import config_at, cube_dimensions, grid_configs
from orchestrator.spec.search_space.search_space import SearchSpace
from tests.worlds.report_sweeps import LEVELS, RANGES, MadeSweep, finished, quality, sweep_spec

EVERYTHING = {
    "method": {
        "full": {},
        "lora": {"r": {"integer": [2, 64], "log": True}, "target_modules": [["q_proj", "v_proj"], "all-linear"]},
        "freeze_lower": {"learning_rate": {"log_uniform": [1e-5, 1e-3]}, "share": {"uniform": [0.1, 0.9]}},
    },
    "effective_batch_size": {"integer": [8, 64], "step": 8},
    "schedule": ["constant", "cosine", {"name": "wsd", "decay_share": 0.2}],
    "warmup": [0, {"ratio": 0.03}, {"steps": 10}],
    "weight_decay": [0.0, 0.1],
    "clip_norm": [None, 1.0],
    "beta2": {"uniform": [0.9, 0.99]},
    "seed": [0, 1],
}


def facts_of(folder):
    history = read_sweep(folder, signals=True)
    return SweepFacts(history, history.ended)


def written(tmp_path, spec):
    """Return a sweep file's path."""
    file = tmp_path / "written.yaml"
    file.write_text(sweep_yaml(spec), encoding="utf-8")
    return file


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 500))
def test_recipe_trains_exactly_the_configuration_it_stands_for(tmp_path_factory, number):
    spec = sweep_spec(search_space=EVERYTHING)
    points = sobol_points(cube_dimensions(spec.search_space), 1)
    config = config_at(spec.search_space, next(itertools.islice(points, number, None)), 4096)
    read = load_sweep(written(tmp_path_factory.mktemp("recipe"), recipe(spec, config)))
    assert grid_configs(read.search_space, read.budget.samples) == [config]
    assert (read.model, read.data, read.evaluation) == (spec.model, spec.data, spec.evaluation)


def test_shipped_sweeps_read_back_from_what_the_report_prints(tmp_path):
    from pathlib import Path

    folder = Path(__file__).resolve().parents[3] / "search_spaces"
    shutil.copy(folder / "own_code.py", tmp_path)
    for file in sorted(folder.glob("*.yaml")):
        spec = load_sweep(file)
        assert load_sweep(written(tmp_path, spec)).digest == spec.digest, file.name


@pytest.mark.parametrize(
    ("domain", "value", "side"),
    [
        (Choice((8, 32, 128)), 8, "low"),
        (Choice((128, 8, 32)), 128, "high"),
        (Choice((8, 32, 128)), 32, None),
        (Choice(("a", "b")), "a", None),
        (Choice((None, 1.0)), 1.0, None),
        (Choice((3,)), 3, None),
        (Uniform(1e-5, 1e-3, log=True), 9e-4, "high"),
        (Uniform(1e-5, 1e-3, log=True), 1e-4, None),
        (Uniform(0.0, 1.0), 0.05, "low"),
        (Uniform(0.5, 0.5), 0.5, None),
        (Integer(1, 100), 95, "high"),
        (Integer(1, 100, log=True), 1, "low"),
        (Integer(4, 8, 2), 6, None),
    ],
)
def test_edge_is_the_outermost_value_or_the_outer_tenth_of_a_range(domain, value, side):
    assert edge_side(domain, value) == side


def test_edges_name_method_and_hyperparameter(tmp_path):
    found = {(edge.method, edge.dimension): edge for edge in find_edges(facts_of(finished(tmp_path)))}
    # Both methods are best at their middle rates and at the smallest batch.
    assert found["full", "effective_batch_size"].side == "low"
    assert ("full", "learning_rate") not in found
    assert all(name not in ("seed", "warmup") for _, name in found)


def test_next_search_goes_past_the_edge_and_narrows_inside(tmp_path):
    facts = facts_of(finished(tmp_path))
    proposal = propose(facts, find_edges(facts))
    assert proposal.name == "made-next"
    sizes = proposal.search_space.effective_batch_size.grid()
    assert min(sizes) < 8
    assert 8 in sizes
    rates = proposal.search_space.method["full"]["learning_rate"].grid()
    assert 1e-3 in rates
    assert min(rates) > 3e-4
    assert max(rates) < 3e-3
    assert load_sweep(written(tmp_path, proposal)).digest == proposal.digest


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_next_search_is_valid_whatever_was_best(tmp_path_factory, seed):
    generator = random.Random(seed)
    worth = {}

    def scores(config, level):
        return {"eval/loss": worth.setdefault(repr(config), generator.uniform(0.5, 2))}

    folder = tmp_path_factory.mktemp("runs")
    made = MadeSweep(
        folder, sweep_spec(search_space=EVERYTHING), scores, stopped_at=lambda c: None, step=4096, levels=(4096,)
    )
    made.train(8)
    facts = facts_of(made.end())
    proposal = propose(facts, find_edges(facts))
    read = load_sweep(written(folder, proposal))
    assert read.digest == proposal.digest
    best = facts.best.result.config
    assert best.method in read.search_space.method
    domain = read.search_space.learning_rate_of(best.method)
    assert (
        domain.contains(best.learning_rate)
        or math.isclose(domain.low, best.learning_rate, rel_tol=0.05)
        or math.isclose(domain.high, best.learning_rate, rel_tol=0.05)
    )


def test_importance_finds_the_hyperparameter_that_decides():
    generator = random.Random(3)
    configs = [
        TrialConfig(
            generator.choice(["full", "lora"]), generator.choice([8, 16, 32]), 10 ** generator.uniform(-5, -3), 64
        )
        for _ in range(120)
    ]
    found = importances(sorted(configs, key=lambda config: abs(math.log10(config.learning_rate) + 4.2)))
    assert found[0].name == "learning rate"
    assert found[0].share > 0.8 > 3 * found[0].chance
    assert {each.name for each in found} == {"learning rate", "method", "effective batch size"}
    assert math.isclose(sum(each.share for each in found), 1)


def test_importance_of_nothing_stays_within_chance():
    generator = random.Random(5)
    passed = 0
    for _ in range(10):
        configs = [
            TrialConfig(
                generator.choice(["full", "lora"]), generator.choice([8, 16, 32]), 10 ** generator.uniform(-5, -3), 64
            )
            for _ in range(60)
        ]
        passed += sum(each.share > each.chance for each in importances(configs))
    assert passed <= 6, "5 % of 30 chances are 1.5"


def test_importance_compares_learning_rates_within_their_methods():
    rates = {"full": (1e-5, 1e-4), "lora": (1e-3, 1e-2)}
    configs = [TrialConfig(name, 8, rates[name][place], 64) for place in (1, 0) for _ in range(12) for name in rates]
    found = {each.name: each for each in importances(configs)}
    assert found["learning rate"].share > 0.95, "the higher rate of each method is ahead"


def test_importance_with_too_few_trials_says_so(tmp_path):
    section = importance_section(facts_of(finished(tmp_path, trials=12)))
    assert "wants five trials in it, so 20 judged trials; there are 12" in section.blocks[0].spans[0]
    assert len(section.blocks) == 1


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=30))
def test_pareto_front_holds_what_nobody_beats_in_both(points):
    front = {points[place] for place in pareto_front(points)}
    beaten = {a for a in points if any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in points)}
    assert front == set(points) - beaten


def test_forecasts_are_held_against_where_trials_ended(tmp_path):
    facts = facts_of(finished(tmp_path))
    found = forecasts(facts)
    assert len(found) == len(LEVELS) * len(facts.completed)
    ends = {trial.result.name: trial.result.objective for trial in facts.completed}
    assert all(each.ended == ends[each.trial] for each in found)
    assert all(each.inside for each in found)


def test_a_sweep_without_stopping_says_what_stopping_would_have_saved(tmp_path):
    facts = facts_of(finished(tmp_path, stopped_at=lambda config: None, diverges=lambda c: c.learning_rate == 3e-3))
    found = {(point.rule, point.setting): point for point in points("made", facts.trials, facts.objective)}
    assert {rule for rule, _ in found} == set(NAMES)
    careful, bold = found["ours-forecast", "miss0.01"], found["ours-forecast", "miss0.2"]
    assert 0 < bold.share <= careful.share < 1
    assert all(point.regret >= -1e-9 and 0 <= point.kept <= 1 for point in found.values())
    # These curves keep their order, so that whoever looks at the objective loses nothing.
    assert found["halving", "rf2"].regret == pytest.approx(0, abs=1e-9)
    assert found["random", "rf8"].regret > 0
    section = trade_off_section(facts)
    assert section is not None
    assert section.anchor == "trade-off"


def test_no_trade_off_where_some_were_stopped_or_there_are_few(tmp_path):
    assert trade_off_section(facts_of(finished(tmp_path / "stopped"))) is None
    assert trade_off_section(facts_of(finished(tmp_path / "few", trials=7, stopped_at=lambda config: None))) is None


@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), st.floats(-1e6, 1e6) | st.just(math.nan)),
        max_size=400,
        unique_by=lambda p: p[0],
    ),
    st.integers(2, 50),
    st.booleans(),
)
def test_thinned_series_is_short_and_keeps_means_within_what_was_seen(points, most, log):
    points.sort()
    kept = [value for _, value in points if math.isfinite(value)]
    thinned = thin(points, most, log)
    assert len(thinned) <= most or len(thinned) == len(kept) <= most
    assert [point.samples for point in thinned] == sorted({point.samples for point in thinned})
    if kept:
        assert thinned[-1].samples == [samples for samples, value in points if math.isfinite(value)][-1]
        assert max(point.most for point in thinned) == max(kept)
        slack = 1e-9 * max(1, *map(abs, kept))
        assert all(min(kept) - slack <= point.mean <= max(kept) + slack for point in thinned)


def test_drawn_trials_hold_the_best_of_every_method(tmp_path):
    made = MadeSweep(tmp_path, sweep_spec(search_space=RANGES, budget={"trials": 120, "samples": LEVELS[-1]}), step=512)
    made.train(120)
    facts = facts_of(made.end())
    drawn = {trial.result.trial_id for trial in drawn_trials(facts)}
    assert 48 <= len(drawn) < 60
    assert {facts.of_method(name)[0].result.trial_id for name in facts.methods} <= drawn
    assert {trial.result.trial_id for trial in facts.trials[:20]} <= drawn


def test_printed_sweep_holds_numbers_that_yaml_reads_as_numbers():
    spec = sweep_spec(search_space={"method": {"full": {"learning_rate": [1e-5, 3e-4]}}, "effective_batch_size": 8})
    assert yaml.safe_load(sweep_yaml(spec))["search_space"]["method"]["full"]["learning_rate"] == [1e-5, 3e-4]
    assert isinstance(SearchSpace.model_validate(yaml.safe_load(sweep_yaml(spec))["search_space"]), SearchSpace)
    assert quality(TrialConfig("full", 8, 1e-3, 1)) == 0
