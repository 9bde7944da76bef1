"""Training time, as against setting up, evaluating and saving."""

from __future__ import annotations

from orchestrator.integrations.stopwatch import Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_setting_up_before_the_first_report_is_not_training() -> None:
    clock = Clock()
    watch = Stopwatch(clock=clock)
    clock.now = 100.0  # loads a model, then trains 8 samples
    watch.lap(8)
    clock.now = 102.0
    watch.lap(16)
    assert watch.elapsed_seconds == 1.0 + 2.0


def test_a_first_report_that_is_asked_for_at_once_counts_as_it_is() -> None:
    clock = Clock()
    watch = Stopwatch(clock=clock)
    clock.now = 3.0
    watch.lap(8, settle=True)
    assert watch.elapsed_seconds == 3.0


def test_evaluation_and_pauses_are_left_out() -> None:
    clock = Clock()
    watch = Stopwatch(10.0, clock)
    watch.lap(8, settle=True)
    clock.now = 5.0
    with watch.paused():
        clock.now = 25.0
    clock.now = 30.0
    watch.lap(8, evaluation_seconds=4.0)
    assert watch.elapsed_seconds == 10.0 + 6.0
    assert watch.evaluation_seconds == 4.0
