"""A data strategy is one file and one entry: an ordered list of stages, each with its rows and their order."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from orchestrator.coordinating.continued_trials import inexact
from orchestrator.errors import SpecError
from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.search_space.enumeration import grid_configs
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.data_strategies import DATA_STRATEGIES, DataStrategyEntry
from orchestrator.spec.trial.identity import trial_fingerprint, trial_name
from orchestrator.training.data.plans.order import SampleOrder, make_order
from orchestrator.training.data.plans.phased import phase_stages
from orchestrator.training.data.plans.stages import PlannedRows, Stage, shuffled
from tests.worlds.trial_world import MemoryRows, make_trial, tiny_config

SWEEP = {"name": "s", "model": "m", "data": {"train": "d"}, "budget": {"trials": 2, "samples": 64}}


def shortest_first(data: PlannedRows, samples: int, seed: int) -> Sequence[Stage]:
    """The short half in the order of length for a quarter of the budget, then all rows in random order."""
    rows = np.argsort(data.lengths, kind="stable").astype(np.int64)
    half = rows[: len(rows) // 2]
    first = Stage(half, lambda epoch: np.arange(len(half)), samples // 4)
    return [first, Stage(np.sort(rows), shuffled(len(rows), seed, (1,)), samples - samples // 4)]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    entry = DataStrategyEntry("toy", f"{__name__}:shortest_first", needs_phases=True, follows_budget=True)
    monkeypatch.setitem(DATA_STRATEGIES, "shortest_first", entry)
    return "shortest_first"


def test_a_strategy_of_one_entry_is_searched_named_and_trained(toy: str) -> None:
    values = {"method": "full", "effective_batch_size": 8, "learning_rate": 3e-3, "data_strategy": ["stacked", toy]}
    stacked, found = grid_configs(SearchSpace.model_validate(values), 80)
    assert found.data_strategy == toy
    assert trial_fingerprint(stacked) != trial_fingerprint(found)
    assert trial_name(found, {"data_strategy"}) == "full lr3e-3 ebs8 shortest_first s0"
    rows = MemoryRows(40)
    stream = make_order(toy, rows, 80, 0).slice(0, 80)
    assert rows.lengths[stream[:20]].tolist() == sorted(rows.lengths)[:20]
    assert sorted(stream[20:60].tolist()) == list(range(40))
    settings = TrainingSettings(micro_batch_tokens=512)
    tokens = make_trial(found, rows=rows, settings=settings).advance(8).signals[0].tokens_seen
    assert tokens == sum(sorted(rows.lengths)[:8])
    assert tokens != make_trial(stacked, rows=rows, settings=settings).advance(8).signals[0].tokens_seen


def test_what_an_entry_says_is_asked(toy: str) -> None:
    space = {"method": "full", "effective_batch_size": 8, "data_strategy": toy}
    with pytest.raises(SpecError, match="data_strategy shortest_first needs at least two phases"):
        parse_sweep({**SWEEP, "search_space": space}, "file")
    assert "shortest_first lays its data out over the budget" in inexact(tiny_config(data_strategy=toy), 160)
    assert inexact(tiny_config(), 160) == ""


@pytest.mark.parametrize("value", ["shortest", ["stacked", "shortest"], {"fixed": ["stacked"]}, 3])
def test_unknown_strategies_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="data_strategy must be one of stacked, phased, got"):
        SearchSpace.model_validate({"method": "full", "effective_batch_size": 8, "data_strategy": value})


def test_the_order_of_phases_never_changes() -> None:
    phases = [np.arange(0, 30), np.arange(30, 40), np.arange(40, 90)]
    stream = SampleOrder(phase_stages(phases, 200, 5, [0, 0.5, 0.1])).slice(0, 250)
    assert hashlib.sha256(stream.astype("<i8").tobytes()).hexdigest()[:16] == "5fe44340c52675a1"


def test_an_order_needs_rows() -> None:
    with pytest.raises(ValueError, match="none empty"):
        make_order("stacked", MemoryRows(0), 8, 0)
    with pytest.raises(ValueError, match="at least one"):
        SampleOrder([])
