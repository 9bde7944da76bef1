"""A table of entries that plug-ins add to: one way to look a name up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from orchestrator.errors import SpecError, nearest
from orchestrator.plugins.code import Kind
from orchestrator.plugins.entries import PLUGIN
from orchestrator.plugins.loading import check, is_absent, loaded, loaded_code

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """Our own entries by name, and those that loaded plug-ins carry. Ours come first: no package can take their names.

    Args:
        table: Name -> entry; asked each time, so that an entry which is added later counts at once.
        kind: What a plug-in is that adds to it; None: none does.
        code_field: The field of an entry that names its code.
        absent: What stands for a plug-in of a sweep that is only read back, whose code is not loaded.
    """

    def __init__(
        self,
        table: Mapping[str, Entry],
        kind: Kind | None = None,
        code_field: str = "",
        absent: Entry | None = None,
    ) -> None:
        self._table, self._kind, self._code_field, self._absent = table, kind, code_field, absent
        self._made: dict[str, tuple[object, Entry]] = {}

    def get(self, name: object) -> Entry | None:
        """Return the entry of a name; None if there is none.

        Raises:
            PluginError: If a plug-in of this name carries no such entry.
        """
        # A sweep file may hold anything in the place of a name, lists too.
        if not isinstance(name, str):
            return None
        if name in self._table:
            return self._table[name]
        return None if self._kind is None else self._of_plugin(self._kind, name)

    def find(self, field: str, name: object, where: str = "") -> Entry:
        """Return the entry of a name.

        Args:
            field: Field that holds the name.
            name: What was asked for.
            where: File or place that asks.

        Raises:
            SpecError: If there is none; says which names there are, and the nearest.
            PluginError: As `get`.
        """
        found = self.get(name)
        if found is None:
            raise SpecError(
                where, field, name, f"must be one of {', '.join(self._table)}", nearest(str(name), self._table)
            )
        return found

    def _of_plugin(self, kind: Kind, name: str) -> Entry | None:
        thing, code = loaded(kind, name), loaded_code(kind, name)
        if thing is None or code is None:
            return self._absent if is_absent(kind, name) else None
        # One entry for each thing: what is cached by an entry is made once.
        if name not in self._made or self._made[name][0] is not thing:
            record, carried = type(self._absent), getattr(thing, "entry", None)
            example = f"put @entry({record.__name__}(..., {self._code_field}=PLUGIN)) above it"
            rule = f"a {kind.replace('_', ' ')} carries a {record.__name__} as its entry"
            check(isinstance(carried, record), code, rule, example)
            stands = getattr(carried, self._code_field) == PLUGIN
            check(stands, code, f"its entry has {self._code_field}=PLUGIN: the code is {code.name}", example)
            assert carried is not None
            made: Entry = replace(carried, **{self._code_field: thing})
            self._made[name] = thing, made
        return self._made[name][1]
