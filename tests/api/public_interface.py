"""The public interface as text: names, signatures and fields. Renew its file with ``python -m tests.api.public_interface``."""

import dataclasses
import enum
import importlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orchestrator

SNAPSHOT = Path(__file__).with_name("public_api.json")
PACKAGE = Path(orchestrator.__file__).parent
COMMAND = "python -m tests.api.public_interface"
LISTED = (
    "orchestrator",
    "orchestrator.api",
    "orchestrator.integrations",
    "orchestrator.results",
    "orchestrator.settings",
    "orchestrator.extending",
    "orchestrator.testing",
)
"""Modules whose ``__all__`` is the interface."""
RECORDS = ("orchestrator.records", "orchestrator.errors")
"""Modules all of whose public classes reach the user's hands."""

Described = str | dict[str, str]


def interface() -> dict[str, Any]:
    """Return the interface as JSON-able values, module by module."""
    described: dict[str, Any] = {}
    for name in LISTED:
        module = importlib.import_module(name)
        described[name] = {each: describe(getattr(module, each)) for each in sorted(module.__all__)}
    # The first one lists names of the second.
    described["orchestrator"] = sorted(described["orchestrator"])
    for name in RECORDS:
        module = importlib.import_module(name)
        classes = {each: value for each, value in vars(module).items() if isinstance(value, type)}
        own = {each: value for each, value in classes.items() if value.__module__ == name and each[0] != "_"}
        described[name] = {each: describe(own[each]) for each in sorted(own)}
    return described


def describe(value: Any) -> Described:
    """Return a function's signature, or a class by its fields, constructor, methods and properties."""
    if isinstance(value, str):
        return repr(value)
    if not isinstance(value, type):
        return signature_text(value)
    if issubclass(value, enum.Enum):
        return {each.name: repr(each.value) for each in value}
    found = fields_of(value) if dataclasses.is_dataclass(value) else {"__init__": constructor(value)}
    for name in sorted(set(dir(value)) - set(dir(object))):
        member = inspect.getattr_static(value, name)
        if name[0] != "_" and name not in found and is_ours(member):
            found[name] = member_text(member)
    return found


def fields_of(record: type) -> dict[str, str]:
    """Return the fields of a dataclass in their order: type and default."""
    return {
        f"{position:02d} {each.name}": f"{type_text(each.type)}{default_text(each)}"
        for position, each in enumerate(dataclasses.fields(record))
    }


def default_text(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {value_text(field.default)}"
    factory = field.default_factory
    return "" if factory is dataclasses.MISSING else f" = {value_text(factory)}()"


def constructor(value: type) -> str:
    return signature_text(value.__init__) if "__init__" in vars(value) else ""


def is_ours(member: Any) -> bool:
    """Whether a member is a function or property that stands in this package."""
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    return callable(function) and str(getattr(function, "__module__", "")).startswith("orchestrator")


def member_text(member: Any) -> str:
    if isinstance(member, property):
        return f"property {type_text(inspect.signature(member.fget).return_annotation)}"
    kind = f"{type(member).__name__} " if isinstance(member, (classmethod, staticmethod)) else ""
    return kind + signature_text(getattr(member, "__func__", member))


def signature_text(function: Callable[..., Any]) -> str:
    """Return a signature as it is written, defaults without addresses."""
    signature = inspect.signature(function)
    parts: list[str] = []
    starred = False
    for each in signature.parameters.values():
        if each.kind is each.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        starred = starred or each.kind is each.VAR_POSITIONAL
        kind = "" if each.annotation is each.empty else f": {type_text(each.annotation)}"
        default = "" if each.default is each.empty else f" = {value_text(each.default)}"
        parts.append(f"{stars}{each.name}{kind}{default}")
    returned = signature.return_annotation
    return f"({', '.join(parts)})" + ("" if returned is signature.empty else f" -> {type_text(returned)}")


def type_text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def value_text(value: Any) -> str:
    """Return a default as text that is the same on every machine: a file of the package is named from its root."""
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, Path) and value.is_relative_to(PACKAGE):
        return f"<{value.relative_to(PACKAGE.parent).as_posix()}>"
    return value.__qualname__ if callable(value) and hasattr(value, "__qualname__") else repr(value)


def written() -> dict[str, Any]:
    """Return the interface as the file has it."""
    values: dict[str, Any] = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return values


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(interface(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
