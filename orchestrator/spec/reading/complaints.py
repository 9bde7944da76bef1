"""From pydantic's validation errors to ours: file and line, field, value, rule and the likely mend."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import InputError, SpecError, nearest
from orchestrator.spec.reading.yaml_text import PathKey

_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
_WANTED = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a finite number",
    "string": "must be text",
    "bool": "must be true or false",
    "list": "must be a list",
    "dict": "must be a mapping of fields",
    "model": "must be a mapping of fields",
    "dataclass": "must be a mapping of fields",
}
_BOOLEAN_MEND = "YAML reads yes, no, on and off as true and false; put quotes round it where text is meant"


@dataclass(frozen=True)
class Source:
    """Where values come from: a file with the lines of its keys, and paths that ``--set`` has replaced."""

    where: str
    lines: Mapping[PathKey, int] = field(default_factory=dict)
    overridden: frozenset[PathKey] = frozenset()

    def place(self, path: PathKey) -> str:
        """Return ``FILE:LINE`` of a path, or ``--set`` where an override wrote it."""
        if any(path[: len(key)] == key for key in self.overridden):
            return "--set"
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        place = self.where if line is None else f"{self.where}:{line}"
        # The rule binds several fields together, and one of them was overridden.
        partly = [dotted(key) for key in self.overridden if path and key[: len(path)] == path]
        if partly and path not in self.lines:
            return "--set"
        return f"{place} with --set {partly[0]}" if partly else place


def explain(error: ValidationError, values: Mapping[str, object], source: Source, model: type[BaseModel]) -> SpecError:
    """Return the first problem of a validation as a `SpecError`, with a hint at the others."""
    details = error.errors()
    # An unknown key often causes a "missing" elsewhere: tell of the cause first.
    first = min(details, key=lambda entry: entry["type"] not in _UNKNOWN_KEY)
    path = _written_path(first["loc"], values)
    value = None if first["type"] == "missing" or not path else first["input"]
    rule, mend = _rule_and_mend(first, path, model)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError) and cause.field:
        path, value = (*path, *(int(k) if k.isdigit() else k for k in cause.field.split("."))), cause.value
    others = {dotted(_written_path(entry["loc"], values)) for entry in details if entry is not first} - {
        dotted(path),
        "",
    }
    if others:
        hint = f"{'further problems at' if mend else 'see also'}: {', '.join(sorted(others))}"
        mend = f"{mend.rstrip('.?')}; {hint}" if mend else hint
    return SpecError(source.place(path), dotted(path), _showable(value), rule, mend)


def refuse_booleans(values: object, annotation: object, source: Source, path: PathKey = ()) -> None:
    """Raise where a number is wanted and YAML read ``yes`` or ``true``, which pydantic would take for 1.

    Raises:
        SpecError: For the first such place.
    """
    if isinstance(values, bool):
        leaves = _leaves(annotation)
        if leaves & {int, float} and bool not in leaves:
            raise SpecError(source.place(path), dotted(path), values, "must be a number", _BOOLEAN_MEND)
    elif isinstance(values, Mapping):
        fields = _annotations(_model_in(annotation))
        for key, value in values.items():
            refuse_booleans(value, fields.get(str(key)) if fields else annotation, source, (*path, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            refuse_booleans(value, annotation, source, (*path, index))


def known_fields(path: PathKey, model: type[BaseModel]) -> list[str]:
    """Return the field names of the model that sits at a path of a schema; of a union, those of all its members."""
    current: list[object] = [model]
    for key in path:
        inner = [_annotations(each).get(str(key), each) if _annotations(each) else each for each in current]
        current = [found for each in inner for found in _models_in(each)]
    return list(dict.fromkeys(name for each in current for name in _annotations(each)))


def union_tag(name: str) -> str:
    """Return the tag of a union's member; no key of a sweep file looks like it, so it is left out of paths."""
    return f"<{name}>"


def dotted(path: PathKey) -> str:
    """Return a path as people write it."""
    return ".".join(map(str, path))


def _rule_and_mend(detail: ErrorDetails, path: PathKey, model: type[BaseModel]) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, InputError):
        return cause.rule, cause.mend
    if isinstance(cause, ValueError):
        rule, _, mend = str(cause).partition("; ")
        return rule.rstrip("."), mend
    if kind in _UNKNOWN_KEY:
        known = known_fields(path[:-1], model)
        return "this key is not known here", nearest(str(path[-1]), known) or f"known keys: {', '.join(known)}"
    if kind == "missing":
        return "this field is required", ""
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        return f"must be one of {', '.join(known)}", nearest(str(detail["input"]), known)
    wanted = _WANTED.get(kind.partition("_")[0])
    if wanted is not None and not kind.endswith(("_too_short", "_too_long", "_pattern_mismatch")):
        return wanted, _BOOLEAN_MEND if isinstance(detail["input"], bool) else ""
    message = detail["msg"].replace("Input should", "must").replace("String should", "must")
    return message[0].lower() + message[1:], ""


def _showable(value: object) -> object:
    """Return a value if it is short enough to help; whole sections of a file are not."""
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        return None
    return None if isinstance(value, Mapping) and len(repr(value)) > 80 else value


def _annotations(model: object) -> dict[str, object]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {name: info.annotation for name, info in model.model_fields.items()}
    if dataclasses.is_dataclass(model):
        hints = typing.get_type_hints(model)
        return {entry.name: hints[entry.name] for entry in dataclasses.fields(model)}
    return {}


def _model_in(annotation: object) -> object:
    """Return the model or dataclass inside an annotation such as ``list[Model]`` or ``Model | None``."""
    return next(iter(_models_in(annotation)), None)


def _models_in(annotation: object) -> list[object]:
    """Return all models and dataclasses inside an annotation."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _leaves(annotation: object) -> set[object]:
    arguments = get_args(annotation)
    return {leaf for argument in arguments for leaf in _leaves(argument)} if arguments else {annotation}


def _written_path(location: Sequence[str | int], values: object) -> PathKey:
    """Drop pydantic's union tags from a location, so that only keys a user wrote (or should write) remain."""
    path: list[str | int] = []
    place: Any = values
    location = [key for key in location if not (isinstance(key, str) and key.startswith("<"))]
    for index, key in enumerate(location):
        inside = (isinstance(place, Mapping) and key in place) or (
            isinstance(place, Sequence) and not isinstance(place, str) and isinstance(key, int)
        )
        if inside:
            path.append(key)
            place = place[key]
        elif index == len(location) - 1 and isinstance(place, Mapping):
            path.append(key)
    return tuple(path)
