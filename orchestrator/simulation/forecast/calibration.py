"""How good the forecast's numbers are, not only its stops: errors, bands and probabilities against what really came.

Every milestone of every recorded sweep is forecast for the whole cohort. Scored are the expected final objective and its
band, on the panel's own scale (`forecast_panel.relative`), and the probability to end best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import norm

from orchestrator.decisions.forecast.forecast import credible_set
from orchestrator.decisions.forecast.model import ForecastModel
from orchestrator.decisions.forecast.panel import Array, rank_correlation
from orchestrator.simulation.forecast.fitting import SMALLEST_PANEL, Lesson, common_metrics, lessons, mode_of
from orchestrator.simulation.forecast.intervals import Bootstrap, Estimate
from orchestrator.simulation.recorded.sweep import RecordedSweep

BINS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Edges of the bins of forecast probabilities; most trials have hardly a chance, so the low ones are narrow."""

PINBALL = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class StageScores:
    """Scores at one stage of training, means over panels; intervals over sweeps.

    Args:
        share: Share of the budget, the mean of the panels'.
        panels: How many cohorts were forecast.
        own_rank: Rank correlation of the trials' own early scores with their final ones.
        forecast_rank: The same of the forecast.
        gain: Forecast over own score.
        crps: Continuous ranked probability score of the better half by forecast, panel scale; less is better.
        pinball: Pinball loss at 10, 50 and 90 %, summed; less is better.
        inside_50: Share of final objectives inside the 50 % band.
        inside_90: Inside the 90 % band.
        log_score: Mean of the negative logarithm of the probability that the true best was given; less is better.
        even_log_score: The same if all trials were as likely.
        value_error: Median distance of the expected final value from the true one, as a share of the true one.
        value_inside: Share of true final values inside their 90 % band; both in the objective's units, of the better half.
    """

    share: float
    panels: int
    own_rank: float
    forecast_rank: float
    gain: Estimate
    crps: float
    pinball: float
    inside_50: float
    inside_90: float
    log_score: float
    even_log_score: float
    value_error: float
    value_inside: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Trials whose probability to end best was forecast within a bin: what was said, and how often it came."""

    low: float
    high: float
    trials: int
    said: float
    came: float


@dataclass(frozen=True)
class Calibration:
    """Scores of a forecast on recorded sweeps.

    Args:
        metrics: Objectives that were forecast.
        stages: From the first milestone to the last before the end.
        reliability: Of the probability to end best, over all stages.
        sweeps: Their names.
        left_out: Whether every sweep was forecast by weights fitted without it.
    """

    metrics: tuple[str, ...]
    stages: tuple[StageScores, ...]
    reliability: tuple[ReliabilityBin, ...]
    sweeps: tuple[str, ...]
    left_out: bool

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able dictionary."""
        stages = [{**asdict(stage), "gain": stage.gain.as_dict()} for stage in self.stages]
        return {**asdict(self), "stages": stages}


@dataclass(frozen=True, eq=False)
class _Scored:
    """One panel's forecast beside its truth."""

    sweep: str
    stage: int
    share: float
    values: Mapping[str, float]
    said: Array
    came: Array


def calibrate(
    sweeps: Sequence[RecordedSweep], models: Mapping[str, ForecastModel], metrics: Sequence[str], left_out: bool
) -> Calibration:
    """Score forecasts.

    Args:
        sweeps: What really came.
        models: The weights to use for each sweep, by its name.
        metrics: Objectives; a sweep that does not have one is left out of it.
        left_out: What to say of where the weights are from.
    """
    scored = [
        score
        for sweep in sweeps
        for metric in metrics
        if metric in common_metrics(sweep)
        for score in _score_sweep(sweep, metric, models[sweep.name])
    ]
    stages = sorted({score.stage for score in scored})
    return Calibration(
        tuple(metrics),
        tuple(_stage([score for score in scored if score.stage == stage]) for stage in stages),
        _reliability(scored),
        tuple(sweep.name for sweep in sweeps),
        left_out,
    )


def whole_panels(sweep: RecordedSweep, metric: str) -> list[Lesson]:
    """Return the panel of the whole cohort at every milestone but the last, in order."""
    whole: dict[float, Lesson] = {}
    for lesson in lessons(sweep, metric, mode_of(metric)):
        known = whole.get(lesson.panel.share)
        if known is None or len(lesson.targets) > len(known.targets):
            whole[lesson.panel.share] = lesson
    return [whole[share] for share in sorted(whole)]


def own_scores(sweep: RecordedSweep, lesson: Lesson) -> Array:
    """Return the trials' own objectives at a panel's milestone, turned so that less is better, shape [trials]."""
    level = min(sweep.levels, key=lambda at: abs(at - lesson.panel.share * sweep.levels[-1]))
    sign = 1.0 if mode_of(lesson.metric) == "min" else -1.0
    trials = [sweep.trial(trial_id) for trial_id in lesson.panel.trial_ids]
    return np.array([sign * trial.scores_at(trial.samples_at(level))[lesson.metric] for trial in trials])


def _score_sweep(sweep: RecordedSweep, metric: str, model: ForecastModel) -> Iterable[_Scored]:
    for index, lesson in enumerate(whole_panels(sweep, metric)):
        mean, deviation = model.mean_and_deviation(lesson.panel)
        said = credible_set(mean, np.full(len(mean), deviation), 0.5).wins
        came = np.zeros(len(said))
        came[int(np.argmin(lesson.targets))] = 1.0
        yield _Scored(
            sweep.name,
            index,
            lesson.panel.share,
            {
                **_panel_scores(lesson, own_scores(sweep, lesson), mean, deviation, said),
                **_value_scores(lesson, model, mean, deviation),
            },
            said,
            came,
        )


def _panel_scores(lesson: Lesson, own: Array, mean: Array, deviation: float, said: Array) -> dict[str, float]:
    contenders = mean <= np.median(mean)
    error = (lesson.targets - mean)[contenders] / deviation
    own_rank, rank = rank_correlation(own, lesson.targets), rank_correlation(mean, lesson.targets)
    best = float(said[int(np.argmin(lesson.targets))])
    return {
        "own_rank": own_rank,
        "forecast_rank": rank,
        "gain": rank - own_rank,
        "crps": deviation * float(np.mean(crps_of_standard_normal(error))),
        "pinball": deviation * float(np.mean(sum(_pinball(error, level) for level in PINBALL))),
        "inside_50": float(np.mean(np.abs(error) <= norm.ppf(0.75))),
        "inside_90": float(np.mean(np.abs(error) <= norm.ppf(0.95))),
        # The draws behind the probability are 1,024: what never came in them is not impossible.
        "log_score": -math.log(max(best, 0.5 / 1024)),
        "even_log_score": math.log(len(own)),
    }


def _value_scores(lesson: Lesson, model: ForecastModel, mean: Array, deviation: float) -> dict[str, float]:
    known = (mean <= np.median(mean)) & np.isfinite(lesson.finals)
    if not known.any():
        return {"value_error": math.nan, "value_inside": math.nan}
    landing = model.landing(lesson.panel)
    low, high = landing.band(mean, np.full(len(mean), deviation))
    finals, apart = lesson.finals[known], np.abs(landing.values(mean) - lesson.finals)[known]
    inside = (low[known] <= finals) & (finals <= high[known])
    return {
        "value_error": float(np.median(apart / np.maximum(np.abs(finals), 1e-9))),
        "value_inside": float(inside.mean()),
    }


def crps_of_standard_normal(error: Array) -> Array:
    """Return the continuous ranked probability score of a standard normal forecast (Gneiting & Raftery 2007, eq. 21)."""
    result: Array = error * (2 * norm.cdf(error) - 1) + 2 * norm.pdf(error) - 1 / math.sqrt(math.pi)
    return result


def _pinball(error: Array, level: float) -> Array:
    apart = error - norm.ppf(level)
    result: Array = np.maximum(level * apart, (level - 1) * apart)
    return result


def _stage(scored: Sequence[_Scored]) -> StageScores:
    means = {name: float(np.nanmean([score.values[name] for score in scored])) for name in scored[0].values}
    means["value_error"] = float(np.nanmedian([score.values["value_error"] for score in scored]))
    gain = _gain(scored)
    share = float(np.mean([score.share for score in scored]))
    return StageScores(share=share, panels=len(scored), **{**means, "gain": gain})  # type: ignore[arg-type]


def _gain(scored: Sequence[_Scored]) -> Estimate:
    """Return the mean gain; sweeps are resampled whole, since their metrics go together."""
    by_sweep: dict[str, list[float]] = {}
    for score in scored:
        by_sweep.setdefault(score.sweep, []).append(score.values["gain"])
    means = np.array([[np.mean(values)] for values in by_sweep.values()])
    return Bootstrap(len(means), 1).estimate(means, "mean")


def _reliability(scored: Sequence[_Scored]) -> tuple[ReliabilityBin, ...]:
    if not scored:
        return ()
    said = np.concatenate([score.said for score in scored])
    came = np.concatenate([score.came for score in scored])
    bins = []
    for low, high in pairwise(BINS):
        inside = (said >= low) & ((said < high) if high < 1 else (said <= high))
        if inside.sum() >= SMALLEST_PANEL:
            bins.append(
                ReliabilityBin(low, high, int(inside.sum()), float(said[inside].mean()), float(came[inside].mean()))
            )
    return tuple(bins)
