"""The queue of detached scoring: its order, its bound, and that nothing leaves it untold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.tuning.detached.queue import BASE, ScoreJob, ScoreQueue


def milestone(trial_id: str, index: int) -> ScoreJob:
    return ScoreJob(trial_id, index, final=False)


def test_ended_trials_come_first_and_then_the_newest_milestone() -> None:
    queue = ScoreQueue(limit=8)
    base, ended = ScoreJob(BASE, -1, final=True), ScoreJob("c", 3, final=True)
    for job in (milestone("a", 0), base, milestone("b", 0), ended, milestone("a", 1)):
        assert queue.add(job) is None
    order = []
    while (job := queue.begin()) is not None:
        assert queue.begin() is None, "one at a time"
        order.append(job)
        queue.end()
    assert order == [base, ended, milestone("a", 1), milestone("b", 0), milestone("a", 0)]


def test_where_too_many_wait_the_oldest_goes_unscored_and_one_that_failed_before_it() -> None:
    queue = ScoreQueue(limit=2)
    assert queue.add(milestone("a", 0)) is None
    assert queue.add(milestone("a", 1)) is None
    assert queue.add(milestone("a", 2)) == milestone("a", 0)
    assert queue.begin() == milestone("a", 2)
    queue.end(again=True)
    assert (len(queue), queue.set_back) == (1, 1)
    assert queue.add(milestone("a", 3)) == milestone("a", 2), "set back: it counts, and goes first"
    assert queue.add(ScoreJob("a", 4, final=True)) is None, "the last checkpoint of a trial takes no room of its own"


events = st.lists(st.sampled_from(["milestone", "ended", "begin", "scored", "failed"]), max_size=60)


@given(limit=st.integers(1, 4), events=events)
def test_the_bound_holds_and_every_checkpoint_is_scored_waits_or_is_told(limit: int, events: list[str]) -> None:
    queue, added, done, told = ScoreQueue(limit), [], [], []
    for number, event in enumerate(events):
        if event in ("milestone", "ended"):
            added.append(ScoreJob("t", number, final=event == "ended"))
            unscored = queue.add(added[-1])
            told += [] if unscored is None else [unscored]
        elif event == "begin":
            queue.begin()
        elif queue.running is not None:
            again = event == "failed"
            job = queue.end(again=again)
            done += [] if again and job.waits else [job]
        held = [job for job in added if job.waits and job not in done and job not in told]
        assert len(held) <= limit
    assert all(job.waits for job in told)
    assert len(set(done) | set(told)) == len(done) + len(told)
    assert len(added) == len(done) + len(told) + len(queue) + queue.set_back
