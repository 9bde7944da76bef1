"""Typed results of a sweep, and the snapshot that a live display reads while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from orchestrator.records import Decision, Origin, Outcome, Role, TrainingSignal, TrialConfig, as_recorded


@dataclass(frozen=True)
class TrialResult:
    """How one trial ended.

    ``role`` is ``search``, ``audit`` (stopped by the search and trained on to measure whether that was right;
    ``outcome`` is how it ended then, ``stopped_at`` the samples it had been stopped at), ``repeat`` (a candidate with a
    new seed), or what a user asked for: ``resumed`` (stopped and trained on), ``clone`` and ``extended`` (made from
    another trial, their ``origin``). ``reason`` says why it was stopped or failed, of a trial that was trained on why
    it had been stopped, and of a clone what it was made of; it is empty for other completed trials.
    """

    trial_id: str
    name: str
    config: TrialConfig
    outcome: Outcome
    samples_seen: int
    scores: Mapping[str, float]
    objective: float | None = None
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    rule: str = ""
    reason: str = ""
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    run_id: str | None = None
    role: Role = Role.SEARCH
    stopped_at: int | None = None
    origin: Origin | None = None

    @property
    def audited(self) -> bool:
        """Whether the search stopped it and it was trained on by the audit."""
        return self.role is Role.AUDIT


@dataclass(frozen=True)
class MeasuredShare:
    """``count`` of ``total`` as a rate (0 to 1) with its 95 % interval (Clopper and Pearson 1934)."""

    count: int
    total: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class AuditResult:
    """What training a random share of the stopped trials to the end says of the stopping rules.

    Args:
        share: Asked share of the stopped trials (0 to 1).
        stopped: Trials that the search stopped by comparison (forecast, rungs, early dynamics).
        drawn: How many of them are to be trained on.
        ended: How many of these have ended; the figures below rest on them, failed ones (``failed``) left out.
        failed: Audited trials whose process failed; they say nothing.
        against: Name of the best trial that was not audited; empty where none completed.
        beat_best: Share of audited trials that end better than that trial, by more than the forecast's tolerance.
        best_tenth: Share of audited trials that end in the best tenth of all trials of the search, their place
            among the trials that were not trained to the end being estimated.
        places: How many trials the best tenth holds.
        regret: Mean over the audited trials of what stopping lost: how much better than ``against`` a trial ends,
            0 where it is not better; in units of the objective.
        regret_low: Lower end of the 95 % bootstrap interval of ``regret``; None where nothing was lost.
        regret_high: Upper end.
        tolerated: ``stopping.forecast.miss``; None where the forecast is off.
        verdict: ``too high`` (the lower end of ``beat_best`` lies above ``tolerated``), ``within`` (its upper end lies
            below), ``too few`` (neither), or ``unknown`` (nothing to compare).
        samples: Samples that the audit trained.
        sentence: All this for a person.
    """

    share: float
    stopped: int
    drawn: int
    ended: int
    failed: int
    against: str
    beat_best: MeasuredShare | None
    best_tenth: MeasuredShare | None
    places: int
    regret: float | None
    regret_low: float | None
    regret_high: float | None
    tolerated: float | None
    verdict: Literal["too high", "within", "too few", "unknown"]
    samples: int
    sentence: str


@dataclass(frozen=True)
class RecipeResult:
    """A candidate recipe (a configuration without its seed) over its new seeds.

    Mean and standard error leave out the trials that made it a candidate: these were chosen for being good.

    Args:
        name: Its name, without a seed.
        trial_id: Its best trial, from the search or a repeat.
        trial_ids: All its trials that completed, those of the search first.
        search_value: Mean objective of its trials in the search.
        seeds: New seeds that completed.
        mean: Mean of the objective over them; None without any.
        standard_error: Standard error of that mean; None with fewer than two seeds.
        training_seconds: Cost: mean training seconds (without evaluation) of its completed trials.
        place: ``best`` (recommended), ``tied`` with it, or ``behind``.
        reason: Why it is there.
    """

    name: str
    trial_id: str
    trial_ids: tuple[str, ...]
    search_value: float
    seeds: int
    mean: float | None
    standard_error: float | None
    training_seconds: float
    place: Literal["best", "tied", "behind"]
    reason: str


@dataclass(frozen=True)
class WinnerVerdict:
    """Whether the winner is better than the other candidates, or only luckier.

    Args:
        verdict: ``decided`` (one candidate is better than all others), ``tied`` (some could not be told apart; the
            cheapest of them is recommended), or ``not tested`` (switched off, too few candidates, or not finished).
        confidence: Asked confidence.
        recipes: Candidates, the recommended one first; empty where nothing was tested.
        rounds: Rounds of repeats that have ended.
        repeats: Trials that were trained for them.
        samples: Samples that they trained.
        sentence: All this for a person.
    """

    verdict: Literal["decided", "tied", "not tested"]
    confidence: float
    recipes: tuple[RecipeResult, ...]
    rounds: int
    repeats: int
    samples: int
    sentence: str


@dataclass(frozen=True)
class TrackingIds:
    """Where MLflow holds the sweep; empty strings without tracking."""

    uri: str = ""
    experiment: str = ""
    parent_run_id: str = ""
    pending_bytes: int = 0


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found and what it cost.

    ``status`` is ``completed`` or ``interrupted``. Seconds and samples cover all sessions of the sweep
    (``wall_seconds`` of interrupted sessions up to their last journal entry). ``slot_seconds`` is slots
    times the seconds in which trials could run, ``utilisation`` the share of it spent training and
    evaluating (``work``) and training alone (``utilisation``).

    ``trials``, ``counts`` and the samples trained hold audited trials and repeats too (`TrialResult.role`). ``winner`` is
    the best trial of the recipe that ``verdict`` recommends. ``audit`` is None where the sweep does not audit,
    ``verdict`` where candidates are not repeated. ``report`` is the page that the run wrote; empty where there is none.
    ``beside_seconds`` went into scores beside or after the training (``orchestrate evaluate``): they took no slot and are not
    part of ``evaluation_seconds``. ``unscored`` milestones were left out by detached evaluation sets.
    """

    name: str
    sweep_id: str
    status: str
    objective: str
    mode: str
    winner: TrialResult | None
    runner_up: TrialResult | None
    base_scores: Mapping[str, float]
    trials: tuple[TrialResult, ...]
    counts: Mapping[str, int]
    samples_trained: int
    samples_exhaustive: int
    wall_seconds: float
    training_seconds: float
    evaluation_seconds: float
    slot_seconds: float
    slots: int
    storage: str
    tracking: TrackingIds
    ui_command: str = ""
    ui_address: str = ""
    audit: AuditResult | None = None
    verdict: WinnerVerdict | None = None
    report: str = ""
    beside_seconds: float = 0.0
    unscored: int = 0

    @property
    def utilisation(self) -> float:
        """Share of the slots' time spent training."""
        return self.training_seconds / self.slot_seconds if self.slot_seconds else 0.0

    @property
    def work_share(self) -> float:
        """Share of the slots' time spent training and evaluating."""
        work = self.training_seconds + self.evaluation_seconds
        return work / self.slot_seconds if self.slot_seconds else 0.0

    @property
    def evaluation_share(self) -> float:
        """Share of the slots' time spent evaluating."""
        return self.evaluation_seconds / self.slot_seconds if self.slot_seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, the object that ``--json`` prints."""
        values = asdict(self, dict_factory=as_recorded)
        shares = {"utilisation": self.utilisation, "work_share": self.work_share}
        return {**values, **shares, "evaluation_share": self.evaluation_share}


@dataclass(frozen=True)
class TrialView:
    """One line of the live table; ``expected`` is the objective it is forecast to end at, with its chance to end best."""

    name: str
    outcome: Outcome
    samples_seen: int
    samples: int
    loss: float | None
    grad_norm: float | None
    objective: float | None
    tokens_per_second: float | None = None
    expected: float | None = None
    probability_best: float | None = None
    role: Role = Role.SEARCH


@dataclass(frozen=True)
class SweepView:
    """Snapshot of a running sweep."""

    name: str
    objective: str
    mode: str
    elapsed_seconds: float
    remaining_seconds: float | None
    counts: Mapping[str, int]
    trials_planned: int
    samples_trained: int
    samples_exhaustive: int
    running: tuple[TrialView, ...]
    best: TrialView | None
    last_decision: str
    tracking_state: str = ""
    stopping: bool = False


@dataclass(frozen=True)
class ControlResult:
    """What became of something that a user asked of a trial.

    ``state`` is ``done``, ``accepted`` (a running trial stops at its next milestone), ``queued`` (no driver runs the
    sweep; the next run carries it out) or ``unanswered`` (the driver has not taken it up yet). ``made`` is the id of the
    clone that it made, empty where that is not known yet.
    """

    sweep: str
    action: Literal["stop", "resume", "clone"]
    trial_id: str
    name: str
    state: Literal["done", "accepted", "queued", "unanswered"]
    answer: str
    made: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class MilestoneResult:
    """What one trial was at one milestone: ``level`` and ``samples_seen`` in samples, seconds since the milestone before."""

    index: int
    level: int
    samples_seen: int
    tokens_seen: int
    scores: Mapping[str, float]
    standard_errors: Mapping[str, float]
    training_seconds: float
    evaluation_seconds: float
    checkpoint: str | None


@dataclass(frozen=True)
class TrialHistory:
    """One trial from its first milestone to its last; ``signals`` are empty unless they were asked for."""

    result: TrialResult
    cohort: str
    milestones: tuple[MilestoneResult, ...]
    decisions: tuple[Decision, ...]
    signals: tuple[TrainingSignal, ...] = ()


@dataclass(frozen=True)
class SweepHistory:
    """A finished, running or interrupted sweep as its journal tells it.

    Args:
        result: How it stands; ``status`` is ``completed``, ``interrupted`` or ``running``.
        trials: Every trial that was proposed, best first as in ``result.trials``.
        content: The resolved sweep file, without where it ran and was stored.
        levels: Milestones in samples seen.
        inputs: Digests of training data and base model.
        began: Unix time of the first record.
        ended: Unix time of the last one.
        environment: What the last session ran on, as `orchestrator.tracking.provenance.environment` tells it; empty
            where it was not recorded.
    """

    result: SweepResult
    trials: tuple[TrialHistory, ...]
    content: Mapping[str, Any]
    levels: tuple[int, ...]
    inputs: Mapping[str, str]
    began: float
    ended: float
    environment: Mapping[str, Any] = field(default_factory=dict)

    def trial(self, trial_id: str) -> TrialHistory:
        """Return a trial by its id.

        Raises:
            KeyError: If there is none.
        """
        found = next((trial for trial in self.trials if trial.result.trial_id == trial_id), None)
        if found is None:
            raise KeyError(trial_id)
        return found
