"""Where a cohort will land: the forecast's scale in units of the objective, at first a guess, then learned.

A forecast says how far behind the cohort's best a trial will end, on the panel's scale (`forecast_panel.relative`).
Where that best lies, and how much of the objective a unit is, is guessed from how fast the cohort falls. The guess is
poor early on: before 1/6 of the training it is off by more than the trials differ. Every trial of the running sweep that
has trained to its end corrects it, and what is left over corrects the trials beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from orchestrator.decisions.forecast.neighbours import closeness
from orchestrator.decisions.forecast.observation import Observation

Array = npt.NDArray[np.float64]

Z_90 = 1.645
LOWEST, HIGHEST = -3.0, 6.0
"""Forecasts beyond these ends of the panel's scale are all the same: hyperbolic sines grow fast."""

UNIT_DOUBT = 1.0
"""Standard deviation of the guessed unit, as a logarithm; 68 % of the recorded panels lie within 1.2 of it."""

GRID, ROUNDS = 41, 4
WIDEST = 4.0
"""The scale is looked for within so many standard deviations of the guess, in ever finer grids."""

STRANGEST = 3.0
"""A completed trial farther than so many standard deviations from its forecast pulls no harder: it was an accident."""

HABIT = 0.5
"""Weight of "neighbours tell nothing" beside that of a neighbour with the very same recipe; 0.5 to 1 found equal."""


@dataclass(frozen=True)
class Landing:
    """The panel's scale at the end of the training, in units of the objective (turned so that less is better).

    Args:
        best: Expected best objective.
        unit: How much of the objective one unit of the scale is.
        doubt: Standard deviation of ``best``.
        positive: Whether no objective can be below 0.
    """

    best: float
    unit: float
    doubt: float
    positive: bool

    def values(self, scale: Array) -> Array:
        """Return points of the scale as values of the objective, shape as given."""
        found: Array = self.best + self.unit * np.sinh(np.clip(scale, LOWEST, HIGHEST))
        return np.maximum(found, 0.0) if self.positive else found

    def scale(self, values: Array) -> Array:
        """Return values of the objective as points of the scale, shape as given."""
        found: Array = np.clip(np.arcsinh((values - self.best) / self.unit), LOWEST, HIGHEST)
        return found

    def band(self, mean: Array, deviation: Array) -> tuple[Array, Array]:
        """Return the ends of the 90 % bands in units of the objective, the doubt about the best included.

        Args:
            mean: Forecasts on the scale, shape [trials].
            deviation: Their standard deviations, shape [trials]; 0 where the end is known.
        """
        middle, common = self.values(mean), np.where(deviation > 0, Z_90 * self.doubt, 0.0)
        low, high = (self.values(mean + side * Z_90 * deviation) for side in (-1, 1))
        low, high = middle - np.hypot(middle - low, common), middle + np.hypot(high - middle, common)
        return (np.maximum(low, 0.0) if self.positive else low), high


def learned_landing(guess: Landing, mean: Array, deviation: float, ends: Array) -> Landing:
    """Return the likeliest scale given what completed trials have come to (maximum a posteriori).

    Args:
        guess: The scale before; normal around it, ``doubt`` for the best and `UNIT_DOUBT` for the unit's logarithm.
        mean: Forecasts of the completed trials on the scale, shape [completed].
        deviation: Their standard deviation.
        ends: Final objectives of the completed trials, shape [completed].
    """
    if not len(ends):
        return guess
    expected = np.clip(mean, LOWEST, HIGHEST)
    shift, growth, width = 0.0, 0.0, WIDEST
    for _ in range(ROUNDS):
        shifts, growths = (np.linspace(at - width, at + width, GRID) for at in (shift, growth))
        row, column = np.unravel_index(
            int(np.argmin(_costs(guess, shifts, growths, expected, deviation, ends))), (GRID, GRID)
        )
        shift, growth, width = float(shifts[row]), float(growths[column]), width * 4 / (GRID - 1)
    unit = guess.unit * math.exp(UNIT_DOUBT * growth)
    # What one completed trial says of the best is as unsure as its own forecast was.
    said = unit * deviation / math.sqrt(len(ends))
    doubt = guess.doubt * said / max(math.hypot(guess.doubt, said), 1e-300)
    return replace(guess, best=guess.best + guess.doubt * shift, unit=unit, doubt=doubt)


def _costs(guess: Landing, shifts: Array, growths: Array, expected: Array, deviation: float, ends: Array) -> Array:
    """Return the negative logarithm of the posterior at every pair of shift and growth, shape [shifts, growths]."""
    best = guess.best + guess.doubt * shifts[:, None, None]
    unit = guess.unit * np.exp(UNIT_DOUBT * growths)[None, :, None]
    apart = (np.arcsinh((ends - best) / unit) - expected) / deviation
    found: Array = 0.5 * np.minimum(apart**2, STRANGEST**2).sum(axis=2)
    return found + 0.5 * shifts[:, None] ** 2 + 0.5 * growths[None, :] ** 2


def corrected(
    observations: Sequence[Observation], mean: Array, deviation: float, completed: npt.NDArray[np.int64], reached: Array
) -> Array:
    """Return forecasts on the scale once completed trials have told where they and their neighbours were wrong.

    Args:
        observations: The trials.
        mean: Forecasts of all, shape [trials].
        deviation: Their standard deviation.
        completed: Rows of the completed trials, shape [completed].
        reached: Where these ended, on the scale, shape [completed].
    """
    if not len(completed):
        return mean
    wrong = np.clip(reached - mean[completed], -2 * deviation, 2 * deviation)
    weights = closeness(observations, completed)
    result: Array = mean + (weights @ wrong) / (weights.sum(axis=1) + HABIT)
    result[completed] = reached
    return result
