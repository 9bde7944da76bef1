"""Learning-rate schedules as pure functions: what the learning rate is multiplied with at each optimizer step.

``step`` counts from 0 (the multiplier used *by* the first optimizer step is the one at step 0), ``steps``
is the number of optimizer steps and ``w`` the number of warm-up steps. All schedules share the linear
warm-up ``step / w`` for ``step < w``, so that with a warm-up the first step has learning rate 0. That is
the convention of ``transformers`` (``transformers.optimization``), whose values these functions equal.

A schedule is one function for the steps after the warm-up and one entry in `SCHEDULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.errors import SpecError
from orchestrator.hyperparameter import is_number
from orchestrator.plugins.loading import is_absent
from orchestrator.plugins.registry import Registry
from orchestrator.spec.trial.options import Option, Options, check_known, check_options, read_named

ScheduleValues = Mapping[str, float]
"""Option -> value, none missing."""

Arguments = dict[str, object]
"""Keyword arguments of Hugging Face's ``TrainingArguments``."""


Factor = Callable[[int, int, int, ScheduleValues], float]
"""Called with step, steps, warm-up steps and all options."""


def _no_arguments(steps: int, warmup_steps: int, options: ScheduleValues) -> Arguments | None:
    return None


@dataclass(frozen=True)
class Schedule:
    """One schedule.

    Attributes:
        factor: Called with step, steps, warm-up steps and all options, for steps after the warm-up.
        summary: What it does.
        options: Numbers that shape it.
        follows_budget: Whether it ends with the budget, so that a trial cannot be trained on past its own.
        arguments: Called with steps, warm-up steps and all options: the same schedule in the words of Hugging Face's
            ``TrainingArguments``; None where they have no such.
    """

    factor: Factor
    summary: str
    options: Options = field(default_factory=dict)
    follows_budget: bool = True
    arguments: Callable[[int, int, ScheduleValues], Arguments | None] = _no_arguments


def find_schedule(name: object, where: str = "trial") -> Schedule:
    """Return a schedule.

    Raises:
        SpecError: If there is none of this name.
    """
    return _KNOWN.find("schedule", name, where)


def read_schedule(value: object) -> tuple[str, dict[str, float]]:
    """Split a schedule as a sweep file has it into its name and options.

    Raises:
        ValueError: If it is neither a name nor a mapping with ``name``.
    """
    name, given = read_named("a schedule", value, SCHEDULES)
    options: dict[str, float] = {}
    for key, entry in given.items():
        if not is_number(entry):
            raise ValueError(f"option {key} of a schedule must be a number, got {entry!r}")
        options[key] = float(entry)
    return name, options


def check_schedule(name: str, options: Mapping[str, float]) -> None:
    """Check that a schedule exists and its options are its own and within bounds.

    Raises:
        ValueError: States the value and the rule.
    """
    try:
        schedule = find_schedule(name)
    except SpecError as error:
        raise ValueError(f"schedule {error.rule}, got {name!r}") from None
    check_options("schedule", name, options, schedule.options)


def check_written_schedule(value: object) -> None:
    """Check a schedule as a sweep file has it.

    Raises:
        ValueError: As `check_schedule`, with the nearest known name.
    """
    name, options = read_schedule(value)
    try:
        schedule = find_schedule(name)
    except SpecError as error:
        mend = error.mend or f"known: {', '.join(SCHEDULES)}"
        raise ValueError(f"there is no schedule {name!r}; {mend}") from None
    if is_absent("schedule", name):
        return
    check_known("schedule", name, options, schedule.options)
    check_schedule(name, options)


def schedule_values(name: str, given: Mapping[str, float]) -> dict[str, float]:
    """Return all options of a schedule, those that were not given at their defaults."""
    return {key: float(given.get(key, option.default)) for key, option in find_schedule(name).options.items()}


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
    return find_schedule(name).factor(step, steps, warmup_steps, schedule_values(name, given))


def _constant(step: int, steps: int, warmup_steps: int, options: ScheduleValues) -> float:
    return 1.0


def _constant_arguments(steps: int, warmup_steps: int, options: ScheduleValues) -> Arguments:
    return {"lr_scheduler_type": "constant_with_warmup"}


def _linear(step: int, steps: int, warmup_steps: int, options: ScheduleValues) -> float:
    """``min_ratio + (1 - min_ratio) * (1 - p)`` with ``p = (step - w) / max(1, steps - w)``."""
    return _between(options["min_ratio"], max(0.0, 1.0 - _progress(step, steps, warmup_steps)))


def _linear_arguments(steps: int, warmup_steps: int, options: ScheduleValues) -> Arguments | None:
    return {"lr_scheduler_type": "linear"} if options["min_ratio"] == 0 else None


def _cosine(step: int, steps: int, warmup_steps: int, options: ScheduleValues) -> float:
    """``min_ratio + (1 - min_ratio) * (1 + cos(2 pi cycles p)) / 2`` with ``p`` as in `_linear`."""
    wave = 0.5 * (1.0 + math.cos(2.0 * math.pi * options["cycles"] * _progress(step, steps, warmup_steps)))
    return _between(options["min_ratio"], max(0.0, wave))


def _cosine_arguments(steps: int, warmup_steps: int, options: ScheduleValues) -> Arguments:
    numbers = {"num_cycles": options["cycles"], "min_lr_rate": options["min_ratio"]}
    return {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": numbers}


def _wsd(step: int, steps: int, warmup_steps: int, options: ScheduleValues) -> float:
    """Warm-up, stable, decay (Hu et al. 2024, MiniCPM).

    1 until the last ``d = ceil(decay_share * steps)`` steps, then with ``q`` going from 0 towards 1 over those:
    ``min_ratio + (1 - min_ratio) * (1 - q ** decay_power)``; ``decay_power`` 1 is the linear and 0.5 the "1 - sqrt"
    decay (Haegele et al. 2024).
    """
    decay_steps = _decay_steps(steps, warmup_steps, options)
    into_decay = step - (steps - decay_steps)
    if into_decay < 0:
        return 1.0
    share = min(into_decay / max(1, decay_steps), 1.0)
    return _between(options["min_ratio"], 1.0 - share ** options["decay_power"])


def _wsd_arguments(steps: int, warmup_steps: int, options: ScheduleValues) -> Arguments | None:
    low, kind = options["min_ratio"], {1.0: "linear", 0.5: "1-sqrt"}.get(options["decay_power"])
    # transformers warms up from the minimum here, ours from 0.
    if kind is None or (low != 0 and warmup_steps != 0):
        return None
    numbers = {
        "num_decay_steps": _decay_steps(steps, warmup_steps, options),
        "decay_type": kind,
        "min_lr_ratio": low,
    }
    return {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": numbers}


def _decay_steps(steps: int, warmup_steps: int, options: ScheduleValues) -> int:
    return min(math.ceil(round(options["decay_share"] * steps, 9)), steps - warmup_steps)


def _progress(step: int, steps: int, warmup_steps: int) -> float:
    return (step - warmup_steps) / max(1, steps - warmup_steps)


def _between(low: float, share: float) -> float:
    return low + (1.0 - low) * share


_MIN_RATIO = Option(0.0, 0.0, 1.0, "Learning rate at the end, as a share of the peak.")

SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(
        _constant, "the peak learning rate throughout", follows_budget=False, arguments=_constant_arguments
    ),
    "linear": Schedule(_linear, "falls in a line", {"min_ratio": _MIN_RATIO}, arguments=_linear_arguments),
    "cosine": Schedule(
        _cosine,
        "falls along a cosine",
        {
            "min_ratio": _MIN_RATIO,
            "cycles": Option(0.5, 0.01, 100.0, "Number of cosine waves; 0.5 falls once."),
        },
        arguments=_cosine_arguments,
    ),
    "wsd": Schedule(
        _wsd,
        "stays at the peak, then falls at the end",
        {
            "min_ratio": _MIN_RATIO,
            "decay_share": Option(0.2, 0.0, 1.0, "Share of all steps, at the end, in which the rate falls."),
            "decay_power": Option(1.0, 0.1, 10.0, "1 falls linearly, 0.5 as 1 - sqrt."),
        },
        arguments=_wsd_arguments,
    ),
}
"""Every schedule of this package that a sweep file can name."""

_ABSENT = Schedule(_constant, "a schedule whose code is not loaded here")
_KNOWN = Registry(SCHEDULES, "schedule", "factor", _ABSENT)
