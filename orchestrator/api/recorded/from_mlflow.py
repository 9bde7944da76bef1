"""Recorded sweeps from their MLflow runs alone, where the storage folder cannot be seen: a prior for the forecast.

MLflow holds at most some hundred points of a long series (`orchestrator.tracking.series`), so signals between them are
interpolated; that is enough for what the forecast looks at, means over stretches between milestones. For everything else
`export_recorded` reads the whole signals from the storage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from orchestrator.errors import StorageError, TrackingError
from orchestrator.progress import Say, silent
from orchestrator.records import Outcome
from orchestrator.simulation.forecast.fitting import SMALLEST_PANEL
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial
from orchestrator.tracking.mlflow.reader import RunReader, Series, TrackedRun

_SIGNALS = ("train/loss", "train/grad_norm", "train/learning_rate", "train/noise_scale")
_NOT_SCORES = ("train/", "system/", "forecast/", "dynamics/")
_NUMBERS = ("learning_rate", "effective_batch_size", "seed", "samples")
_WHOLE = (Outcome.COMPLETED, Outcome.DIVERGED)

Array = npt.NDArray[np.float64]


def tracked_recorded(uri: str, say: Say = silent) -> list[RecordedSweep]:
    """Return every sweep of a tracking store whose trials were all trained to their ends, by name.

    Args:
        uri: Tracking server or store.
        say: Is told of each, and why sweeps that recorded cannot be used.

    Raises:
        TrackingError: If there is no such store, it cannot be reached, or none of its sweeps can be used.
        SinkError: If it fails while it is read.
    """
    reader = RunReader(uri)
    found: dict[str, RecordedSweep] = {}
    for run in reader.sweeps():
        trials = [each for each in reader.trials(run) if each.tags.get("role", "search") == "search"]
        if run.sweep in found or len(trials) < SMALLEST_PANEL or not all(_is_whole(each) for each in trials):
            continue
        try:
            found[run.sweep] = _sweep(reader, run, trials)
        except (StorageError, ValueError, KeyError) as error:
            say(f"Left out {run.sweep}: {error}")
            continue
        say(f"Learns from {run.sweep} of {uri}, {len(trials)} trials.")
    if not found:
        raise TrackingError(
            "--tracking-uri",
            value=uri,
            rule=f"no sweep of this store trained {SMALLEST_PANEL} or more trials to their ends",
            mend="record one with: orchestrate run FILE --record, or leave --tracking-uri out",
        )
    return [found[name] for name in sorted(found)]


def _is_whole(run: TrackedRun) -> bool:
    return run.tags.get("outcome") in {outcome.value for outcome in _WHOLE}


def _sweep(reader: RunReader, run: TrackedRun, trials: Sequence[TrackedRun]) -> RecordedSweep:
    scores = [
        {key: reader.series(each.run_id, key) for key in each.metrics if not key.startswith(_NOT_SCORES)}
        for each in trials
    ]
    # Sweeps that were tracked before it was noted have no such parameter.
    extra = {"epochs": float(run.params["epochs"])} if "epochs" in run.params else {}
    recorded = [_trial(reader, each, series, extra) for each, series in zip(trials, scores, strict=True)]
    if sum(trial.status == "completed" for trial in recorded) < SMALLEST_PANEL:
        raise StorageError(
            run.sweep, rule=f"fewer than {SMALLEST_PANEL} of its trials completed", mend="record more trials"
        )
    return RecordedSweep(run.sweep, tuple(recorded))


def _trial(
    reader: RunReader, run: TrackedRun, scores: Mapping[str, Series], extra: Mapping[str, float]
) -> RecordedTrial:
    config = _config(run)
    batch, samples = (int(run.params[name]) for name in ("effective_batch_size", "samples"))
    completed = run.tags["outcome"] == Outcome.COMPLETED.value
    everywhere = _at_every_milestone(scores)
    milestones = sorted({step for key in everywhere for step, _ in scores[key]})
    return RecordedTrial(
        trial=run.tags.get("orchestrate.trial_id", run.run_id),
        config={**config, **extra, "name": _name(run)},
        cohort="",
        signals=_signals(reader, run, batch, milestones),
        evals=tuple((step, {key: dict(scores[key])[step] for key in everywhere}) for step in milestones),
        final={key: series[-1][1] for key, series in scores.items() if series} if completed else {},
        samples=samples,
        seconds=max(0.0, (run.ended or run.began) - run.began),
        status="completed" if completed else "diverged",
    )


def _name(run: TrackedRun) -> str:
    """Return a trial's name without what its run's name says of its end."""
    return run.name.removeprefix("★ ").split(" · ")[0]


def _config(run: TrackedRun) -> dict[str, object]:
    missing = [name for name in ("method", *_NUMBERS) if name not in run.params]
    if missing:
        raise StorageError(run.name, rule=f"its run names no {', '.join(missing)}", mend="leave the sweep out")
    return {
        **run.params,
        "learning_rate": float(run.params["learning_rate"]),
        **{name: int(run.params[name]) for name in _NUMBERS[1:]},
    }


def _at_every_milestone(scores: Mapping[str, Series]) -> list[str]:
    """Return the metrics that were measured as often as the one measured most often."""
    most = max((len(series) for series in scores.values()), default=0)
    steps = [{step for step, _ in series} for series in scores.values() if len(series) == most]
    same = set.intersection(*steps) if steps else set()
    return sorted(key for key, series in scores.items() if {step for step, _ in series} == same)


def _signals(reader: RunReader, run: TrackedRun, batch: int, milestones: Sequence[int]) -> Array:
    """Return the training signals at all steps that any of the thinned series has, and at the milestones."""
    series = {key: reader.series(run.run_id, key) for key in _SIGNALS if key in run.metrics}
    last = max((step for points in series.values() for step, _ in points), default=0)
    steps = np.array(
        sorted({step for points in series.values() for step, _ in points} | {s for s in milestones if s <= last})
    )
    loss, norm, rate = (_interpolated(series.get(key, []), steps) for key in _SIGNALS[:3])
    # The noise is measured at some steps only, and so is the corrected norm.
    measured = dict(series.get("train/noise_scale", []))
    noise = np.array([measured.get(int(step), math.nan) for step in steps])
    # The mean square of a batch's gradient exceeds the true gradient's by its noise (arXiv 1812.06162, appendix A.1).
    corrected = norm / np.sqrt(1.0 + np.maximum(noise, 0.0) / batch)
    return np.column_stack([steps, loss, norm, rate, corrected]).astype(np.float64).reshape(-1, 5)


def _interpolated(points: Series, steps: npt.NDArray[np.int64]) -> Array:
    known = [(step, value) for step, value in points if math.isfinite(value)]
    if not known:
        return np.full(len(steps), math.nan)
    places, values = zip(*known, strict=True)
    found: Array = np.interp(steps, places, values)
    return found
