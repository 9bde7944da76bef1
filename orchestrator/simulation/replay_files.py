"""Recorded sweeps under many stopping rules, from files to a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from orchestrator.decisions.forecast.model import SHIPPED_WEIGHTS, ForecastModel, load_model
from orchestrator.decisions.objective import Objective
from orchestrator.errors import DataError, StorageError
from orchestrator.simulation.engine.simulator import Clock
from orchestrator.simulation.forecast.calibration import Calibration, calibrate
from orchestrator.simulation.forecast.fitting import all_lessons, common_metrics, fit_forecast, left_out_models
from orchestrator.simulation.recorded.files import read_recorded
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.replay import DRAWS, Progress, ReplayReport, replay
from orchestrator.simulation.rules import choose_rules

SHIPPED = "shipped"
"""The word that stands for the recorded sweeps that come with the package."""

_SHIPPED_FOLDER = Path(__file__).parent / "recorded" / "shipped"


def replay_recorded(
    recorded: Sequence[str | Path] = (SHIPPED,),
    *,
    objective: str = "eval/loss",
    mode: Literal["min", "max"] = "min",
    rules: Sequence[str] = ("all",),
    clock: Clock | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    jobs: int = 1,
    leave_one_out: bool = False,
    observer: Callable[[Progress], None] | None = None,
) -> ReplayReport:
    """Replay recorded sweeps under stopping rules.

    Args:
        recorded: Files of `orchestrate record-export`, or ``shipped``.
        objective: The metric that defines best.
        mode: Whether low or high is best.
        rules: Rules, families or groups of them by name, or ``all``.
        clock: Workers and costs; one worker and no costs if None.
        draws: Random orders of the trials of each sweep.
        seed: Of the orders.
        jobs: Processes.
        leave_one_out: Give our forecast, for each sweep, weights fitted on the other sweeps alone (at least three sweeps).
        observer: Told how far it is; must return quickly.

    Returns:
        Figures per rule, with intervals over draws and sweeps.

    Raises:
        DataError: If a file or a sweep in it cannot be used.
        InputError: If a rule is unknown, or needs a package that is missing.
    """
    chosen = choose_rules(rules)
    sweeps = read_recorded(recorded_files(recorded))
    weights = left_out_models(sweeps) if leave_one_out else None
    return replay(
        sweeps,
        chosen.rules,
        Objective(objective, mode),
        clock,
        draws=draws,
        seed=seed,
        jobs=jobs,
        notes=chosen.notes,
        weights=weights,
        observer=observer,
    )


def fit_forecast_files(recorded: Sequence[str | Path], out: Path, more: Sequence[RecordedSweep] = ()) -> ForecastModel:
    """Fit the forecast's weights on recorded sweeps and write them, for `stopping.forecast.weights` of a sweep file.

    Args:
        recorded: Files of `orchestrate record-export`, or ``shipped``.
        out: File to write.
        more: Sweeps beside those of the files; one of a name that is there already is left out.

    Raises:
        DataError: If a file cannot be used, or there are too few sweeps.
        StorageError: If the file cannot be written.
    """
    sweeps = read_recorded(recorded_files(recorded))
    known = {sweep.name for sweep in sweeps}
    model = fit_forecast(all_lessons([*sweeps, *(sweep for sweep in more if sweep.name not in known)]))
    try:
        model.save(out)
    except OSError as error:
        raise StorageError(
            "--out", value=str(out), rule=f"this file cannot be written ({error})", mend="choose another place"
        ) from error
    return model


def score_forecast(
    recorded: Sequence[str | Path] = (SHIPPED,),
    *,
    metrics: Sequence[str] = ("eval/loss",),
    weights: Path = SHIPPED_WEIGHTS,
    leave_one_out: bool = False,
) -> Calibration:
    """Score the forecast's expected values, bands and probabilities on recorded sweeps.

    Args:
        recorded: Files of `orchestrate record-export`, or ``shipped``.
        metrics: Objectives to forecast.
        weights: A file of `fit_forecast_files`.
        leave_one_out: Forecast each sweep by weights fitted on the other sweeps alone, instead of ``weights``.

    Raises:
        DataError: If a file cannot be used, or no sweep measures one of the metrics at its milestones.
        SpecError: If the weights cannot be read.
    """
    sweeps = read_recorded(recorded_files(recorded))
    for metric in metrics:
        if not any(metric in common_metrics(sweep) for sweep in sweeps):
            known = sorted({name for sweep in sweeps for name in common_metrics(sweep)})
            raise DataError(
                "--objective",
                value=metric,
                rule="no sweep measured it at all its milestones",
                mend=f"choose among {', '.join(known)}",
            )
    model = load_model(weights)
    models = left_out_models(sweeps) if leave_one_out else {sweep.name: model for sweep in sweeps}
    return calibrate(sweeps, models, metrics, leave_one_out)


def recorded_files(words: Sequence[str | Path]) -> list[Path]:
    """Return the files that words name, ``shipped`` for those that come with the package.

    Raises:
        DataError: If none are shipped with this package.
    """
    files: list[Path] = []
    for word in words:
        shipped = sorted(_SHIPPED_FOLDER.glob("*.jsonl.gz")) if str(word) == SHIPPED else [Path(word)]
        if not shipped:
            raise DataError(
                SHIPPED,
                rule="no recorded sweeps come with this installation",
                mend="name files that `orchestrate record-export` wrote",
            )
        files.extend(shipped)
    return files
