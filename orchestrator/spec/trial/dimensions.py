"""The dimensions of a search space: how a value of each becomes fields of a configuration, and is written back.

`build_config` turns one value per dimension into a configuration and `space_of_config` is its inverse; names of trials,
importances and searchers read a configuration's values from here too. Most dimensions are one number, stated at its
field (`orchestrator.records.HYPERPARAMETERS`); the others are listed in `_OTHERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from orchestrator.errors import nearest
from orchestrator.hyperparameter import is_number
from orchestrator.plugins.code import short_name
from orchestrator.plugins.loading import is_plugin
from orchestrator.records import HYPERPARAMETERS, Scalar, TrialConfig
from orchestrator.spec.trial.optimizers import OPTIMIZERS, read_optimizer
from orchestrator.spec.trial.schedules import read_schedule

WARMUP_UNITS = ("steps", "samples", "ratio")
OPTION = "option."
"""Begins the dimensions of a method's own hyperparameters."""

Fields = dict[str, object]
"""Fields of `TrialConfig`."""


class Dimension(Protocol):
    """One dimension."""

    @property
    def rank(self) -> int:
        """Names of trials show lower ranks first."""
        ...

    def read(self, value: object) -> Fields:
        """Return the fields that a value stands for; raises ValueError where it stands for none."""
        ...

    def taken(self, config: TrialConfig) -> Fields:
        """Return these fields of a configuration."""
        ...

    def written(self, config: TrialConfig) -> object:
        """Return the value that `read` takes back to these fields, as a sweep file has it."""
        ...

    def label(self, config: TrialConfig) -> Scalar:
        """Return one number or text that stands for the value."""
        ...

    def in_name(self, config: TrialConfig) -> tuple[str, Scalar] | None:
        """Return what a trial's name shows where the dimension varies: text, then a value; None for nothing."""
        ...


@dataclass(frozen=True)
class _Number:
    """A field that is one number."""

    field: str

    @property
    def rank(self) -> int:
        return HYPERPARAMETERS[self.field].rank

    def read(self, value: Any) -> Fields:
        return {self.field: HYPERPARAMETERS[self.field].read(value)}

    def taken(self, config: TrialConfig) -> Fields:
        return {self.field: getattr(config, self.field)}

    def written(self, config: TrialConfig) -> object:
        return self.label(config)

    def label(self, config: TrialConfig) -> Scalar:
        value: Scalar = getattr(config, self.field)
        return value

    def in_name(self, config: TrialConfig) -> tuple[str, Scalar] | None:
        short = HYPERPARAMETERS[self.field].short
        return (short, self.label(config)) if short else None


def _plain_name(value: Any) -> tuple[str, dict[str, Scalar]]:
    return value, {}


@dataclass(frozen=True)
class _Named:
    """A field that names something, with another field for its options where it has any."""

    field: str
    options: str = ""
    split: Callable[[object], tuple[str, Mapping[str, Scalar]]] = _plain_name
    rank: int = 0
    shown: Callable[[str], bool] = lambda name: True

    def read(self, value: object) -> Fields:
        name, options = self.split(value)
        return {self.field: name, **({self.options: options} if self.options else {})}

    def taken(self, config: TrialConfig) -> Fields:
        return {name: getattr(config, name) for name in (self.field, self.options) if name}

    def written(self, config: TrialConfig) -> object:
        name, options = getattr(config, self.field), self._options(config)
        return {"name": name, **options} if options else name

    def label(self, config: TrialConfig) -> Scalar:
        return f"{getattr(config, self.field)} {dict(sorted(self._options(config).items())) or ''}".strip()

    def in_name(self, config: TrialConfig) -> tuple[str, Scalar] | None:
        name: str = getattr(config, self.field)
        return ("", short_name(name)) if self.shown(name) else None

    def _options(self, config: TrialConfig) -> Mapping[str, Scalar]:
        options: Mapping[str, Scalar] = getattr(config, self.options) if self.options else {}
        return options


class _Warmup:
    """The warm-up: an amount and its unit."""

    rank = 0

    def read(self, value: object) -> Fields:
        unit, amount = read_warmup(value)
        return {"warmup_unit": unit, "warmup_amount": amount}

    def taken(self, config: TrialConfig) -> Fields:
        return {"warmup_unit": config.warmup_unit, "warmup_amount": config.warmup_amount}

    def written(self, config: TrialConfig) -> object:
        if not config.warmup_amount:
            return 0
        amount = config.warmup_amount if config.warmup_unit == "ratio" else int(config.warmup_amount)
        return {config.warmup_unit: amount}

    def label(self, config: TrialConfig) -> Scalar:
        return f"{config.warmup_amount:g} {config.warmup_unit}"

    def in_name(self, config: TrialConfig) -> tuple[str, Scalar] | None:
        return f"warm{config.warmup_unit[0]}", config.warmup_amount


def _tells(optimizer: str) -> bool:
    # While there is one of ours, its name says nothing.
    return len(OPTIMIZERS) > 1 or is_plugin("optimizer", optimizer)


_OTHERS: dict[str, tuple[str, Dimension]] = {
    "schedule": ("schedule", _Named("schedule", "schedule_options", read_schedule)),
    "warmup_unit": ("warmup", _Warmup()),
    "optimizer": ("optimizer", _Named("optimizer", "optimizer_options", read_optimizer, shown=_tells)),
    "data_strategy": ("data_strategy", _Named("data_strategy")),
}
"""The dimensions that are no numbers, each at its first field."""


def _dimensions() -> dict[str, Dimension]:
    found: dict[str, Dimension] = {}
    for field in fields(TrialConfig):
        if field.name in HYPERPARAMETERS:
            found[field.name] = _Number(field.name)
        elif field.name in _OTHERS:
            name, dimension = _OTHERS[field.name]
            found[name] = dimension
    return found


DIMENSIONS: Mapping[str, Dimension] = _dimensions()
"""The dimensions that all methods share, in the order of a configuration's fields."""


def build_config(method: str, values: Mapping[str, object], samples: int) -> TrialConfig:
    """Turn one value per dimension into a trial's configuration.

    Args:
        method: Name of the method.
        values: A value for each of `DIMENSIONS`, and ``option.NAME`` for the method's own hyperparameters.
        samples: The budget.

    Raises:
        ValueError: If a value is none of its dimension.
    """
    read: Fields = {"method": method, "samples": samples}
    for name, dimension in DIMENSIONS.items():
        read |= dimension.read(values[name])
    read["method_options"] = {
        key.removeprefix(OPTION): value for key, value in values.items() if key.startswith(OPTION)
    }
    return TrialConfig.from_dict(read)


def space_of_config(config: TrialConfig) -> dict[str, Any]:
    """Return the search space that holds one configuration alone, as a sweep file has it; inverse of `build_config`."""
    body = {"learning_rate": config.learning_rate}
    own = {key: _fixed(value) for key, value in config.method_options.items()}
    shared = {
        name: _fixed(dimension.written(config)) for name, dimension in DIMENSIONS.items() if name != "learning_rate"
    }
    return {"method": {config.method: {**body, **own}}, **shared}


def value_of(config: TrialConfig, dimension: str) -> object:
    """Return a configuration's value of a dimension, in the form of `read_value`."""
    if dimension.startswith(OPTION):
        return config.method_options[dimension.removeprefix(OPTION)]
    return DIMENSIONS[dimension].taken(config)


def read_value(dimension: str, value: object) -> object:
    """Return a value of a dimension in the form of `value_of`, so that the two can be compared."""
    return value if dimension.startswith(OPTION) else DIMENSIONS[dimension].read(value)


def number_of(config: TrialConfig, dimension: str) -> Any:
    """Return a configuration's value of a dimension where it is one number, or of a method's own; None where not."""
    if dimension.startswith(OPTION):
        return config.method_options.get(dimension.removeprefix(OPTION))
    return getattr(config, dimension) if dimension in HYPERPARAMETERS else None


def read_warmup(value: object) -> tuple[str, float]:
    """Split a warm-up value into its unit and amount.

    Raises:
        ValueError: If it is neither 0 nor a mapping with one unit, or the amount is out of range.
    """
    rule = "a warm-up is 0, {steps: n}, {samples: n} (whole numbers) or {ratio: share below 1}"
    if is_number(value) and value == 0:
        return "steps", 0.0
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError(f"{rule}, got {value!r}")
    unit, amount = next(iter(value.items()))
    if unit not in WARMUP_UNITS:
        raise ValueError(f"{rule}, got {value!r}; {nearest(str(unit), WARMUP_UNITS)}".rstrip("; "))
    if not is_number(amount) or amount < 0 or (amount >= 1 if unit == "ratio" else amount != int(amount)):
        raise ValueError(f"{rule}, got {value!r}")
    return unit, float(amount)


def _fixed(value: object) -> object:
    """Return a value so that a sweep file does not take it for a domain of several."""
    return {"fixed": value} if isinstance(value, (list, Mapping)) else value
