"""What all records of a journal have in common: when and by which driver they were written, and their form as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, NamedTuple, Self, get_type_hints

from orchestrator.records import Decision, Origin, Role, TrainingSignal, TrialConfig, TrialState
from orchestrator.spec.sweep_plan import SweepPlan

FROM_JSON: dict[object, Callable[[Any], object]] = {
    Decision: Decision.from_dict,
    Decision | None: lambda values: None if values is None else Decision.from_dict(values),
    Origin | None: Origin.from_dict,
    TrainingSignal | None: lambda values: None if values is None else TrainingSignal(**values),
    TrialConfig: TrialConfig.from_dict,
    TrialState: {each.value: each for each in TrialState}.__getitem__,
    Role: {each.value: each for each in Role}.__getitem__,
    SweepPlan: SweepPlan.from_dict,
    tuple[int, ...]: tuple,
}
"""How the value of a field is read, by the field's type; what is not named here is the JSON value itself."""

LEFT_OUT = {"left out": True}
"""Metadata of a field that is written only where it has another value than its default."""


@dataclass(frozen=True, kw_only=True)
class JournalRecord:
    """One line of a journal. A field's name and place are its key and place in the line.

    Fields without a default have always been written; those that came later have one, by which older journals are read.
    Keys that are unknown, as later versions may write them, are passed over.

    Args:
        time: Unix time at which it was written; the journal sets it.
        epoch: The driver that wrote it; the journal sets it.
    """

    time: float = 0.0
    epoch: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read a record from a line (`journal.as_line` writes one).

        Raises:
            TypeError: If a field is missing that has always been written, or one of its parts has unknown keys.
            ValueError: If a value is none that the field knows.
        """
        shape = _SHAPES.get(cls) or _shape(cls)
        if not values.keys() >= shape.required:
            raise TypeError(f"it lacks {', '.join(sorted(shape.required - values.keys()))}")
        record = object.__new__(cls)
        # Past the constructor, which sets field by field: a long journal has many thousand lines.
        held = record.__dict__
        held.update(shape.defaults)
        held.update(values)
        for name, read in shape.readers:
            if name in values:
                held[name] = read(values[name])
        return record


class _Shape(NamedTuple):
    """How a class is read."""

    required: frozenset[str]
    defaults: Mapping[str, object]
    readers: tuple[tuple[str, Callable[[Any], object]], ...]


_SHAPES: dict[type[JournalRecord], _Shape] = {}


def _shape(kind: type[JournalRecord]) -> _Shape:
    """Return the shape of a class; found once."""
    if kind not in _SHAPES:
        types, known = get_type_hints(kind), fields(kind)
        defaults = {each.name: _default(each) for each in known}
        _SHAPES[kind] = _Shape(
            required=frozenset(name for name, value in defaults.items() if value is MISSING),
            defaults={name: value for name, value in defaults.items() if value is not MISSING},
            readers=tuple((each.name, FROM_JSON[types[each.name]]) for each in known if types[each.name] in FROM_JSON),
        )
    return _SHAPES[kind]


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()
