"""Forecast of final objectives from a panel: a line through the extrapolated objective, corrected by a forest of trees.

Target and forecast live on the panel's own scale (`forecast_panel.relative`): 0 is the best final objective of the
cohort, 0.88 (asinh 1) the median. The forest sees how far training has come and whether the objective measures what is
learned or what is kept (`Panel.alignment`); the sign of every signal is learned, never assumed.
Fitted on recorded sweeps by `orchestrate fit-forecast` (`orchestrator/simulation/fitting.py`), shipped as data.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from orchestrator.decisions.forecast_landing import Landing
from orchestrator.decisions.forecast_panel import FEATURES, Array, Panel
from orchestrator.decisions.forest import Forest
from orchestrator.errors import SpecError

FORMAT = 3
SHIPPED_WEIGHTS = Path(__file__).with_name("forecast_weights.npz")
SMALLEST_SHARE = 1 / 512
COLUMNS = (*FEATURES, "stage", "alignment", "unrest", "log_trials")
USUAL_UNREST = 0.3
"""Stands for the unrest of a first milestone, where it is not known."""

FAR = 4.0
"""Extrapolated objectives beyond this are all the same to the line: such trials have failed."""

PACE_KEPT = 0.8
"""Found on recorded sweeps, with 0.6 to 0.9 nearly as good."""

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class ForecastModel:
    """Weights of the forecast.

    Args:
        line: Of `line_columns`; where the final objective is expected from the extrapolated one alone.
        forest: Corrects the line; its columns are `COLUMNS`.
        spread: Of `spread_columns`; their sum is the logarithm of the forecast's standard deviation.
        shift: (intercept, slope) over `stage` of how far the best objective falls to the end, in panel units.
        growth: (intercept, slope) over `stage` of the logarithm of the panel's unit at the end over now.
        doubt: (intercept, slope) over `stage` of the logarithm of the standard deviation, over `doubt_scale`, of the error
            that all trials of a cohort share.
        sweeps: Names of the recorded sweeps it was fitted on.

    Raises:
        ValueError: If there are more or fewer weights than columns.
    """

    line: Numbers
    forest: Forest
    spread: Numbers
    shift: Numbers
    growth: Numbers
    doubt: Numbers
    sweeps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, wanted in (("line", 4), ("spread", 6), ("shift", 2), ("growth", 2), ("doubt", 2)):
            if len(getattr(self, name)) != wanted:
                raise ValueError(f"a forecast's {name} has {wanted} weights, got {len(getattr(self, name))}")
        if int(self.forest.feature.max(initial=-1)) >= len(COLUMNS):
            raise ValueError(f"a forecast's forest looks at {len(COLUMNS)} columns")

    def mean(self, panel: Panel) -> Array:
        """Return expected final objectives on the panel's scale, shape [trials]; less is better."""
        return self._predict(panel)[0]

    def deviation(self, panel: Panel) -> float:
        """Return the standard deviation of the forecast of a trial, on the panel's scale."""
        return self.mean_and_deviation(panel)[1]

    def mean_and_deviation(self, panel: Panel) -> tuple[Array, float]:
        """Return `mean` and `deviation` at once."""
        mean, trees = self._predict(panel)
        return mean, math.exp(float(np.dot(self.spread, spread_columns(panel, mean, trees))))

    def landing(self, panel: Panel) -> Landing:
        """Return where the cohort will land in units of the objective: a guess, until trials have completed."""
        at = stage(panel.share)
        unit = panel.unit * math.exp(self.growth[0] + self.growth[1] * at)
        doubt = doubt_scale(panel) * math.exp(self.doubt[0] + self.doubt[1] * at)
        return Landing(self._best_at_end(panel), unit, doubt, panel.positive)

    def _best_at_end(self, panel: Panel) -> float:
        """Return the expected best objective at the end.

        Each doubling of the samples brings `PACE_KEPT` of the fall of the one before; where objectives are positive, of
        the fall in relative terms.
        """
        left = math.log2(1 / max(panel.share, SMALLEST_SHARE))
        if panel.pace is None:
            at = stage(panel.share)
            fall, lasting = max(0.0, panel.unit * (self.shift[0] + self.shift[1] * at)), 1.0
        else:
            whole = int(left)
            fall = panel.pace
            lasting = sum(PACE_KEPT**each for each in range(1, whole + 1)) + PACE_KEPT ** (whole + 1) * (left - whole)
        if panel.positive:
            return panel.lowest * math.exp(-lasting * math.log1p(fall / panel.lowest))
        return panel.lowest - lasting * fall

    def save(self, path: Path) -> None:
        """Write the weights to a file (``.npz``: plain arrays)."""
        about = {
            "format": FORMAT, "columns": COLUMNS, "line": self.line, "spread": self.spread, "shift": self.shift,
            "growth": self.growth, "doubt": self.doubt, "sweeps": self.sweeps,
        }  # fmt: skip
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, about=np.array(json.dumps(about)), **self.forest.arrays())

    def _predict(self, panel: Panel) -> tuple[Array, Array]:
        trees = self.forest.predict(design(panel))
        mean: Array = line_columns(panel) @ np.asarray(self.line) + trees.mean(axis=0)
        return mean, trees


def stage(share: float) -> float:
    """Return how far training has come on a logarithmic scale: -1 after 1/64 of the budget, 0 at the end."""
    return math.log2(min(1.0, max(share, SMALLEST_SHARE))) / 6


def doubt_scale(panel: Panel) -> float:
    """Return what the error that all trials share is measured by: the best objective now, or the panel's unit."""
    return panel.lowest if panel.positive else panel.unit


def line_columns(panel: Panel) -> Array:
    """Return what the line is drawn through, shape [trials, 4]: 1, stage, extrapolated objective, their product."""
    value = np.minimum(panel.features[:, FEATURES.index("extrapolated")], FAR)
    at = np.full(len(value), stage(panel.share))
    return np.column_stack([np.ones(len(value)), at, value, value * at])


def design(panel: Panel) -> Array:
    """Return the forest's columns, shape [trials, len(COLUMNS)]."""
    unrest = USUAL_UNREST if panel.unrest is None else panel.unrest
    common = [stage(panel.share), panel.alignment, unrest, math.log(len(panel.features))]
    return np.hstack([panel.features, np.tile(common, (len(panel.features), 1))])


def spread_columns(panel: Panel, mean: Array, trees: Array) -> Numbers:
    """Return what the forecast's spread depends on.

    That is 1, doublings left, unrest, whether that is unknown, how much the trees differ, and how
    much of the cohort is left (where the worse part has been stopped, the others lie closer and change places more).
    """
    contenders = mean <= np.median(mean)
    restless = math.log(panel.unrest + 0.05) + 1.5 if panel.unrest is not None else 0.0
    differ = float(trees[:, contenders].std(axis=0).mean())
    left = math.log(math.log2(1 / max(panel.share, SMALLEST_SHARE)) + 0.05)
    return (1.0, left, restless, float(panel.unrest is None), math.log(differ + 0.02) + 1.5, math.log(panel.survivors))


@lru_cache(maxsize=8)
def load_model(path: Path = SHIPPED_WEIGHTS) -> ForecastModel:
    """Read weights; nothing in the file is executed.

    Raises:
        SpecError: If the file is missing, damaged, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about: dict[str, Any] = json.loads(str(file["about"]))
            arrays = {name: file[name] for name in file.files if name != "about"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
        raise SpecError("sweep file", "stopping.forecast.weights", str(path), f"this file cannot be read ({error})",
                        "write one with `orchestrate fit-forecast`, or leave the field out") from error  # fmt: skip
    if about.get("format") != FORMAT or about.get("columns") != list(COLUMNS):
        raise SpecError("sweep file", "stopping.forecast.weights", str(path),
                        "these weights were fitted for another version of the forecast",
                        "fit them again with `orchestrate fit-forecast`")  # fmt: skip
    try:
        weights = {name: tuple(map(float, about[name])) for name in ("line", "spread", "shift", "growth", "doubt")}
        return ForecastModel(**weights, forest=Forest(**arrays), sweeps=tuple(map(str, about["sweeps"])))
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError("sweep file", "stopping.forecast.weights", str(path), f"this file is damaged ({error})",
                        "fit the weights again with `orchestrate fit-forecast`") from error  # fmt: skip
