"""Forecast of final objectives from a panel: ridge regression with learned uncertainty, weights shipped as data.

Target and forecast live on the panel's own scale (`forecast_panel.relative`): 0 is the best final objective of the
cohort, 0.88 (asinh 1) the median. The weights of every feature may depend on how far training has come and on whether
the objective measures what is learned or what is kept (`Panel.alignment`); their sign is learned, never assumed.
Fitted on recorded sweeps by `orchestrate fit-forecast` (`orchestrator/simulation/fitting.py`).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.decisions.forecast_panel import FEATURES, Array, Panel
from orchestrator.errors import SpecError

FORMAT = 1
SHIPPED_WEIGHTS = Path(__file__).with_name("forecast_weights.json")
SMALLEST_SHARE = 1 / 512
TERMS = ("1", *FEATURES)
WIDTH = 3 * len(TERMS)


@dataclass(frozen=True)
class ForecastModel:
    """Weights of the forecast.

    Args:
        weights: Of `design`'s columns, `WIDTH` of them.
        spread: Of `spread_columns`; their sum is the logarithm of the forecast's standard deviation.
        shift: (intercept, slope) over `stage` of how far the best objective falls to the end, in panel units.
        growth: (intercept, slope) over `stage` of the logarithm of the panel's unit at the end over now.
        sweeps: Names of the recorded sweeps it was fitted on.
    """

    weights: tuple[float, ...]
    spread: tuple[float, float, float, float]
    shift: tuple[float, float]
    growth: tuple[float, float]
    sweeps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.weights) != WIDTH:
            raise ValueError(f"a forecast needs {WIDTH} weights, got {len(self.weights)}")

    def mean(self, panel: Panel) -> Array:
        """Return expected final objectives on the panel's scale, shape [trials]; less is better."""
        result: Array = design(panel) @ np.asarray(self.weights)
        return result

    def deviation(self, panel: Panel) -> float:
        """Return the standard deviation of the forecast of a trial, on the panel's scale."""
        return math.exp(float(np.dot(self.spread, spread_columns(panel))))

    def final_unit(self, panel: Panel) -> float:
        """Return how much of the objective one panel unit is expected to be at the end."""
        return panel.unit * math.exp(self.growth[0] + self.growth[1] * stage(panel.share))

    def in_units(self, panel: Panel, values: Array) -> Array:
        """Return forecasts as values of the objective (turned so that less is better), roughly: the common shift is a guess."""
        at = stage(panel.share)
        best = panel.best - panel.unit * (self.shift[0] + self.shift[1] * at)
        result: Array = best + self.final_unit(panel) * np.sinh(np.clip(values, -3.0, 6.0))
        return np.maximum(result, panel.floor)

    def to_json(self) -> str:
        """Return the file's text."""
        return json.dumps({"format": FORMAT, "features": list(FEATURES), **asdict(self)}, indent=1) + "\n"


def stage(share: float) -> float:
    """Return how far training has come on a logarithmic scale: -1 after 1/64 of the budget, 0 at the end."""
    return math.log2(min(1.0, max(share, SMALLEST_SHARE))) / 6


def spread_columns(panel: Panel) -> tuple[float, float, float, float]:
    """Return what the forecast's spread depends on: 1, the stage, how restless the panel is, whether that is unknown."""
    known = panel.unrest is not None
    restless = math.log(panel.unrest + 0.05) + 1.5 if panel.unrest is not None else 0.0
    return (1.0, stage(panel.share), restless, 0.0 if known else 1.0)


def design(panel: Panel) -> Array:
    """Return the regression's columns, shape [trials, WIDTH]: terms, terms x alignment, terms x stage."""
    terms = np.column_stack([np.ones(len(panel.features)), panel.features])
    return np.hstack([terms, terms * panel.alignment, terms * stage(panel.share)])


@lru_cache(maxsize=8)
def load_model(path: Path = SHIPPED_WEIGHTS) -> ForecastModel:
    """Read weights.

    Raises:
        SpecError: If the file is missing or of another version.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SpecError("sweep file", "stopping.forecast.weights", str(path), f"this file cannot be read ({error})",
                        "write one with `orchestrate fit-forecast`, or leave the field out") from error  # fmt: skip
    if not isinstance(values, dict) or values.get("format") != FORMAT or values.get("features") != list(FEATURES):
        raise SpecError("sweep file", "stopping.forecast.weights", str(path),
                        "these weights were fitted for another version of the forecast's features",
                        "fit them again with `orchestrate fit-forecast`") from None  # fmt: skip
    return ForecastModel(
        tuple(values["weights"]), _four(values["spread"]), _pair(values["shift"]), _pair(values["growth"]),
        tuple(values["sweeps"]),
    )  # fmt: skip


def _four(values: list[float]) -> tuple[float, float, float, float]:
    first, second, third, fourth = map(float, values)
    return first, second, third, fourth


def _pair(values: list[float]) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)
