"""Fields whose value is a name in a table: checked when a file is read, listed in the JSON Schema.

The table is asked each time, so that an entry which is added later counts at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticKnownError, core_schema

from orchestrator.plugins.code import REFERENCE, Kind
from orchestrator.plugins.loading import is_plugin


@dataclass(frozen=True, eq=False)
class OneOf:
    """Annotation of a field that holds a name in a table, or names a plug-in where there are some of its kind."""

    table: Mapping[str, object]
    plugin: Kind | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._known)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _names(self.table) if self.plugin is None else _schema(self.table)

    def _known(self, value: object) -> str:
        if isinstance(value, str) and (value in self.table or self._is_plugin(value)):
            return value
        raise PydanticKnownError("literal_error", _expected(self.table))

    def _is_plugin(self, value: str) -> bool:
        return self.plugin is not None and is_plugin(self.plugin, value)


@dataclass(frozen=True, eq=False)
class NamedIn:
    """Annotation of a section of which one field is a name in a table.

    For sections that are dataclasses of the standard library, whose own annotations pydantic must not be part of.
    """

    table: Mapping[str, object]
    field: str
    plugin: Kind

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        properties = handler.resolve_ref_schema(found)["properties"]
        properties[self.field] = {
            **{k: v for k, v in properties[self.field].items() if k != "type"},
            **_schema(self.table),
        }
        return found

    def _checked(self, values: object, handler: core_schema.ValidatorFunctionWrapHandler) -> object:
        if isinstance(values, Mapping):
            if self.field not in values:
                return handler(values)
            given: object = values[self.field]
        else:
            given = getattr(values, self.field, None)
        if isinstance(given, str) and (given in self.table or is_plugin(self.plugin, given)):
            return handler(values)
        wrong = InitErrorDetails(type="literal_error", loc=(self.field,), input=given, ctx=_expected(self.table))
        try:
            # What is no text gives the error its place among whatever else is wrong here.
            handler({**values, self.field: ()} if isinstance(values, Mapping) else values)
        except ValidationError as error:
            found = [cast(InitErrorDetails, each) for each in error.errors()]
            told = [wrong if each.get("loc") == (self.field,) else each for each in found]
            raise ValidationError.from_exception_data(error.title, told) from None
        raise ValidationError.from_exception_data(self.field, [wrong])


def _schema(table: Mapping[str, object]) -> JsonSchemaValue:
    """Return what an editor may offer: the names, or code of the user's own."""
    return {"anyOf": [_names(table), {"type": "string", "pattern": REFERENCE}]}


def _names(table: Mapping[str, object]) -> JsonSchemaValue:
    return {"enum": list(table), "type": "string"}


def _expected(table: Mapping[str, object]) -> dict[str, str]:
    """Return the context of pydantic's own error for literals."""
    *first, last = [repr(name) for name in table]
    return {"expected": f"{', '.join(first)} or {last}" if first else last}
