"""Options declared once, by a frozen dataclass: its fields are the options, with bounds and description as metadata.

::

    @dataclass(frozen=True)
    class LayerwiseDecayOptions:
        decay: float = field(default=0.9, metadata=about("Factor from one block to the next.", ge=1e-6, le=1.0))

`options_of_dataclass` gives what a sweep file is checked by, `as_dataclass` the typed values to the method.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import TypeVar

from orchestrator.errors import InputError, SpecError
from orchestrator.spec.options.annotations import Accepted, accepted_by
from orchestrator.spec.options.option import OptionInfo
from orchestrator.spec.options.values import checked_value

T = TypeVar("T")

METADATA = ("description", "ge", "le")
"""What `about` may say of an option: bounds are inclusive."""


def options_of_dataclass(declared: type[object]) -> dict[str, OptionInfo]:
    """Return the options that a dataclass declares, in its order.

    Raises:
        InputError: If it is no dataclass, or a field has no default, a type that no sweep file can write, unknown
            metadata, or a default that its own bounds refuse.
    """
    if not dataclasses.is_dataclass(declared):
        raise InputError(_name(declared), rule="options are declared by a dataclass", mend="put @dataclass above it")
    annotations = _annotations(declared)
    options = {item.name: _option(declared, item, annotations[item.name]) for item in dataclasses.fields(declared)}
    for name, option in options.items():
        _check_default(declared, options, name, option)
    return options


def checked_options(
    declared: type[object] | None, given: Mapping[str, object], path: str, where: str = ""
) -> dict[str, object]:
    """Return given options in the types that a dataclass declares.

    Args:
        declared: The dataclass; None takes no options.
        given: As in the sweep file.
        path: Field under which they stand, for messages.
        where: The sweep file, for messages.

    Raises:
        SpecError: Names the option, its value, the rule, and the nearest known name.
    """
    known = {} if declared is None else options_of_dataclass(declared)
    return {name: checked_value(known, name, value, f"{path}.{name}", where) for name, value in given.items()}


def as_dataclass(declared: type[T], options: Mapping[str, object]) -> T:
    """Return the dataclass with the given options; options of other names are left alone.

    Args:
        declared: A dataclass that `options_of_dataclass` accepts.
        options: Options of a trial, checked before.
    """
    annotations = _annotations(declared)
    given = {name: _nested(annotations[name], options[name]) for name in annotations if name in options}
    return declared(**given)


def _nested(annotation: object, value: object) -> object:
    inner = accepted_by(annotation).nested
    return as_dataclass(inner, value) if inner is not None and isinstance(value, Mapping) else value


def _annotations(declared: type[object]) -> dict[str, object]:
    try:
        return dict(typing.get_type_hints(declared))
    except NameError as error:
        rule = f"an annotation cannot be read: {error}"
        raise InputError(_name(declared), rule=rule, mend="import the name at the top of the module") from None


def _option(declared: type[object], item: dataclasses.Field[object], annotation: object) -> OptionInfo:
    accepted = _accepted(declared, item.name, annotation)
    odd = [key for key in item.metadata if key not in METADATA]
    if odd:
        rule = f"metadata of an option are {', '.join(METADATA)}"
        raise InputError(_name(declared), item.name, ", ".join(map(str, odd)), rule)
    return OptionInfo(
        kinds=tuple(dict.fromkeys(accepted.kinds)),
        default=_default(declared, item),
        choices=tuple(accepted.choices),
        low=item.metadata.get("ge"),
        high=item.metadata.get("le"),
        fields=options_of_dataclass(accepted.nested) if accepted.nested is not None else {},
        description=item.metadata.get("description", ""),
    )


def _accepted(declared: type[object], name: str, annotation: object) -> Accepted:
    try:
        return accepted_by(annotation)
    except TypeError as error:
        raise InputError(_name(declared), name, None, f"a sweep file cannot write this type: {error}") from None


def _default(declared: type[object], item: dataclasses.Field[object]) -> object:
    """Return the default as a sweep file writes it: a nested dataclass as a mapping."""
    default: object = item.default
    if item.default_factory is not dataclasses.MISSING:
        default = item.default_factory()
    if default is dataclasses.MISSING:
        raise InputError(_name(declared), item.name, None, "an option needs a default", "None where the model decides")
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        return dataclasses.asdict(default)
    return default


def _check_default(declared: type[object], options: Mapping[str, OptionInfo], name: str, option: OptionInfo) -> None:
    try:
        checked_value(options, name, option.default, name, _name(declared))
    except SpecError as error:
        raise InputError(error.where, name, option.default, f"the default {error.rule}") from None


def _name(declared: type[object]) -> str:
    return f"{declared.__module__}.{declared.__qualname__}"
