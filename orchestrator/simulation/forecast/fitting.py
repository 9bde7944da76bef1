"""Fit the forecast's weights on recorded sweeps: what early panels say about final objectives.

Every recorded sweep gives, for every metric and milestone, a panel of the whole cohort and panels of its better half
and quarter (those are what the engine sees later on). Each panel counts the same, however many trials it has. A line
through the extrapolated objective comes first, a forest of trees (scikit-learn) corrects it, and the forecast's
spread is fitted to the errors made on sweeps that were left out, so that it is not too sure.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.optimize import minimize
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from orchestrator.decisions.early_dynamics.features import extract
from orchestrator.decisions.forecast.forest import LEAF, Forest
from orchestrator.decisions.forecast.landing import Z_90
from orchestrator.decisions.forecast.model import (
    ONCE,
    ForecastModel,
    Numbers,
    design,
    doubt_scale,
    line_columns,
    spread_columns,
    stage,
)
from orchestrator.decisions.forecast.observation import Observation
from orchestrator.decisions.forecast.panel import (
    Array,
    Panel,
    centre_and_unit,
    make_panel,
    relative,
)
from orchestrator.errors import DataError
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial

SMALLEST_PANEL = 5
SUBSETS = (1.0, 0.5, 0.25)
LINE_ROUNDS = 50
HIGHER_IS_BETTER = ("exact_match", "accuracy", "score")
REDUNDANT = "/forgetting"
"""Differs from its ``/loss`` by a constant, so it would only count the same panels twice."""

FARTHEST = 4.0
"""Targets are cut off here: how badly a diverged trial ends is of no interest."""

TREES, SMALLEST_LEAF, COLUMN_SHARE = 60, 20, 0.3
"""Half of the trees split at the best threshold (they rank better), half at random ones (they are smoother)."""
COVERED = 0.9
"""Share of the common errors that lie inside the 90 % band of a trial whose place in the cohort is sure."""

LEAST_SWEEPS = 2

FOLDS = 3
"""Groups of sweeps that are left out in turn when the spread is fitted."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """A panel and what became of its trials.

    Args:
        sweep: Where it is from.
        metric: Its objective.
        panel: Features.
        targets: Final objectives on the scale of `relative`, shape [trials].
        finals: Final objectives, infinite where a trial diverged, shape [trials].
        shift: How far the best objective fell to the end, in panel units.
        growth: Logarithm of the unit at the end over the panel's.
    """

    sweep: str
    metric: str
    panel: Panel
    targets: Array
    finals: Array
    shift: float
    growth: float


def common_metrics(sweep: RecordedSweep) -> list[str]:
    """Return the metrics that every completed trial has in all its evaluations and at its end."""
    done = [trial for trial in sweep.trials if trial.status == "completed"]
    sets = [set(scores) for trial in done for scores in (*(scores for _, scores in trial.evals), trial.final)]
    return sorted(set.intersection(*sets)) if sets else []


def observation_at(
    trial: RecordedTrial, levels: Sequence[int], index: int, metric: str, sign: float
) -> Observation | None:
    """Return what the engine would see of a recorded trial at a milestone; None when it has no finite score there."""
    seen = trial.samples_at(levels[index])
    scores = [trial.scores_at(trial.samples_at(level)).get(metric, math.nan) for level in levels[: index + 1]]
    if not all(map(math.isfinite, scores)) or (trial.status == "diverged" and seen >= trial.samples_trained):
        return None
    window = min(later - earlier for earlier, later in zip((0, *levels), levels, strict=False))
    facts = trial.facts
    return Observation(
        facts.trial_id,
        facts.method,
        facts.learning_rate,
        facts.effective_batch_size,
        tuple(sign * score for score in scores),
        extract(trial.signals_between(0, seen), seen, window).as_dict(),
    )


def mode_of(metric: str) -> Literal["min", "max"]:
    """Return which way a metric of a recorded sweep is better, by its name."""
    return "max" if any(word in metric for word in HIGHER_IS_BETTER) else "min"


def all_lessons(sweeps: Iterable[RecordedSweep]) -> list[Lesson]:
    """Return the panels of every sweep and metric."""
    return [
        lesson
        for sweep in sweeps
        for metric in common_metrics(sweep)
        if not metric.endswith(REDUNDANT)
        for lesson in lessons(sweep, metric, mode_of(metric))
    ]


def lessons(sweep: RecordedSweep, metric: str, mode: str = "min") -> Iterator[Lesson]:
    """Yield the panels of one recorded sweep and one metric."""
    sign = 1.0 if mode == "min" else -1.0
    for index in range(len(sweep.levels) - 1):
        seen = [(observation_at(trial, sweep.levels, index, metric, sign), trial) for trial in sweep.trials]
        known = sorted(((s, t) for s, t in seen if s is not None), key=lambda pair: pair[0].scores[-1])
        for subset in SUBSETS:
            part = known[: max(SMALLEST_PANEL, math.ceil(subset * len(known)))]
            if len(part) >= SMALLEST_PANEL:
                survivors = len(part) / len(sweep.trials)
                yield from _lesson(sweep, metric, part, sign, sweep.levels[: index + 1], survivors)


def _lesson(
    sweep: RecordedSweep,
    metric: str,
    part: Sequence[tuple[Observation, RecordedTrial]],
    sign: float,
    levels: Sequence[int],
    survivors: float,
) -> Iterator[Lesson]:
    panel = make_panel([observation for observation, _ in part], levels, sweep.levels[-1], survivors, sweep.epochs)
    finals = np.array([_final(trial, metric, sign) for _, trial in part])
    finite = finals[np.isfinite(finals)]
    if len(finite) < SMALLEST_PANEL - 1:
        return
    best, unit = centre_and_unit(finite)
    targets = relative(np.where(np.isfinite(finals), finals, best + unit * math.sinh(FARTHEST)), best, unit)
    shift, growth = (panel.best - best) / panel.unit, math.log(unit / panel.unit)
    yield Lesson(sweep.name, metric, panel, np.minimum(targets, FARTHEST), finals, shift, growth)


def _final(trial: RecordedTrial, metric: str, sign: float) -> float:
    return sign * trial.final.get(metric, math.nan) if trial.status == "completed" else math.inf


def fit_forecast(taught: Sequence[Lesson]) -> ForecastModel:
    """Return the weights that fit the lessons, for trials that see rows again and for those that do not.

    Raises:
        DataError: If there are too few sweeps to learn from.
    """
    everything, once = _fit(taught), lessons_for(ONCE, taught)
    return everything if once is taught else replace(_fit(once), sweeps=everything.sweeps, repeated=everything)


def lessons_for(epochs: float, taught: Sequence[Lesson]) -> Sequence[Lesson]:
    """Return the lessons on which weights are fitted for trials that see each row so often.

    Those that see no row again have their own: how curves turn round where rows are repeated would only blur what is
    known of them. For the others, and where too few are of that kind, all lessons count.
    """
    once = [lesson for lesson in taught if lesson.panel.epochs <= ONCE]
    apart = epochs <= ONCE and len(once) < len(taught) and len({lesson.sweep for lesson in once}) >= LEAST_SWEEPS
    return once if apart else taught


def _fit(taught: Sequence[Lesson]) -> ForecastModel:
    sweeps = sorted({lesson.sweep for lesson in taught})
    if len(sweeps) < LEAST_SWEEPS:
        raise DataError(
            "fit-forecast",
            "sweeps",
            len(sweeps),
            "a forecast is fitted on at least two recorded sweeps",
            "name more files",
        )
    stages = np.array([stage(lesson.panel.share) for lesson in taught])
    shift = _line(stages, np.array([lesson.shift for lesson in taught]))
    growth = _line(stages, np.array([lesson.growth for lesson in taught]))
    line = _final_line(taught)
    model = ForecastModel(line, _forest(taught, line), (0.0,) * 7, shift, growth, (0.0, 0.0), tuple(sweeps))
    return replace(model, spread=_spread(taught, sweeps, model), doubt=_doubt(taught, model))


def left_out_models(sweeps: Sequence[RecordedSweep]) -> dict[str, ForecastModel]:
    """Return for every sweep the forecast, for trials of as many epochs as its own, that was fitted on the others.

    Raises:
        DataError: If fewer than two would be left.
    """
    taught = all_lessons(sweeps)
    others = {each.name: [lesson for lesson in taught if lesson.sweep != each.name] for each in sweeps}
    return {each.name: _fit(lessons_for(each.epochs, others[each.name])) for each in sweeps}


def _stacked(taught: Sequence[Lesson], columns: Callable[[Panel], Array]) -> tuple[Array, Array, Array]:
    """Return columns, targets and weights of all lessons' trials; every lesson weighs the same."""
    weights = np.concatenate([np.full(len(lesson.targets), 1 / len(lesson.targets)) for lesson in taught])
    targets = np.concatenate([lesson.targets for lesson in taught])
    return np.vstack([columns(lesson.panel) for lesson in taught]), targets, weights


def _final_line(taught: Sequence[Lesson]) -> Numbers:
    columns, targets, weights = _stacked(taught, line_columns)
    scale = np.sqrt(weights)
    return tuple(np.linalg.lstsq(columns * scale[:, None], targets * scale, rcond=None)[0].tolist())


def _forest(taught: Sequence[Lesson], line: Numbers) -> Forest:
    """Grow trees on what the line leaves over."""
    columns, targets, weights = _stacked(taught, design)
    left = targets - _stacked(taught, line_columns)[0] @ np.asarray(line)
    # Trees see 32-bit columns, when they grow as when they are asked.
    trees: list[Any] = []
    for kind in (RandomForestRegressor, ExtraTreesRegressor):
        grown = kind(
            TREES, min_samples_leaf=SMALLEST_LEAF, max_features=COLUMN_SHARE, n_jobs=os.cpu_count(), random_state=0
        )
        grown.fit(columns.astype(np.float32), left, sample_weight=weights)
        trees += [estimator.tree_ for estimator in grown.estimators_]
    return as_forest(trees)


def as_forest(trees: Sequence[Any]) -> Forest:
    """Return scikit-learn's trees as one forest of arrays."""
    roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    leaves = [tree.children_left < 0 for tree in trees]

    def joined(name: str) -> Any:
        own = [
            np.where(leaf, np.arange(len(leaf)), getattr(tree, name)) for tree, leaf in zip(trees, leaves, strict=True)
        ]
        return np.concatenate([values + root for values, root in zip(own, roots, strict=True)]).astype(np.int32)

    return Forest(
        feature=np.concatenate(
            [np.where(leaf, LEAF, tree.feature) for tree, leaf in zip(trees, leaves, strict=True)]
        ).astype(np.int16),
        threshold=np.concatenate([tree.threshold for tree in trees]).astype(np.float32),
        left=joined("children_left"),
        right=joined("children_right"),
        value=np.concatenate([tree.value[:, 0, 0] for tree in trees]).astype(np.float32),
        roots=roots.astype(np.int32),
    )


def _spread(taught: Sequence[Lesson], sweeps: Sequence[str], model: ForecastModel) -> Numbers:
    """Fit the logarithm of the errors of contenders (the better half by forecast) on groups of sweeps left out in turn."""
    columns, squares = [], []
    folds = min(FOLDS, len(sweeps))
    for fold in range(folds):
        out = set(sweeps[fold::folds])
        rest = [lesson for lesson in taught if lesson.sweep not in out]
        line = _final_line(rest)
        part = replace(model, line=line, forest=_forest(rest, line))
        for lesson in (lesson for lesson in taught if lesson.sweep in out):
            trees = part.forest.predict(design(lesson.panel))
            mean = line_columns(lesson.panel) @ np.asarray(line) + trees.mean(axis=0)
            columns.append(spread_columns(lesson.panel, mean, trees))
            squares.append(float(np.mean((lesson.targets - mean)[mean <= np.median(mean)] ** 2)))
    return _likeliest_spread(np.array(columns), np.array(squares))


def _likeliest_spread(columns: Array, squares: Array) -> Numbers:
    """Return the weights under which normal errors with these mean squares are likeliest, drawn a little towards 0."""

    def loss(weights: Array) -> float:
        logarithm = columns @ weights
        return float(np.sum(logarithm + 0.5 * squares * np.exp(-2 * logarithm)) + 0.5 * np.sum(weights[1:] ** 2))

    start = np.zeros(columns.shape[1])
    start[0] = 0.5 * math.log(float(np.mean(squares)) + 1e-6)
    return tuple(minimize(loss, start).x.tolist())


def _doubt(taught: Sequence[Lesson], model: ForecastModel) -> Numbers:
    """Fit how large the error is that all contenders of a panel share, in units of the objective.

    The trees were grown on the same lessons, but they say nothing of the common shift.
    """
    stages, errors = [], []
    for lesson in taught:
        mean = model.mean(lesson.panel)
        known = (mean <= np.median(mean)) & np.isfinite(lesson.finals)
        if known.any():
            apart = lesson.finals[known] - model.landing(lesson.panel).values(mean)[known]
            stages.append(stage(lesson.panel.share))
            errors.append(math.log(abs(float(np.median(apart))) / doubt_scale(lesson.panel) + 1e-3))
    intercept, slope = _line(np.array(stages), np.array(errors))
    left = np.array(errors) - intercept - slope * np.array(stages)
    return intercept + float(np.quantile(left, COVERED)) - math.log(Z_90), slope


def _line(positions: Array, values: Array) -> tuple[float, float]:
    """Return intercept and slope of the line of least absolute errors, by reweighted least squares."""
    columns = np.column_stack([np.ones(len(positions)), positions])
    weights: Array = np.ones(len(positions))
    found: Array = np.zeros(2)
    for _ in range(LINE_ROUNDS):
        scaled = columns * weights[:, None]
        found = np.asarray(np.linalg.lstsq(scaled, values * weights, rcond=None)[0], dtype=np.float64)
        weights = np.asarray(1 / np.sqrt(np.maximum(np.abs(values - columns @ found), 1e-4)), dtype=np.float64)
    return float(found[0]), float(found[1])
