"""Mean learning curves of synthetic configurations, as functions of the samples seen. No noise stands here.

With u the share of the budget that was spent making progress, the loss is A + (L0 - A) (1 + v u)^-decay: a power law
from the base model's loss L0 to an asymptote A (the form of Domhan et al. 2015 and Kaplan et al. 2020).
The gradient norm follows from it: to first order a step with learning rate h lowers the loss by h times
the squared gradient norm. In a batch of B samples noise adds its trace over B to that square (McCandlish et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.simulation.synthetic.settings import REFERENCE_BATCH, SyntheticSettings

Floats = NDArray[np.float64]

PLATEAU_PACE = 0.05
"""Progress on a plateau, as a share of the usual."""
DIVERGED_RISE = 5.0
"""What the loss has risen by, in nats per token, when a trial diverges."""
LATEST_DIVERGENCE = 0.6
"""No trial diverges after this share of the budget."""


@dataclass(frozen=True)
class Configurations:
    """Synthetic configurations; every array is of shape [configurations].

    ``method`` is an index into the settings' methods. ``offset`` is the natural logarithm of learning rate over
    the best one at the batch size. ``plateau_start``, ``plateau_length`` and ``diverges`` are shares of the budget;
    ``diverges`` is infinite where training goes well.
    """

    method: NDArray[np.int64]
    batch: NDArray[np.int64]
    learning_rate: Floats
    offset: Floats
    relative_rate: Floats
    asymptote: Floats
    speed: Floats
    plateau_start: Floats
    plateau_length: Floats
    diverges: Floats

    def take(self, index: NDArray[np.int64]) -> Configurations:
        """Return the configurations at ``index`` [n], which may repeat."""
        return Configurations(**{name: values[index] for name, values in vars(self).items()})


def draw_configurations(count: int, settings: SyntheticSettings, random: np.random.Generator) -> Configurations:
    """Draw configurations evenly over methods, batch sizes and logarithms of the learning rate."""
    best = np.array(list(settings.methods.values()))
    gaps = np.array([settings.method_gaps.get(name, 0.0) for name in settings.methods])
    method = random.integers(len(best), size=count)
    batch = random.choice(np.array(settings.effective_batch_sizes, dtype=np.int64), size=count)
    reach = np.log(settings.learning_rate_factor)
    offset = random.uniform(-reach, reach, size=count)
    relative_batch = batch / REFERENCE_BATCH
    relative_rate = np.exp(offset) * relative_batch**settings.batch_exponent
    steepness = settings.curvature * np.where(offset > 0, 1.0, 0.5)
    halvings = np.log2(max(settings.effective_batch_sizes) / batch)
    asymptote = settings.floor_loss + gaps[method] + steepness * offset**2 + settings.small_batch_loss * halvings
    stalls = random.random(count) < settings.plateau_share
    beyond = offset - np.log(settings.divergence_factor)
    sooner = LATEST_DIVERGENCE * random.uniform(0.02, 1.0, size=count) * np.exp(-np.maximum(beyond, 0.0))
    return Configurations(
        method=method,
        batch=batch,
        learning_rate=best[method] * relative_rate,
        offset=offset,
        relative_rate=relative_rate,
        asymptote=asymptote + settings.spread * random.standard_normal(count),
        speed=settings.speed * relative_rate / relative_batch,
        plateau_start=random.uniform(0.02, 0.5, size=count),
        plateau_length=settings.plateau_length * random.uniform(0.3, 1.0, size=count) * stalls,
        diverges=np.where(beyond > 0, sooner, np.inf),
    )


def remaining(configurations: Configurations, shares: Floats, settings: SyntheticSettings) -> Floats:
    """Return which part of L0 - A is still to be won, [configurations, shares]; ``shares`` of the budget [shares]."""
    since = np.clip(shares - configurations.plateau_start[:, None], 0.0, configurations.plateau_length[:, None])
    progress = shares - (1 - PLATEAU_PACE) * since
    return np.asarray((1 + configurations.speed[:, None] * progress) ** -settings.decay)


def losses(configurations: Configurations, shares: Floats, settings: SyntheticSettings) -> Floats:
    """Return the mean loss, nats per token, [configurations, shares]; it rises before a trial diverges."""
    asymptote = configurations.asymptote[:, None]
    falling = asymptote + (settings.start_loss - asymptote) * remaining(configurations, shares, settings)
    return np.asarray(falling + DIVERGED_RISE * (shares / configurations.diverges[:, None]) ** 6)


def gradient_norms(configurations: Configurations, shares: Floats, settings: SyntheticSettings) -> Floats:
    """Return the norm of the gradient itself, without the noise of a batch, [configurations, shares]."""
    start, length = configurations.plateau_start[:, None], configurations.plateau_length[:, None]
    pace = np.where((shares > start) & (shares <= start + length), PLATEAU_PACE, 1.0)
    speed, batch = configurations.speed[:, None], configurations.batch[:, None]
    left = remaining(configurations, shares, settings) ** (1 + 1 / settings.decay)
    slope = (settings.start_loss - configurations.asymptote[:, None]) * settings.decay * speed * left * pace
    rise = 6 * DIVERGED_RISE * (shares / configurations.diverges[:, None]) ** 5 / configurations.diverges[:, None]
    each_step = (np.abs(slope) + rise) * batch / settings.samples
    return np.asarray(settings.gradient_scale * np.sqrt(each_step / configurations.learning_rate[:, None]))


def distances(configurations: Configurations, shares: Floats) -> Floats:
    """Return the distance travelled, [configurations, shares]; 1 for the best at `REFERENCE_BATCH`, at its end."""
    steps = shares * REFERENCE_BATCH / configurations.batch[:, None]
    return np.asarray(configurations.relative_rate[:, None] * np.sqrt(steps))
