"""Every searcher of the table keeps the contract that authors of others are given."""

from __future__ import annotations

import pytest

from orchestrator.coordinating.searchers.listed import ListSearcher
from orchestrator.coordinating.searchers.searcher import Searcher, SearcherFactory, SearchTask
from orchestrator.lazy_names import load
from orchestrator.spec.search_space.enumeration import grid_configs
from orchestrator.spec.searchers import SEARCHERS
from orchestrator.spec.sweep import ObjectiveSpec, SearcherSpec
from orchestrator.testing import SearcherContract

TWO = (ObjectiveSpec(metric="eval/loss"), ObjectiveSpec(metric="other/loss", mode="max"))


def searcher_of(name: str, task: SearchTask) -> Searcher:
    make: SearcherFactory = load(SEARCHERS[name].factory)  # type: ignore[assignment]
    return make(task)


class TestGrid(SearcherContract):
    wide, learns = None, False

    def make_searcher(self, task: SearchTask) -> Searcher:
        return searcher_of("grid", task)


class TestRandom(SearcherContract):
    learns = False

    def make_searcher(self, task: SearchTask) -> Searcher:
        return searcher_of("random", task)


class TestSobol(SearcherContract):
    learns = False

    def make_searcher(self, task: SearchTask) -> Searcher:
        return searcher_of("sobol", task)


class TestTpe(SearcherContract):
    def make_searcher(self, task: SearchTask) -> Searcher:
        return searcher_of("tpe", task)


class TestNsga2(SearcherContract):
    spec = SearcherSpec(kind="nsga2", startup_trials=4, objectives=list(TWO))
    objectives = TWO

    def make_searcher(self, task: SearchTask) -> Searcher:
        return searcher_of("nsga2", task)


class Stuttering(SearcherContract):
    def make_searcher(self, task: SearchTask) -> Searcher:
        configs = grid_configs(task.space, task.samples)
        return ListSearcher([*configs[:6], *configs[:6]])


def test_a_searcher_that_learns_nothing_of_what_it_is_told_does_not_pass() -> None:
    class Deaf(TestSobol):
        learns = True

    with pytest.raises(AssertionError, match="proposed again"):
        Deaf().test_it_is_rebuilt_by_telling()


def test_a_searcher_that_repeats_itself_does_not_pass() -> None:
    contract = Stuttering()
    contract.wide = None
    with pytest.raises(AssertionError, match="proposed twice"):
        contract.test_proposals_differ_and_lie_in_the_space()
