"""How long a running sweep still takes, as it is told to people."""

import pytest

from orchestrator.history.build_result import build_view
from orchestrator.history.journal_state import read_state
from orchestrator.tracking.tracker import TrackerHealth
from tests.worlds.report_sweeps import LEVELS, MadeSweep, sweep_spec

OFF = {"forecast": {"enabled": False}, "rungs": {"enabled": False}}
SECONDS_PER_SAMPLE = sum(level / 100 + 0.5 for level in LEVELS) / LEVELS[-1]  # as `MadeSweep` writes them


def seconds_left(storage, **changes):
    """Three of eight trials are trained to their end; none of the others has begun."""
    made = MadeSweep(
        storage, sweep_spec(budget={"trials": 8, "samples": LEVELS[-1]}, **changes), stopped_at=lambda c: None
    )
    made.train(3)
    state = read_state(made.killed())
    return build_view(state.spec, state.plan, state, state.folder, 2, 60.0, TrackerHealth()).remaining_seconds


def test_without_comparison_all_that_is_left_is_trained_to_its_end(tmp_path):
    assert seconds_left(tmp_path, stopping=OFF) == pytest.approx(5 * LEVELS[-1] * SECONDS_PER_SAMPLE / 2)


def test_with_comparison_each_milestone_lets_half_go_on(tmp_path):
    steps = [later - earlier for earlier, later in zip((0, *LEVELS), LEVELS, strict=False)]
    samples = sum(5 * step / 2**place for place, step in enumerate(steps))
    assert seconds_left(tmp_path) == pytest.approx(samples * SECONDS_PER_SAMPLE / 2)
