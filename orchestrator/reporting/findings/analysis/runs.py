"""Trials as the findings see them: in the paper's numbers, with their scores turned so that more is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from orchestrator.records import Outcome, Role, TrainingSignal, TrialConfig
from orchestrator.reporting.findings.registration.registration import Target, registration
from orchestrator.reporting.findings.registration.scaling import PAPER_BASELINE, PAPER_LAB_BATCH, Scale
from orchestrator.results.records import SweepHistory, TrialHistory

METRICS: Mapping[Target, tuple[str, ...]] = {
    "benchmarks": ("knowledge/exact_match", "skills/exact_match"),
    "knowledge": ("knowledge/exact_match",),
    "skills": ("skills/exact_match",),
    "held_out_loss": ("eval/loss",),
    "forgetting": ("general/forgetting",),
}
"""Metrics whose mean is the score of a target."""

PUBLIC = "benchmarks/"
"""How the metrics of public benchmarks begin in the sweep files of the paper's scale; their mean is the target there."""

VALIDATION: Mapping[Target, tuple[str, ...]] = {
    "benchmarks": ("knowledge_validation/exact_match", "skills_validation/exact_match"),
    "knowledge": ("knowledge_validation/exact_match",),
    "skills": ("skills_validation/exact_match",),
    "held_out_loss": ("validation/loss",),
    "forgetting": ("validation/loss",),
}
"""By which checkpoints and rates are chosen for a target; what is forgotten is not chosen for, only looked at."""


@dataclass(frozen=True)
class Arm:
    """A configuration in the paper's numbers, without its seed.

    ``warmup`` is in steps of 3,840 samples; -1 where it is a ratio.
    """

    design: str
    batch: int
    rate: float
    schedule: str = "constant"
    strategy: str = "stacked"
    warmup: int = -1


@dataclass(frozen=True)
class Point:
    """What a trial scored at a milestone: ``seconds`` of training up to there."""

    samples: int
    seconds: float
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """One trial that was trained to its end."""

    arm: Arm
    seed: int
    points: tuple[Point, ...]
    signals: tuple[TrainingSignal, ...] = ()

    @property
    def samples(self) -> int:
        """Samples it was trained on."""
        return self.points[-1].samples

    def curve(self, target: Target) -> list[tuple[int, float]]:
        """Return (samples, score) at every milestone where the target was scored, turned so that more is better."""
        return self._curve(METRICS[target], registration().targets.mode[target] == "max")

    def validation(self, target: Target) -> list[tuple[int, float]]:
        """Return the validation's scores for a target in the same way."""
        names = VALIDATION[target]
        found = self._curve(names, not names[0].endswith("/loss"))
        # At the paper's scale nothing is held out for choosing but the held-out rows themselves.
        return found or self._curve(METRICS["held_out_loss"], False)

    def _curve(self, names: Sequence[str], higher: bool) -> list[tuple[int, float]]:
        sign = 1.0 if higher else -1.0
        found = []
        for point in self.points:
            values = [point.scores[name] for name in names if name in point.scores]
            if names == METRICS["benchmarks"] and not values:
                values = [value for name, value in point.scores.items() if name.startswith(PUBLIC)]
            if len(values) == len(names) or (values and names == METRICS["benchmarks"]):
                mean = sum(values) / len(values)
                # A model that is no model any more is worse than any other, not unknown.
                found.append((point.samples, sign * mean if math.isfinite(mean) else -math.inf))
        return found


class Runs:
    """All runs of the suite, found by what they are."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = {(run.arm, run.seed): run for run in runs}

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs.values())

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, arm: Arm, seed: int) -> Run | None:
        """Return the run of an arm and seed; None where there is none."""
        return self._runs.get((arm, seed))

    def of(self, design: str) -> list[Run]:
        """Return the runs of a design."""
        return [run for run in self if run.arm.design == design]

    def arms(self, design: str, keep: Callable[[Arm], bool] = lambda _: True) -> list[Arm]:
        """Return the arms of a design by batch and rate."""
        found = {run.arm for run in self.of(design) if keep(run.arm)}
        return sorted(found, key=lambda arm: (arm.batch, arm.rate, arm.schedule, arm.strategy, arm.warmup))

    def seeds(self, *designs: str) -> list[int]:
        """Return the seeds that all runs' arms of these designs share."""
        shared: set[int] | None = None
        for design in designs:
            for arm in self.arms(design):
                own = {run.seed for run in self.of(design) if run.arm == arm}
                shared = own if shared is None else shared & own
        return sorted(shared or ())

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Targets that every run with scores on held-out rows has."""
        scored = [run for run in self if run.curve("held_out_loss")]
        return tuple(target for target in METRICS if scored and all(run.curve(target) for run in scored))


def runs_of(history: SweepHistory, design: str, scale: Scale, baseline: float) -> list[Run]:
    """Return the completed trials of a design's sweep.

    Args:
        history: The sweep, with training signals where a finding needs them.
        design: Its name.
        scale: By whose divisor batch sizes are turned into the paper's.
        baseline: The learning rate that stands for the paper's 2e-5.
    """
    ended = (Outcome.COMPLETED, Outcome.DIVERGED)
    chosen = [
        trial
        for trial in history.trials
        if trial.result.outcome in ended and trial.milestones and trial.result.role is Role.SEARCH
    ]
    return [_run(trial, design, scale, baseline) for trial in chosen]


def _run(trial: TrialHistory, design: str, scale: Scale, baseline: float) -> Run:
    points, seconds = [], 0.0
    for each in trial.milestones:
        seconds += each.training_seconds
        points.append(Point(each.samples_seen, seconds, dict(each.scores)))
    return Run(
        _arm(trial.result.config, design, scale, baseline), trial.result.config.seed, tuple(points), trial.signals
    )


def _arm(config: TrialConfig, design: str, scale: Scale, baseline: float) -> Arm:
    return Arm(
        design=design,
        batch=config.effective_batch_size * scale.batch_divisor,
        rate=float(f"{config.learning_rate / baseline * PAPER_BASELINE:.3g}"),
        schedule=config.schedule,
        strategy=config.data_strategy,
        warmup=_paper_warmup(config, scale),
    )


def _paper_warmup(config: TrialConfig, scale: Scale) -> int:
    if config.warmup_unit == "ratio":
        return -1
    amount = config.warmup_amount * (1 if config.warmup_unit == "samples" else config.effective_batch_size)
    known = {scale.warmup(steps): steps for steps in (0, 25, 100)}
    return known.get(round(amount), round(amount * scale.batch_divisor / PAPER_LAB_BATCH))
