r"""Learning-rate schedules as pure functions: what the learning rate is multiplied with at each optimizer step.

``step`` counts from 0 (the multiplier used *by* the first optimizer step is the one at step 0), ``steps``
is the number of optimizer steps and ``w`` the number of warm-up steps. All schedules share the linear
warm-up ``step / w`` for ``step < w``, so that with a warm-up the first step has learning rate 0. That is
the convention of ``transformers`` (``transformers.optimization``), whose values these functions equal.

After the warm-up, with ``p = (step - w) / max(1, steps - w)``:

* ``constant``: 1
* ``linear``: ``min_ratio + (1 - min_ratio) * (1 - p)``
* ``cosine``: ``min_ratio + (1 - min_ratio) * (1 + cos(2 pi cycles p)) / 2``
* ``wsd`` (warm-up, stable, decay; Hu et al. 2024, MiniCPM): 1 until the last ``d = ceil(decay_share * steps)``
  steps, then with ``q`` going from 0 towards 1 over those: ``min_ratio + (1 - min_ratio) * (1 - q ** decay_power)``;
  ``decay_power`` 1 is the linear and 0.5 the "1 - sqrt" decay (Haegele et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScheduleOption:
    """One number that shapes a schedule, with its bounds (inclusive)."""

    default: float
    low: float
    high: float
    summary: str


_MIN_RATIO = ScheduleOption(0.0, 0.0, 1.0, "Learning rate at the end, as a share of the peak.")

SCHEDULES: dict[str, dict[str, ScheduleOption]] = {
    "constant": {},
    "linear": {"min_ratio": _MIN_RATIO},
    "cosine": {
        "min_ratio": _MIN_RATIO,
        "cycles": ScheduleOption(0.5, 0.01, 100.0, "Number of cosine waves; 0.5 falls once."),
    },
    "wsd": {
        "min_ratio": _MIN_RATIO,
        "decay_share": ScheduleOption(0.2, 0.0, 1.0, "Share of all steps, at the end, in which the rate falls."),
        "decay_power": ScheduleOption(1.0, 0.1, 10.0, "1 falls linearly, 0.5 as 1 - sqrt."),
    },
}


def check_schedule(name: str, options: Mapping[str, float]) -> None:
    """Check that a schedule exists and its options are its own and within bounds.

    Raises:
        ValueError: States the value and the rule.
    """
    if name not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}")
    known = SCHEDULES[name]
    for key, value in options.items():
        if key not in known:
            raise ValueError(f"schedule {name!r} takes {', '.join(known) or 'no options'}, got {key!r}")
        option = known[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not option.low <= value <= option.high:
            raise ValueError(f"{key} of schedule {name!r} must lie in {option.low}..{option.high}, got {value!r}")


def multiplier(
    name: str, step: int, steps: int, warmup_steps: int, options: Mapping[str, float] | None = None
) -> float:
    """Return the factor on the peak learning rate that optimizer step ``step`` (from 0) uses.

    Raises:
        ValueError: If the schedule or an option is wrong, or ``step`` is negative.
    """
    given = dict(options or {})
    check_schedule(name, given)
    if step < 0:
        raise ValueError(f"step must be at least 0, got {step}")
    if step < warmup_steps:
        return step / warmup_steps
    values = {key: float(given.get(key, option.default)) for key, option in SCHEDULES[name].items()}
    return _AFTER_WARMUP[name](step, steps, warmup_steps, values)


def _constant(step: int, steps: int, warmup_steps: int, options: Mapping[str, float]) -> float:
    return 1.0


def _linear(step: int, steps: int, warmup_steps: int, options: Mapping[str, float]) -> float:
    return _between(options["min_ratio"], max(0.0, 1.0 - _progress(step, steps, warmup_steps)))


def _cosine(step: int, steps: int, warmup_steps: int, options: Mapping[str, float]) -> float:
    wave = 0.5 * (1.0 + math.cos(2.0 * math.pi * options["cycles"] * _progress(step, steps, warmup_steps)))
    return _between(options["min_ratio"], max(0.0, wave))


def _wsd(step: int, steps: int, warmup_steps: int, options: Mapping[str, float]) -> float:
    decay_steps = min(math.ceil(round(options["decay_share"] * steps, 9)), steps - warmup_steps)
    into_decay = step - (steps - decay_steps)
    if into_decay < 0:
        return 1.0
    share = min(into_decay / max(1, decay_steps), 1.0)
    return _between(options["min_ratio"], 1.0 - share ** options["decay_power"])


def _progress(step: int, steps: int, warmup_steps: int) -> float:
    return (step - warmup_steps) / max(1, steps - warmup_steps)


def _between(low: float, share: float) -> float:
    return low + (1.0 - low) * share


_AFTER_WARMUP: dict[str, Callable[[int, int, int, Mapping[str, float]], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "wsd": _wsd,
}
