"""Forecast of final objectives from a panel: a line through the extrapolated objective, corrected by a forest of trees.

Target and forecast live on the panel's own scale (`forecast_panel.relative`): 0 is the best final objective of the
cohort, 0.88 (asinh 1) the median. The forest sees how far training has come and whether the objective measures what is
learned or what is kept (`Panel.alignment`); the sign of every signal is learned, never assumed. Where rows are seen more than
once, weights of their own hold: early leaders may over-fit there.
Fitted on recorded sweeps by `orchestrate fit-forecast` (`orchestrator/simulation/forecast/fitting.py`), shipped as data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from orchestrator.decisions.forecast.forest import Forest
from orchestrator.decisions.forecast.landing import Landing
from orchestrator.decisions.forecast.panel import FEATURES, Array, Panel
from orchestrator.errors import SpecError

FORMAT = 4
SHIPPED_WEIGHTS = Path(__file__).with_name("forecast_weights.npz")
SMALLEST_SHARE = 1 / 512
COLUMNS = (*FEATURES, "stage", "alignment", "unrest", "log_trials", "repetition")
USUAL_UNREST = 0.3
"""Stands for the unrest of a first milestone, where it is not known."""

FAR = 4.0
"""Extrapolated objectives beyond this are all the same to the line: such trials have failed."""

MOST_EPOCHS = 32.0

PACE_KEPT = 0.8
"""Found on recorded sweeps, with 0.6 to 0.9 nearly as good."""

ONCE = 1.0
"""Trials of more epochs than this see rows again."""

Numbers = tuple[float, ...]

_NUMBERS = {"line": 6, "spread": 7, "shift": 2, "growth": 2, "doubt": 2}
_ONCE, _REPEATED = "once", "repeated"


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
        repeated: What holds instead where a trial sees its rows more than once; None: the same.

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
    repeated: ForecastModel | None = None

    def __post_init__(self) -> None:
        for name, wanted in _NUMBERS.items():
            if len(getattr(self, name)) != wanted:
                raise ValueError(f"a forecast's {name} has {wanted} weights, got {len(getattr(self, name))}")
        if int(self.forest.feature.max(initial=-1)) >= len(COLUMNS):
            raise ValueError(f"a forecast's forest looks at {len(COLUMNS)} columns")

    def valid_for(self, epochs: float) -> ForecastModel:
        """Return the weights that hold for trials that see each row so often."""
        return self if self.repeated is None or epochs <= ONCE else self.repeated

    def mean(self, panel: Panel) -> Array:
        """Return expected final objectives on the panel's scale, shape [trials]; less is better."""
        return self.valid_for(panel.epochs)._predict(panel)[0]

    def deviation(self, panel: Panel) -> float:
        """Return the standard deviation of the forecast of a trial, on the panel's scale."""
        return self.mean_and_deviation(panel)[1]

    def mean_and_deviation(self, panel: Panel) -> tuple[Array, float]:
        """Return `mean` and `deviation` at once."""
        valid = self.valid_for(panel.epochs)
        mean, trees = valid._predict(panel)
        return mean, math.exp(float(np.dot(valid.spread, spread_columns(panel, mean, trees))))

    def landing(self, panel: Panel) -> Landing:
        """Return where the cohort will land in units of the objective: a guess, until trials have completed."""
        at, valid = stage(panel.share), self.valid_for(panel.epochs)
        unit = panel.unit * math.exp(valid.growth[0] + valid.growth[1] * at)
        doubt = doubt_scale(panel) * math.exp(valid.doubt[0] + valid.doubt[1] * at)
        return Landing(valid._best_at_end(panel), unit, doubt, panel.positive)

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
        about = {"format": FORMAT, "columns": COLUMNS, "sweeps": self.sweeps, _ONCE: self._numbers()}
        arrays = {f"{_ONCE}.{name}": array for name, array in self.forest.arrays().items()}
        if self.repeated is not None:
            about[_REPEATED] = self.repeated._numbers()
            arrays |= {f"{_REPEATED}.{name}": array for name, array in self.repeated.forest.arrays().items()}
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)

    def _numbers(self) -> dict[str, Numbers]:
        return {name: getattr(self, name) for name in _NUMBERS}

    def _predict(self, panel: Panel) -> tuple[Array, Array]:
        trees = self.forest.predict(design(panel))
        mean: Array = line_columns(panel) @ np.asarray(self.line) + trees.mean(axis=0)
        return mean, trees


def stage(share: float) -> float:
    """Return how far training has come on a logarithmic scale: -1 after 1/64 of the budget, 0 at the end."""
    return math.log2(min(1.0, max(share, SMALLEST_SHARE))) / 6


def repetition(epochs: float) -> float:
    """Return how often each row is seen on a logarithmic scale: 0 up to once, 1 for 16 times (early leaders over-fit), 1.25 at most."""
    return math.log2(min(max(epochs, 1.0), MOST_EPOCHS)) / 4


def doubt_scale(panel: Panel) -> float:
    """Return what the error that all trials share is measured by: the best objective now, or the panel's unit."""
    return panel.lowest if panel.positive else panel.unit


def line_columns(panel: Panel) -> Array:
    """Return what the line is drawn through, shape [trials, 6].

    That is 1, stage, extrapolated objective, stage times that, repetition, repetition times the extrapolated objective.
    """
    value = np.minimum(panel.features[:, FEATURES.index("extrapolated")], FAR)
    at, again = (np.full(len(value), each) for each in (stage(panel.share), repetition(panel.epochs)))
    return np.column_stack([np.ones(len(value)), at, value, value * at, again, value * again])


def design(panel: Panel) -> Array:
    """Return the forest's columns, shape [trials, len(COLUMNS)]."""
    unrest = USUAL_UNREST if panel.unrest is None else panel.unrest
    common = [stage(panel.share), panel.alignment, unrest, math.log(len(panel.features)), repetition(panel.epochs)]
    return np.hstack([panel.features, np.tile(common, (len(panel.features), 1))])


def spread_columns(panel: Panel, mean: Array, trees: Array) -> Numbers:
    """Return what the forecast's spread depends on.

    That is 1, doublings left, unrest, whether that is unknown, how much the trees differ, how
    much of the cohort is left (where the worse part has been stopped, the others lie closer and change places more), and
    how often the rows are repeated.
    """
    contenders = mean <= np.median(mean)
    restless = math.log(panel.unrest + 0.05) + 1.5 if panel.unrest is not None else 0.0
    differ = float(trees[:, contenders].std(axis=0).mean())
    left = math.log(math.log2(1 / max(panel.share, SMALLEST_SHARE)) + 0.05)
    return (
        1.0,
        left,
        restless,
        float(panel.unrest is None),
        math.log(differ + 0.02) + 1.5,
        math.log(panel.survivors),
        repetition(panel.epochs),
    )


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
        raise SpecError(
            "sweep file",
            "stopping.forecast.weights",
            str(path),
            f"this file cannot be read ({error})",
            "write one with `orchestrate fit-forecast`, or leave the field out",
        ) from error
    if about.get("format") != FORMAT or about.get("columns") != list(COLUMNS):
        raise SpecError(
            "sweep file",
            "stopping.forecast.weights",
            str(path),
            "these weights were fitted for another version of the forecast",
            "fit them again with `orchestrate fit-forecast`",
        )
    try:
        sweeps = tuple(map(str, about["sweeps"]))
        repeated = _part(_REPEATED, about, arrays, sweeps, None) if _REPEATED in about else None
        return _part(_ONCE, about, arrays, sweeps, repeated)
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(
            "sweep file",
            "stopping.forecast.weights",
            str(path),
            f"this file is damaged ({error})",
            "fit the weights again with `orchestrate fit-forecast`",
        ) from error


def _part(
    name: str,
    about: Mapping[str, Any],
    arrays: Mapping[str, Any],
    sweeps: tuple[str, ...],
    repeated: ForecastModel | None,
) -> ForecastModel:
    """Return one of the two sets of weights of a file."""
    numbers = {each: tuple(map(float, about[name][each])) for each in _NUMBERS}
    own = {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
    return ForecastModel(**numbers, forest=Forest(**own), sweeps=sweeps, repeated=repeated)
