"""From a type annotation to the kinds of value that an option takes."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from dataclasses import dataclass, field

_SIMPLE: dict[object, str] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    type(None): "null",
    None: "null",
    dict: "dict",
}
_MAPPINGS = (dict, collections.abc.Mapping)
_MEMBERS = {int: "list[int]", str: "list[str]"}
KNOWN = "int, float, bool, str, None, Literal, an Enum, list[int], list[str], a list of lists, dict or a dataclass"


@dataclass
class Accepted:
    """What an annotation accepts.

    Attributes:
        kinds: Kinds of value, in the order of the annotation.
        choices: Values of its ``Literal`` and ``Enum`` parts.
        nested: The dataclass behind the kind ``object``.
    """

    kinds: list[str] = field(default_factory=list)
    choices: list[object] = field(default_factory=list)
    nested: type[object] | None = None


def accepted_by(annotation: object) -> Accepted:
    """Return what a (resolved) annotation accepts.

    Raises:
        TypeError: If a part of it is of no known type.
    """
    accepted = Accepted()
    for part in _parts(annotation):
        _add(part, accepted)
    return accepted


def _parts(annotation: object) -> list[object]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [part for option in typing.get_args(annotation) for part in _parts(option)]
    return [annotation]


def _add(part: object, accepted: Accepted) -> None:
    origin, arguments = typing.get_origin(part), typing.get_args(part)
    if isinstance(part, collections.abc.Hashable) and part in _SIMPLE:
        accepted.kinds.append(_SIMPLE[part])
    elif origin is typing.Literal:
        accepted.kinds.append("choice")
        accepted.choices.extend(arguments)
    elif origin is list:
        accepted.kinds.append(_list_kind(arguments[0]))
    elif origin in _MAPPINGS:
        accepted.kinds.append("dict")
    elif isinstance(part, type) and issubclass(part, enum.Enum):
        accepted.kinds.append("choice")
        accepted.choices.extend(member.value for member in part)
    elif isinstance(part, type) and dataclasses.is_dataclass(part):
        accepted.kinds.append("object")
        accepted.nested = part
    else:
        raise TypeError(f"{part!r} is none of {KNOWN}")


def _list_kind(member: object) -> str:
    if isinstance(member, collections.abc.Hashable) and member in _MEMBERS:
        return _MEMBERS[typing.cast("type[int] | type[str]", member)]
    if typing.get_origin(member) in (list, tuple):
        return "list[list]"
    raise TypeError(f"list[{member!r}] is none of {KNOWN}")
