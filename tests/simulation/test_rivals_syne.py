"""Syne Tune's schedulers do under replay what their code says, computed here by hand; a missing package is named."""

import importlib.util
import math

import pytest

from orchestrator.errors import InputError, SpecError
from orchestrator.records import Action
from orchestrator.simulation.engine.scheduler import Arrival
from orchestrator.simulation.rivals.syne_tune import syne_rules
from tests.worlds.rival_sweeps import METRIC, ask, problem

CONTINUE, STOP = Action.CONTINUE, Action.STOP


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"sft-orchestrator\[rivals\]") as caught:
        syne_rules()
    assert isinstance(caught.value, ImportError)


def test_asha_ranks_a_trial_among_those_at_its_rung() -> None:
    pytest.importorskip("syne_tune")
    rule = syne_rules()["syne-asha-rf2"]()
    rule.begin(problem(6, (100, 200, 400)))
    assert ask(rule, 0, 0, 1.0) is CONTINUE
    assert ask(rule, 1, 0, 2.0) is CONTINUE  # better than it: one of two
    assert ask(rule, 2, 0, 3.0) is STOP  # two of three
    assert ask(rule, 3, 0, 1.5) is CONTINUE  # one of four
    assert ask(rule, 4, 0, 1.9) is CONTINUE  # two of five
    assert ask(rule, 1, 1, 1.0) is CONTINUE
    assert ask(rule, 0, 2, 0.1, completed=True) is STOP, "at the budget it is stopped, whatever its score"


def test_several_brackets_draw_by_the_seed_of_the_sweep() -> None:
    pytest.importorskip("syne_tune")

    def verdicts(seed: int) -> list[Action]:
        rule = syne_rules()["syne-async-hyperband-rf2-brackets3"]()
        rule.begin(problem(40, (100, 200, 400, 800), seed=seed))
        return [ask(rule, n, 0, float(n)) for n in range(40)]

    assert verdicts(1) == verdicts(1)
    assert verdicts(1) != verdicts(2)


def test_median_compares_running_means_once_five_were_seen() -> None:
    pytest.importorskip("syne_tune")
    rule = syne_rules()["syne-median"]()
    rule.begin(problem(7, (100, 200)))
    for trial, value in enumerate((1.0, 2.0, 3.0, 9.0)):
        assert ask(rule, trial, 0, value) is CONTINUE
    assert ask(rule, 4, 0, 5.0) is STOP  # three of five are better
    assert ask(rule, 5, 0, 2.5) is CONTINUE  # two of six


def test_what_diverges_ends_and_leaves_the_others_alone() -> None:
    pytest.importorskip("syne_tune")
    for name in ("syne-asha-rf2", "syne-median"):
        rule = syne_rules()[name]()
        rule.begin(problem(3, (100, 200)))
        assert rule.arrive(Arrival("0", 0, 50, {}, (), 0.0, diverged=True)) is STOP
        assert ask(rule, 1, 0, 1.0) is CONTINUE
        ask(rule, 2, 0, math.nan)


def test_metric_that_was_not_measured_is_named() -> None:
    pytest.importorskip("syne_tune")
    rule = syne_rules()["syne-asha-rf2"]()
    rule.begin(problem(2, (100, 200)))
    with pytest.raises(SpecError, match=METRIC):
        rule.arrive(Arrival("0", 0, 100, {"eval/other": 1.0}, (), 0.0))
