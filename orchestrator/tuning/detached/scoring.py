"""Detached evaluation sets: scored by one process beside the trials, on checkpoints that it finds in the storage.

No slot waits for them and nothing is decided by them. Sets with ``when: end`` score trials that have ended; those with
``when: milestones`` score every milestone of every trial, whose weights the trial's worker keeps for them
(`SweepFolder.waiting`) until they have been scored. Scores go to the sweep's file of later scores, to MLflow, and to the
cache. What is kept and what is scored both lie in the storage, so a sweep that is cut off scores only what is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

from orchestrator.errors import StorageError
from orchestrator.records import Outcome
from orchestrator.settings.trial_setup import EvaluationSet, TrialSetup
from orchestrator.storage.later_scores import LaterScores, append_scores, read_scores
from orchestrator.storage.milestone_reports import read_report
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning.detached.process import Found, Scorer
from orchestrator.tuning.detached.queue import BASE, ScoreJob, ScoreQueue

_WAIT_SECONDS = 1.0
_BASE_JOB = ScoreJob(BASE, -1, final=True)


class Trials(Protocol):
    """Who knows the sweep's trials: its coordinator."""

    @property
    def trials(self) -> Mapping[str, TrialEntry]:
        """All trials by id."""


class DetachedScoring:
    """Hands checkpoints to a `Scorer`, one at a time, and writes down what comes back.

    Args:
        sets: The detached evaluation sets.
        folder: The sweep's folder.
        trials: Who knows which milestones trials have reached.
        tracker: Told of the scores.
        say: Prints a line for the user.
        scorer: Scores.
        limit: Milestones whose weights may wait at once.
    """

    def __init__(
        self,
        sets: tuple[EvaluationSet, ...],
        folder: SweepFolder,
        trials: Trials,
        tracker: Tracker,
        say: Callable[[str], None],
        scorer: Scorer,
        limit: int,
    ) -> None:
        self._sets, self._folder, self._trials = sets, folder, trials
        self._tracker, self._say, self._scorer = tracker, say, scorer
        self._queue = ScoreQueue(limit)
        self._names = {entry.name for entry in sets}
        self._at_milestones = {entry.name for entry in sets if entry.when == "milestones"}
        self._scored: dict[tuple[str, int], set[str]] = {}
        self._given_up: set[tuple[str, int]] = set()
        self._read_known()
        self._seen: dict[str, int] = {}
        self._unscored = 0
        self._ended: set[str] = set()
        self._said: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether any checkpoint is still to be scored."""
        if self._sets:
            self._look()
        return len(self._queue) > 0

    def turn(self) -> None:
        """Take up checkpoints that are new, and what has been scored; waits for nothing."""
        if self._sets:
            self._look()
            self._take(0.0)

    def finish(self) -> None:
        """Wait until everything is scored."""
        if not self._sets:
            return
        self._look()
        if len(self._queue):
            self._say(f"Scoring {len(self._queue)} more models on detached evaluation sets ...")
        while len(self._queue):
            self._take(_WAIT_SECONDS)
        self._say_what_is_missing()

    def _say_what_is_missing(self) -> None:
        if self._unscored:
            self._say(
                f"Detached scores of {self._unscored} milestones were left out (resources.detached_waiting, limit and "
                "milestones decide how many can be kept up with)."
            )
        if self._queue.set_back:
            self._say(
                f"The weights of {self._queue.set_back} milestones are kept; the same command tries again to score them."
            )

    # -- what is due -----------------------------------------------------------------------------

    def _read_known(self) -> None:
        """Learn what earlier sessions, or commands, have scored, and what went unscored for good."""
        for each in read_scores(self._folder.later_scores):
            place = (each.trial_id, each.index)
            self._scored.setdefault(place, set()).update(metric.partition("/")[0] for metric in each.scores)
            if each.failure:
                self._given_up.add(place)

    def _look(self) -> None:
        fresh = [job for entry in self._trials.trials.values() for job in self._new(entry)]
        if (fresh or self._ended) and BASE not in self._ended:
            self._ended.add(BASE)
            fresh += [] if self._knows(_BASE_JOB) else [_BASE_JOB]
        for job in sorted(fresh, key=lambda job: job.index):
            unscored = self._queue.add(job)
            if unscored is not None:
                self._give_up(unscored, "more checkpoints wait than resources.detached_waiting allows")

    def _new(self, entry: TrialEntry) -> Iterator[ScoreJob]:
        """Yield what a trial has reached since the last look."""
        last, seen = entry.milestones - 1, self._seen.get(entry.trial_id, 0)
        self._seen[entry.trial_id] = entry.milestones
        if self._at_milestones:
            for index in range(seen, entry.milestones):
                # Of a trial that diverged nothing is saved there; one that has completed is due as a whole.
                if index < last or entry.outcome not in (Outcome.COMPLETED, Outcome.DIVERGED):
                    yield from self._milestone(ScoreJob(entry.trial_id, index, final=False))
        if entry.outcome is Outcome.COMPLETED and entry.trial_id not in self._ended:
            self._ended.add(entry.trial_id)
            job = ScoreJob(entry.trial_id, last, final=True)
            if not self._knows(job):
                yield job

    def _milestone(self, job: ScoreJob) -> Iterator[ScoreJob]:
        if self._knows(job) or (job.trial_id, job.index) in self._given_up:
            self._free(job)
        elif self._place(job).is_dir():
            yield job
        else:
            self._give_up(job, "its weights were not kept")

    def _knows(self, job: ScoreJob) -> bool:
        names = self._names if job.final else self._at_milestones
        return names <= self._scored.get((job.trial_id, job.index), set())

    # -- scoring ---------------------------------------------------------------------------------

    def _take(self, seconds: float) -> None:
        job = self._queue.begin()
        if job is not None:
            entry = self._trials.trials.get(job.trial_id)
            self._scorer.start(None if entry is None else entry.config.as_dict(), str(self._place(job)), job.final)
        if self._queue.running is not None and (found := self._scorer.poll(seconds)) is not None:
            self._keep(self._queue.running, found)

    def _place(self, job: ScoreJob) -> Path:
        kept = self._folder.waiting(job.trial_id, job.index)
        return kept if kept.is_dir() else self._folder.checkpoint(job.trial_id, job.index)

    def _keep(self, job: ScoreJob, found: Found) -> None:
        if not found.failure:
            try:
                self._write(job, found)
            except StorageError as error:  # a full disk must not end the sweep for a score that can be had later
                found = Found(failure=str(error))
        self._queue.end(again=bool(found.failure) and not found.lasting)
        if not found.failure:
            self._free(job)
        elif not job.waits:
            self._say(
                f"Detached scores of {self._name(job)} are missing: {found.failure} "
                f"(orchestrate evaluate {self._folder.root} computes them)"
            )
        elif found.lasting:
            self._give_up(job, found.failure)
        else:
            self._say(
                f"Detached scores of {self._name(job)} are missing: {found.failure} "
                "(the same command tries again when it is run again)"
            )

    def _write(self, job: ScoreJob, found: Found) -> None:
        # Tracking first: it drops what it knows, while what stands in the file is never told again.
        samples = self._samples(job)
        if samples:
            self._tracker.log_scores(job.trial_id, samples, found.scores)
        self._append(job, found)

    def _give_up(self, job: ScoreJob, why: str) -> None:
        """Leave a milestone unscored for good, free its weights, and say so."""
        if why not in self._said:  # one line for each reason; how many there were is told at the end
            self._said.add(why)
            self._say(f"Detached scores of {self._name(job)} are left out: {why}. The trial itself goes on.")
        self._unscored += 1
        self._given_up.add((job.trial_id, job.index))
        try:
            self._append(job, Found(failure=why))
        except StorageError as error:
            self._say(str(error))
        self._free(job)

    def _append(self, job: ScoreJob, found: Found) -> None:
        sets = tuple(asdict(each) for each in self._sets if job.final or each.when == "milestones")
        # The outbox brings them to the trial's run, if not at once. The base model has none, and failures are not told.
        told = job.trial_id != BASE and not found.failure
        run_id = self._tracker.run_ids.get(job.trial_id, "") if told else ""
        later = LaterScores(
            job.trial_id,
            job.index,
            self._samples(job),
            found.scores,
            found.standard_errors,
            found.seconds,
            sets,
            run_id=run_id,
            failure=found.failure,
        )
        append_scores(self._folder.later_scores, [later])

    def _free(self, job: ScoreJob) -> None:
        """Let go of weights that were kept to be scored."""
        kept = self._folder.waiting(job.trial_id, job.index)
        if job.waits and kept.is_dir():
            shutil.rmtree(kept, ignore_errors=True)

    def _samples(self, job: ScoreJob) -> int:
        """Return the samples that a checkpoint had seen; 0 for the base model, and where the milestone's report is gone."""
        entry = self._trials.trials.get(job.trial_id)
        if entry is None:
            return 0
        if job.index == entry.milestones - 1:
            return entry.samples_seen
        try:
            return read_report(self._folder.report(job.trial_id, job.index))[0].samples_seen
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _name(self, job: ScoreJob) -> str:
        entry = self._trials.trials.get(job.trial_id)
        if entry is None:
            return "the base model"
        return f"{entry.name} at {self._samples(job):,} samples" if job.waits else entry.name


def detached_sets(setup: TrialSetup) -> tuple[EvaluationSet, ...]:
    """Return what is scored beside the trials."""
    return tuple(entry for entry in setup.evaluation if entry.detached)


def without_detached(setup: TrialSetup) -> TrialSetup:
    """Return what the trials themselves are scored on."""
    return replace(setup, evaluation=tuple(entry for entry in setup.evaluation if not entry.detached))
