"""Read a sweep file: YAML with places, dotted overrides, and errors that name file, line, field and mend."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import InputError, SpecError, nearest
from orchestrator.spec.sweep import SweepSpec

PathKey = tuple[str | int, ...]

_FLOAT = re.compile(
    r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN)$"
)
_INTEGER = re.compile(r"^[-+]?[0-9][0-9_]*$")
_BOOLEAN = re.compile(r"^(?:true|True|TRUE|false|False|FALSE|yes|Yes|no|No|on|On|off|Off)$")


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-5 as a number (YAML 1.1 reads a string) and refuses doubled keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; a key written twice is an error at the second place."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key!r} appears twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int",
                                                              "tag:yaml.org,2002:timestamp")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}  # fmt: skip
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def load_sweep(path: str | Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """Read and check a sweep file.

    Args:
        path: YAML file.
        overrides: ``dotted.key=value`` texts; values are read as YAML.

    Raises:
        SpecError: With file, line, field, value, rule and mend of the first problem.
    """
    file = Path(path)
    values, lines = read_yaml(file)
    overridden = {apply_override(values, text) for text in overrides}
    return parse_sweep(values, str(file), lines, overridden)


def parse_sweep(
    values: Mapping[str, Any],
    where: str = "sweep",
    lines: Mapping[PathKey, int] | None = None,
    overridden: Iterable[PathKey] = (),
) -> SweepSpec:
    """Check plain values against the sweep schema; errors as in `load_sweep`."""
    try:
        return SweepSpec.model_validate(values)
    except ValidationError as error:
        raise _translate(error, values, where, lines or {}, set(overridden)) from None


def read_yaml(file: Path) -> tuple[dict[str, Any], dict[PathKey, int]]:
    """Return a YAML file's mapping and the line of every key.

    Raises:
        SpecError: If the file is missing, unreadable, no YAML, or no mapping.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        folder = file.parent if file.parent.is_dir() else Path()
        mend = nearest(file.name, [p.name for p in folder.glob("*.y*ml")])
        raise SpecError(str(file), rule="there is no such file", mend=mend or "check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(file), rule=f"the file cannot be read ({error})") from None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        values = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        raise SpecError(place, rule=f"this is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise SpecError(str(file), rule=f"this is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise SpecError(str(file), rule=f"a sweep file is a mapping of fields, this one is a {type(values).__name__}")
    lines: dict[PathKey, int] = {}
    _collect_lines(node, (), lines)
    return values, lines


def apply_override(values: dict[str, Any], text: str) -> PathKey:
    """Set one dotted key in place and return its path.

    Raises:
        SpecError: If the text is not ``dotted.key=value`` or leads through something that is not a mapping.
    """
    dotted, sign, raw = text.partition("=")
    if not sign or not dotted.strip():
        raise SpecError("--set", value=text, rule="an override is dotted.key=value", mend="e.g. --set budget.trials=8")
    try:
        value = yaml.load(raw, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SpecError("--set", dotted, raw, f"the value is not YAML ({error})") from None
    keys = dotted.strip().split(".")
    place: Any = values
    for key in keys[:-1]:
        if isinstance(place, dict) and isinstance(place.get(key), str) and key == "model":
            place[key] = {"path": place[key]}
        place = place.setdefault(key, {}) if isinstance(place, dict) else place
        if isinstance(place, list):
            raise SpecError("--set", dotted, raw, "an override cannot reach into a list", "set the whole list")
        if not isinstance(place, dict):
            raise SpecError("--set", dotted, raw, f"'{key}' holds {place!r} and has no fields of its own")
    place[keys[-1]] = value
    return tuple(keys)


def _collect_lines(node: yaml.Node | None, path: PathKey, lines: dict[PathKey, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            here = (*path, str(key_node.value))
            lines[here] = key_node.start_mark.line + 1
            _collect_lines(value_node, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            lines[(*path, index)] = child.start_mark.line + 1
            _collect_lines(child, (*path, index), lines)


def _translate(
    error: ValidationError,
    values: Mapping[str, Any],
    where: str,
    lines: Mapping[PathKey, int],
    overridden: set[PathKey],
) -> SpecError:
    details = error.errors()
    # An unknown key often causes a "missing" elsewhere: tell of the cause first.
    first = min(details, key=lambda entry: entry["type"] not in ("extra_forbidden", "unexpected_keyword_argument"))
    path = _written_path(first["loc"], values)
    if any(path[: len(key)] == key[: len(path)] for key in overridden):
        where = "--set"
    else:
        line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
        where = where if line is None else f"{where}:{line}"
    rule, mend = _rule_and_mend(first, path)
    if len(details) > 1:
        others = ", ".join(
            sorted({".".join(map(str, _written_path(d["loc"], values))) for d in details} - {_dotted(path)})
        )
        mend = (
            f"{mend}; further problems at: {others}" if mend and others else mend or (others and f"see also {others}")
        )
    value = None if first["type"] == "missing" or not path else first["input"]
    if isinstance(value, (BaseModel, dict)) or dataclasses.is_dataclass(value):
        value = None
    return SpecError(where, _dotted(path), value, rule, mend)


def _rule_and_mend(detail: ErrorDetails, path: PathKey) -> tuple[str, str]:
    kind = detail["type"]
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        shown = f"{cause.field} = {cause.value!r}: " if cause.field else ""
        return f"{shown}{cause.rule}", cause.mend
    if isinstance(cause, ValueError):
        rule, _, mend = str(cause).rstrip(". ").partition(". ")
        return rule.rstrip("."), mend
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = known_fields(path[:-1])
        return "this key is not known here", nearest(str(path[-1]), known) or f"known keys: {', '.join(known)}"
    if kind == "missing":
        return "this field is required", ""
    message = detail["msg"]
    return message[0].lower() + message[1:], ""


def known_fields(path: PathKey) -> list[str]:
    """Return the field names of the model that sits at a path of the sweep schema."""
    current: Any = SweepSpec
    for key in path:
        annotations = _annotations(current)
        current = annotations.get(str(key), current) if annotations else current
        current = _model_in(current)
    return list(_annotations(current))


def _annotations(model: Any) -> dict[str, Any]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {name: info.annotation for name, info in model.model_fields.items()}
    if dataclasses.is_dataclass(model):
        import typing

        hints = typing.get_type_hints(model)
        return {entry.name: hints[entry.name] for entry in dataclasses.fields(model)}
    return {}


def _model_in(annotation: Any) -> Any:
    """Return the model or dataclass inside an annotation such as ``list[Model]`` or ``Model | None``."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return annotation
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _written_path(location: Sequence[str | int], values: Any) -> PathKey:
    """Drop pydantic's union tags from a location, so that only keys a user wrote (or should write) remain."""
    path: list[str | int] = []
    place: Any = values
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


def _dotted(path: PathKey) -> str:
    return ".".join(map(str, path))
