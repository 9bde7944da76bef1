"""The whole replay: rules by name, checks of the input, repeatability, the report's numbers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.decisions.objective import Constraint, Objective
from orchestrator.errors import DataError, InputError, OrchestratorError
from orchestrator.simulation import rules as rules_module
from orchestrator.simulation.engine.simulator import Clock
from orchestrator.simulation.recorded.files import write_recorded
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.replay import Progress, replay
from orchestrator.simulation.replay_files import recorded_files, replay_recorded
from orchestrator.simulation.rules import Rule, choose_rules
from orchestrator.simulation.synthetic.settings import SyntheticSettings
from orchestrator.simulation.synthetic.sweeps import synthetic_sweep
from tests.worlds.replay_worlds import LOSS, Scripted, falling, sweep, trial


def repeated(trials=16, seed=0, name="synthetic"):
    return replace(synthetic_sweep(trials, seed, SyntheticSettings(repeats=2)), name=name)


@pytest.fixture
def no_syne(monkeypatch):
    """As on a machine without Syne Tune: its modules cannot be imported."""
    for name in [name for name in sys.modules if name.split(".")[0] == "syne_tune"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "syne_tune", None)
    monkeypatch.delitem(sys.modules, "orchestrator.simulation.rivals.syne_tune", raising=False)
    monkeypatch.setitem(sys.modules, "orchestrator.simulation.rivals.syne_tune", None)


def test_rules_by_name_family_and_group():
    assert [rule.name for rule in choose_rules(["ours"]).rules] == ["ours"]
    family = choose_rules(["halving"]).rules
    assert {rule.family for rule in family} == {"halving"}
    assert {rule.knob for rule in family} >= {"rf2", "rf4"}
    group = {rule.name for rule in choose_rules(["baselines"]).rules}
    assert group >= {"no-stopping", "paper-keep0.25", "lowest-rate", *(rule.name for rule in family)}
    assert [rule.name for rule in choose_rules(["no-stopping", "ours", "no-stopping"]).rules] == ["no-stopping", "ours"]


def test_rules_of_rivals_come_from_their_packages():
    names = {rule.name for rule in choose_rules(["ray", "optuna-median"]).rules}
    assert any(name.startswith("ray-asha") for name in names)
    assert any(name.startswith("optuna-median") for name in names)
    assert not any(name.startswith("optuna-sha") for name in names)


def test_rules_every_factory_makes_a_scheduler_of_its_name():
    for rule in choose_rules(["ours", "ours-rungs", "ours-forecast", "baselines", "ray", "optuna"]).rules:
        assert rule.make().name == rule.name


def test_rules_unknown_name_is_told_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'halving'") as caught:
        choose_rules(["halvin"])
    assert caught.value.where == "--rules"


@pytest.mark.usefixtures("no_syne")
def test_rules_of_a_missing_package_are_an_error_by_name_and_a_note_under_all():
    with pytest.raises(InputError, match="syne"):
        choose_rules(["syne-asha-rf2"])
    chosen = choose_rules(["all"])
    assert any(note.startswith("syne is left out") for note in chosen.notes)
    assert not any(rule.group == "syne" for rule in chosen.rules)
    assert choose_rules(["ours"]).notes == ()


def test_rules_of_syne_tune_say_nothing_of_trials_that_diverge(caplog):
    pytest.importorskip("syne_tune")
    recorded = RecordedSweep("mixed", (*falling(4).trials, trial("bad", [9, 9, 9], diverges_at=24)))
    replay([recorded], choose_rules(["syne"]).rules, LOSS, draws=2)
    assert not caplog.records


def test_own_rules_need_no_rival(monkeypatch):
    monkeypatch.setattr(rules_module, "import_module", None)
    assert choose_rules(["ours", "baselines"]).rules


def test_replay_is_repeatable_and_the_same_in_two_processes():
    sweeps = [repeated(name="a"), repeated(seed=1, name="b")]
    rules = choose_rules(["ours", "random", "no-stopping"]).rules
    first, again, parallel = (
        replay(sweeps, rules, LOSS, Clock(2, 1, 1), draws=3, seed=5, jobs=jobs) for jobs in (1, 1, 2)
    )
    for one, two, three in zip(first.results, again.results, parallel.results, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
        np.testing.assert_array_equal(one.values, three.values)


def test_replay_draws_of_a_sweep_do_not_depend_on_which_others_are_replayed():
    one, two = repeated(name="a"), repeated(seed=1, name="b")
    rules = choose_rules(["random-rf2"]).rules
    both, alone = (replay(sweeps, rules, LOSS, draws=4) for sweeps in ([one, two], [two]))
    np.testing.assert_array_equal(both.results[0].of("samples_share")[1], alone.results[0].of("samples_share")[0])
    np.testing.assert_array_equal(both.results[0].of("rank")[1], alone.results[0].of("rank")[0])


def test_replay_draws_differ():
    ranks = replay([repeated(24)], choose_rules(["random-rf8"]).rules, LOSS, draws=10).results[0].of("rank")
    assert len(set(ranks[0].tolist())) > 1


def test_replay_tells_how_far_it_is():
    seen: list[Progress] = []
    rules = choose_rules(["no-stopping", "lowest-rate"]).rules
    replay([falling(4), replace(falling(5), name="more")], rules, LOSS, draws=1, observer=seen.append)
    assert [each.done for each in seen] == [1, 2, 3, 4]
    assert {(each.rule, each.sweep) for each in seen} == {
        (rule, name) for rule in ("no-stopping", "lowest-rate") for name in ("falling", "more")
    }
    assert {each.total for each in seen} == {4}


def test_report_of_no_stopping_is_exhaustive_without_regret():
    report = replay([repeated()], choose_rules(["no-stopping"]).rules, LOSS, draws=2)
    row = report.summary()[0]
    assert report.regret_unit == "repeat noise"
    assert (row["samples_share_mean"].value, row["regret_noise_p95"].value, row["rank_mean"].value) == (1, 0, 1)


def test_report_names_its_unit_of_regret_and_says_why():
    rules = choose_rules(["no-stopping"]).rules
    single = replay([falling(6)], rules, LOSS, draws=1)
    assert single.regret_unit == "units of eval/loss"
    assert "unknown" in single.notes[0]
    several = replay([falling(6), replace(falling(7), name="other")], rules, LOSS, draws=1)
    assert several.regret_unit == "interquartile range of finals"
    mixed = replay([falling(6), repeated()], rules, LOSS, draws=1)
    assert mixed.regret_unit == "repeat noise"
    assert any("estimated" in note and "falling" in note for note in mixed.notes)


def test_report_as_dict_is_strict_json_also_where_numbers_are_missing():
    report = replay([falling(6)], choose_rules(["lowest-rate", "random-rf2"]).rules, LOSS, draws=3)
    values = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    row = values["rules"][0]
    assert row["name"] == "lowest-rate"
    assert row["regret_noise_p95"] == {"value": None, "low": None, "high": None}
    assert row["per_sweep"]["falling"]["samples_share_mean"] == pytest.approx(1 / 6)
    assert values["sweeps"][0]["noise"]["source"] == "unknown"


def test_replay_refuses_a_metric_that_milestones_lack():
    with pytest.raises(DataError, match="Did you mean 'eval/loss'") as caught:
        replay([falling(4)], choose_rules(["ours"]).rules, Objective("eval/los"))
    assert "falling" in str(caught.value)
    late = [replace(each, final={**each.final, "quiz": 1.0}) for each in falling(4).trials]
    with pytest.raises(DataError, match="evals at 16 samples = 'quiz'"):
        replay([RecordedSweep("late", tuple(late))], choose_rules(["ours"]).rules, Objective("quiz", "max"))


def test_replay_refuses_a_constraint_that_finals_lack():
    objective = Objective("eval/loss", "min", (Constraint("general", at_most=1),))
    with pytest.raises(DataError, match="final = 'general'"):
        replay([falling(4)], choose_rules(["ours"]).rules, objective)


def test_replay_refuses_too_few_trials_equal_names_and_nothing():
    rules = choose_rules(["ours"]).rules
    with pytest.raises(DataError, match="at least 4 trials"):
        replay([falling(3)], rules, LOSS)
    with pytest.raises(DataError, match="two sweeps"):
        replay([falling(4), falling(5)], rules, LOSS)
    with pytest.raises(DataError, match="none was given"):
        replay([], rules, LOSS)
    with pytest.raises(InputError, match="at least one"):
        replay([falling(4)], [], LOSS)
    with pytest.raises(InputError, match="draws = 0"):
        replay([falling(4)], rules, LOSS, draws=0)


def test_replay_refuses_a_sweep_whose_finals_are_no_numbers():
    broken = sweep({name: [3, 2, float("nan")] for name in "abcd"})
    with pytest.raises(DataError, match="no trial has a finite final"):
        replay([broken], choose_rules(["ours"]).rules, LOSS)


def test_replay_names_rule_and_sweep_when_a_rule_fails():
    class Broken(Scripted):
        name = "broken"

        def arrive(self, arrival):
            raise KeyError("lost")

    with pytest.raises(OrchestratorError, match="rule broken failed on sweep falling, draw 0: KeyError: 'lost'"):
        replay([falling(4)], [Rule("broken", "mine", Broken)], LOSS)


def test_replay_takes_rules_of_ones_own():
    report = replay([falling(4)], [Rule("mine", "mine", Scripted)], LOSS, draws=1)
    assert report.summary()[0]["samples_share_mean"].value == 1


def test_replay_recorded_reads_files(tmp_path):
    file = tmp_path / "a.jsonl.gz"
    write_recorded(repeated(), file)
    report = replay_recorded([file], rules=["no-stopping", "halving-rf2"], draws=2)
    assert [result.rule.name for result in report.results] == ["no-stopping", "halving-rf2"]
    assert report.sweeps[0].trials == 16


def test_recorded_files_shipped_are_those_of_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr("orchestrator.simulation.replay_files._SHIPPED_FOLDER", tmp_path)
    with pytest.raises(DataError, match="no recorded sweeps"):
        recorded_files(["shipped"])
    (tmp_path / "b.jsonl.gz").touch()
    (tmp_path / "a.jsonl.gz").touch()
    assert [file.name for file in recorded_files(["shipped", "other.jsonl"])] == [
        "a.jsonl.gz",
        "b.jsonl.gz",
        "other.jsonl",
    ]


def test_replay_of_a_sweep_with_mixed_batches_and_divergence():
    made = (
        *falling(6).trials,
        trial("large", [3, 2, 1.05], batch=48, learning_rate=9e-3),
        trial("whole", [1.5], batch=64, levels=(64,)),
        trial("bad", [9, 9, 9], diverges_at=24),
    )
    rules = choose_rules(["ours", "ours-forecast", "baselines"]).rules
    report = replay([RecordedSweep("mixed", made)], rules, LOSS, Clock(3, 1, 1), draws=3)
    assert all(np.isfinite(result.of("samples_share")).all() for result in report.results)
    assert all((result.of("samples_share") <= 1).all() for result in report.results)
