"""Which forecaster: ours beside others on the same panels, each sweep forecast by what was fitted on the others.

Printed per kind of objective and stage: rank correlation with the final objectives, and the root mean square error of the
better half by forecast, on the panel's scale. The others are scikit-learn's, on the same columns, and extrapolation of each
trial's own curve by a power law (the mean of freeze-thaw, Swersky et al. 2014, arXiv 1406.3896, without sharing across trials).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from orchestrator.decisions.forecast.model import design, line_columns
from orchestrator.decisions.forecast.panel import centre_and_unit, rank_correlation, relative
from orchestrator.simulation.forecast.calibration import own_scores, whole_panels
from orchestrator.simulation.forecast.fitting import (
    Lesson,
    all_lessons,
    common_metrics,
    fit_forecast,
    lessons_for,
    mode_of,
)
from orchestrator.simulation.recorded.files import read_recorded
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.replay_files import recorded_files
from tests.benchmarks.bench_stopping import AWAY, IN_DISTRIBUTION, print_table
from tests.benchmarks.common import machine

Array = np.ndarray[Any, Any]
Predict = Callable[[RecordedSweep, Lesson], Array]
STAGES = ((0.0, 0.055, "to 1/20"), (0.055, 0.13, "to 1/8"), (0.13, 0.4, "to 2/5"), (0.4, 1.0, "later"))
GAUSSIAN_ROWS = 1200

REGRESSORS: dict[str, Callable[[], Any]] = {
    "ridge": lambda: make_pipeline(StandardScaler(), Ridge(100.0)),
    "gradient boosting": lambda: HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=20, l2_regularization=10.0, random_state=0
    ),
    "random forest": lambda: RandomForestRegressor(
        100, min_samples_leaf=20, max_features=0.3, n_jobs=-1, random_state=0
    ),
    "extra trees, no line": lambda: ExtraTreesRegressor(
        100, min_samples_leaf=20, max_features=0.3, n_jobs=-1, random_state=0
    ),
    "Gaussian process": lambda: make_pipeline(
        StandardScaler(), GaussianProcessRegressor(ConstantKernel(0.5) * RBF(4.0) + WhiteKernel(0.2), random_state=0)
    ),
}


def power_law(sweep: RecordedSweep, lesson: Lesson) -> Array:
    """Carry each trial's own curve on as a + b n^-c; c is the one of a few that fits its past best (none below three points)."""
    sign = 1.0 if mode_of(lesson.metric) == "min" else -1.0
    levels = [level for level in sweep.levels if level <= 1.01 * lesson.panel.share * sweep.levels[-1]]
    ends = []
    for trial_id in lesson.panel.trial_ids:
        trial = sweep.trial(trial_id)
        seen = np.array([trial.samples_at(level) for level in levels], dtype=float)
        values = np.array([sign * trial.scores_at(int(at))[lesson.metric] for at in seen])
        ends.append(_carried(seen, values, float(sweep.levels[-1])))
    found = np.array(ends)
    return np.asarray(relative(found, *centre_and_unit(found)))


def _carried(seen: Array, values: Array, end: float) -> float:
    if len(np.unique(seen)) < 3:
        return float(values[-1])
    fits = []
    for exponent in (0.1, 0.3, 0.5, 1.0):
        columns = np.column_stack([np.ones(len(seen)), seen**-exponent])
        found, *_ = np.linalg.lstsq(columns, values, rcond=None)
        fits.append((float(np.sum((values - columns @ found) ** 2)), float(found @ [1.0, end**-exponent])))
    return min(fits)[1]


def own(sweep: RecordedSweep, lesson: Lesson) -> Array:
    """The trials' own early scores."""
    scores = own_scores(sweep, lesson)
    return np.asarray(relative(scores, *centre_and_unit(scores)))


def regressor(name: str, taught: Sequence[Lesson]) -> Predict:
    """Fit one of `REGRESSORS` on the residuals of a line through the extrapolated objective (or on the target itself)."""
    columns = np.vstack([design(lesson.panel) for lesson in taught])
    targets = np.concatenate([lesson.targets for lesson in taught])
    weights = np.concatenate([np.full(len(lesson.targets), 1 / len(lesson.targets)) for lesson in taught])
    lines = np.vstack([line_columns(lesson.panel) for lesson in taught])
    scale = np.sqrt(weights)[:, None]
    line = (
        np.zeros(lines.shape[1])
        if "no line" in name
        else np.linalg.lstsq(lines * scale, targets * scale[:, 0], rcond=None)[0]
    )
    model, left = REGRESSORS[name](), targets - lines @ line
    if name == "Gaussian process":
        rows = np.random.default_rng(0).choice(
            len(left), min(GAUSSIAN_ROWS, len(left)), p=weights / weights.sum(), replace=False
        )
        model.fit(columns[rows], left[rows])
    elif name == "ridge":
        model.fit(columns, left, ridge__sample_weight=weights * len(weights) / weights.sum())
    else:
        model.fit(columns, left, sample_weight=weights)
    return lambda sweep, lesson: np.asarray(model.predict(design(lesson.panel)) + line_columns(lesson.panel) @ line)


def predictors(taught: Sequence[Lesson], epochs: float) -> dict[str, Predict]:
    """Return every forecaster, fitted; for sweeps that see no row again on such sweeps alone, as ours is."""
    ours = fit_forecast(taught)
    fitted = {name: regressor(name, lessons_for(epochs, taught)) for name in REGRESSORS}
    return {
        "own early score": own,
        "own curve, power law": power_law,
        **fitted,
        "ours (line and mixed trees)": lambda sweep, lesson: np.asarray(ours.mean(lesson.panel)),
    }


def main() -> None:
    """Print one table per kind of objective."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorded", nargs="*", default=["shipped"], help="recorded sweeps; default: those shipped")
    sweeps = read_recorded(recorded_files(parser.parse_args().recorded))
    print(machine())
    taught = all_lessons(sweeps)
    found: dict[tuple[bool, str, str], list[tuple[float, float]]] = {}
    for sweep in sweeps:
        fitted = predictors([lesson for lesson in taught if lesson.sweep != sweep.name], sweep.epochs)
        for metric in (name for name in (IN_DISTRIBUTION, *AWAY) if name in common_metrics(sweep)):
            for lesson in whole_panels(sweep, metric):
                stage = next(label for low, high, label in STAGES if low < lesson.panel.share <= high)
                for name, predict in fitted.items():
                    said = predict(sweep, lesson)
                    better = said <= np.median(said)
                    error = float(np.sqrt(np.mean((said - lesson.targets)[better] ** 2)))
                    key = (metric == IN_DISTRIBUTION, name, stage)
                    found.setdefault(key, []).append((rank_correlation(said, lesson.targets), error))
    for kind, title in ((True, "held-out loss"), (False, "other losses")):
        rows = [
            ["forecaster", *(f"rank, {label}" for *_, label in STAGES), *(f"error, {label}" for *_, label in STAGES)]
        ]
        for name in dict.fromkeys(key[1] for key in found):
            means = [np.mean(found[kind, name, label], axis=0) for *_, label in STAGES]
            rows.append([name, *(f"{rank:+.3f}" for rank, _ in means), *(f"{error:.3f}" for _, error in means)])
        print_table(f"{title}, {len(sweeps)} sweeps, each left out in turn", rows)


if __name__ == "__main__":
    main()
