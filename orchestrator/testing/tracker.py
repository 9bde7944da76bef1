"""What every tracker promises, as tests."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.records import Action, Decision, Outcome, TrainingSignal, TrialConfig
from orchestrator.spec.trial.identity import digest
from orchestrator.tracking.tracker import DatasetInfo, SweepInfo, SweepOutcome, Tracker, TrialInfo
from orchestrator.tracking.trackers import TrackerTask

FLUSH_SECONDS = 60.0
TRIALS = ("done", "stopped", "diverged", "failed")


class TrackerContract:
    """Override `open_tracker` at least; pytest runs the rest, each with a folder of its own.

    Attributes:
        uri: Handed to `open_tracker` as the sweep file's ``tracking.uri``.
        uri_of_nowhere: URI of a store that cannot be reached; empty where there is no such thing.
        outlives_its_process: What is recorded is found again by a tracker that is opened later for the same sweep.
        refuses_wrong_use: What no sweep does (a trial that ends as running) raises a ValueError.
        call_seconds: Longest that a call may take: trials wait for it.
    """

    uri: str | None = None
    uri_of_nowhere: str = ""
    outlives_its_process: bool = True
    call_seconds: float = 1.0
    refuses_wrong_use: bool = True

    def open_tracker(self, task: TrackerTask) -> Tracker:
        """Open a tracker as a sweep does, its run started; override it."""
        raise NotImplementedError

    def task(self, folder: Path, uri: str | None = None) -> TrackerTask:
        """Return what a tracker is opened with; the same folder means the same sweep."""
        sweep = SweepInfo(
            sweep_id=digest(str(folder.resolve())),
            name=f"contract-{folder.name}",
            params={"model": "testbed", "trials": 4, "epochs": 1.5},
            tags={"git.commit": "abc"},
            config_yaml="name: small\n",
            datasets=[DatasetInfo("sft", "d" * 64, "testbed:sft", 100)],
            objective="eval/loss",
            mode="min",
        )
        return TrackerTask(uri or self.uri, folder, sweep, folder / "sweep" / "outbox.jsonl")

    # -- the promises -----------------------------------------------------------------------------

    def test_a_whole_sweep_is_told(self, tmp_path: Path) -> None:
        """All calls of a sweep; what is delivered is all of it."""
        tracker = self.open_tracker(self.task(tmp_path))
        tell_sweep(tracker)
        tracker.end_sweep(SweepOutcome.COMPLETED)
        assert tracker.flush(FLUSH_SECONDS), f"not delivered within {FLUSH_SECONDS:g} s: {tracker.health.warning()}"
        assert tracker.health.ok, tracker.health.warning()
        assert set(tracker.run_ids) <= {"", *TRIALS}, "run_ids are by trial id, the sweep's own under the empty string"
        tracker.close()

    def test_no_call_makes_a_trial_wait(self, tmp_path: Path) -> None:
        """Calls return at once, whatever the store does meanwhile."""
        tracker = self.open_tracker(self.task(tmp_path))
        began = time.perf_counter()
        tell_sweep(tracker)
        spent = time.perf_counter() - began
        tracker.close()
        assert spent < 40 * self.call_seconds, f"40 calls took {spent:.1f} s"

    def test_telling_again_changes_nothing(self, tmp_path: Path) -> None:
        """After a crash a sweep tells again what it told before."""
        tracker = self.open_tracker(self.task(tmp_path))
        tell_sweep(tracker)
        assert tracker.flush(FLUSH_SECONDS)
        before = dict(tracker.run_ids)
        tell_sweep(tracker)
        assert tracker.flush(FLUSH_SECONDS)
        assert tracker.health.ok, tracker.health.warning()
        assert dict(tracker.run_ids) == before, "the same trials have other runs"
        tracker.close()

    def test_values_that_are_odd_are_taken(self, tmp_path: Path) -> None:
        """Neither NaN nor a long or strange text may raise."""
        tracker = self.open_tracker(self.task(tmp_path))
        tracker.start_trial(make_trial("done"))
        tracker.log_signals("done", make_signals(1, 3, loss=math.nan))
        tracker.log_scores("done", 48, {"eval/loss": math.inf, "other/loss": -math.inf, "odd name#1": 0.5})
        tracker.log_system("done", 48, "node ü", {"cpu": math.nan})
        tracker.set_sweep_tags({f"tag {number}": "x" * 9000 for number in range(120)})
        tracker.describe_sweep("# long\n" + "w" * 30_000, headline="h" * 400)
        tracker.end_trial("done", Outcome.FAILED, 48, failure="z" * 20_000)
        assert tracker.flush(FLUSH_SECONDS)
        assert tracker.health.ok, tracker.health.warning()
        tracker.close()

    def test_files_are_taken_and_may_be_gone(self, tmp_path: Path) -> None:
        """An artifact may change or vanish after the call."""
        tracker = self.open_tracker(self.task(tmp_path))
        page = tmp_path / "page.html"
        page.write_text("<p>first</p>", encoding="utf-8")
        tracker.log_artifact(page, "report/plots")
        page.write_text("<p>second</p>", encoding="utf-8")
        tracker.log_artifact(page, "report/plots")
        page.unlink()
        tracker.log_artifact(tmp_path / "never there.html")
        tracker.log_text_artifact("notes/odd ü.md", "text")
        tracker.flush(FLUSH_SECONDS)
        tracker.close()

    def test_wrong_use_raises(self, tmp_path: Path) -> None:
        """Only a wrong use raises, and that is a ValueError."""
        if not self.refuses_wrong_use:
            return
        tracker = self.open_tracker(self.task(tmp_path))
        tracker.start_trial(make_trial("done"))
        assert _raises(lambda: tracker.end_trial("done", Outcome.RUNNING, 0)), "RUNNING is no end of a trial"
        assert _raises(lambda: tracker.end_trial("done", Outcome.STOPPED, 0)), "a stopped trial has a decision"
        assert _raises(lambda: tracker.end_trial("done", Outcome.FAILED, 0)), "a failed trial has a failure text"
        tracker.close()

    def test_actions_are_asked_and_answered(self, tmp_path: Path) -> None:
        """Nothing is asked unless a user does, and an answer is taken."""
        tracker = self.open_tracker(self.task(tmp_path))
        tracker.start_trial(make_trial("done"))
        assert list(tracker.asked_actions()) == []
        tracker.answer_action("done", "refused: nobody asked")
        tracker.close()

    def test_an_interrupted_sweep_goes_on_under_the_same_runs(self, tmp_path: Path) -> None:
        """A tracker that is opened again for the same sweep continues it."""
        if not self.outlives_its_process:
            return
        tracker = self.open_tracker(self.task(tmp_path))
        tracker.start_trial(make_trial("done"))
        tracker.log_signals("done", make_signals(1, 5))
        tracker.end_sweep(SweepOutcome.INTERRUPTED)
        assert tracker.flush(FLUSH_SECONDS)
        before = dict(tracker.run_ids)
        tracker.close()
        tracker = self.open_tracker(self.task(tmp_path))
        tracker.start_trial(make_trial("done"))
        tracker.log_signals("done", make_signals(3, 20))
        tracker.end_trial("done", Outcome.COMPLETED, 320)
        tracker.end_sweep(SweepOutcome.COMPLETED)
        assert tracker.flush(FLUSH_SECONDS)
        assert tracker.health.ok, tracker.health.warning()
        assert dict(tracker.run_ids) == before, "the sweep goes on under other runs"
        tracker.close()

    def test_a_store_that_is_away_stops_nothing(self, tmp_path: Path) -> None:
        """Training goes on while the store cannot be reached; that shows in `health`, and nothing raises."""
        if not self.uri_of_nowhere:
            return
        tracker = self.open_tracker(self.task(tmp_path, self.uri_of_nowhere))
        tell_sweep(tracker)
        tracker.end_sweep(SweepOutcome.COMPLETED)
        assert not tracker.flush(0.5), "flush says that everything was delivered, to nowhere"
        tracker.close(0.5)


def tell_sweep(tracker: Tracker) -> None:
    """Tell a small sweep, one trial for each way to end."""
    for trial_id in TRIALS:
        tracker.start_trial(make_trial(trial_id))
        tracker.log_signals(trial_id, make_signals(1, 10))
        tracker.log_scores(trial_id, 160, {"eval/loss": 1.5, "skills/exact_match": 0.25})
        tracker.log_system(trial_id, 160, "node-a", {"cpu_utilization_percentage": 97.0})
        tracker.log_decision(Decision(trial_id, 160, Action.CONTINUE, "rungs", "dense", "ranks 1 of 4"))
    tracker.log_signals("done", make_signals(11, 20))
    tracker.end_trial("done", Outcome.COMPLETED, 320, scores={"eval/loss": 1.25})
    for trial_id, outcome in (("stopped", Outcome.STOPPED), ("diverged", Outcome.DIVERGED)):
        decision = Decision(trial_id, 160, Action.STOP, "rungs", "dense", "ranks 5 of 6, 2 go on", {"rank": 5})
        tracker.log_decision(decision)
        tracker.end_trial(trial_id, outcome, 160, decision=decision)
    tracker.end_trial("failed", Outcome.FAILED, 160, failure="DeviceMemoryError: one sample does not fit")
    tracker.log_sweep_metrics({"eval/loss": 1.25, "trials/stopped": 1}, 800)
    tracker.set_sweep_tags({"orchestrate.beat": "12"})
    tracker.mark_winner("done", "lowest eval/loss")
    tracker.describe_sweep("## What won\n\nlora", headline="4 trials, best 1.25")


def make_trial(trial_id: str) -> TrialInfo:
    """Return a trial as a sweep describes it."""
    config = TrialConfig("lora", 16, 3e-4, 320, method_options={"r": 16, "lora_alpha": 32})
    return TrialInfo.of(trial_id, config, datasets=[DatasetInfo("sft", "d" * 64, "testbed:sft", 100)])


def make_signals(first: int, last: int, loss: float = 2.0) -> list[TrainingSignal]:
    """Return the training signals of some optimizer steps."""
    return [
        TrainingSignal(
            step=step,
            samples_seen=step * 16,
            tokens_seen=step * 640,
            loss=loss - step * 1e-3,
            total_loss=loss - step * 1e-3,
            grad_norm=1.0 + step * 1e-3,
            learning_rate=3e-4,
            tokens_per_second=9000.0,
            elapsed_seconds=step * 0.01,
            noise_scale=30.0,
        )
        for step in range(first, last + 1)
    ]


def _raises(call: Callable[[], None]) -> bool:
    try:
        call()
    except ValueError:
        return True
    return False
