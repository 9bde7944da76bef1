"""Shapes of rows, and rows turned into conversations.

| shape | columns (roles) |
|---|---|
| messages | `messages`: list of {role, content}; optional `unmask` |
| sharegpt | `conversations`: list of {from, value}; optional `system` |
| prompt_completion | `prompt`, `completion` (text, or lists of messages); optional `system` |
| alpaca | `instruction`, `output` (or `response`); optional `input` (or `context`), `system` |
| question_answer | `question`, `answer`; optional `system` |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import DataError, nearest
from orchestrator.training.data.conversations import Conversation, RowError, conversation_of
from orchestrator.training.data.files import Row

_LISTED = 5
_INSPECTED_ROWS = 200


@dataclass(frozen=True)
class Shape:
    """One shape: the roles its columns play; ``aliases`` are other names a column is found under."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles."""
        return self.required + self.optional

    def columns(self, found: Sequence[str], mapped: Mapping[str, str]) -> dict[str, str]:
        """Return role -> column for the roles that are mapped or found by name."""
        names = {role: role for role in self.roles if role in found}
        for alias, role in self.aliases:
            if alias in found:
                names.setdefault(role, alias)
        return names | {role: column for role, column in mapped.items() if role in self.roles}


SHAPES: dict[str, Shape] = {
    "messages": Shape(("messages",), ("unmask",)),
    "sharegpt": Shape(("conversations",), ("system",)),
    "prompt_completion": Shape(("prompt", "completion"), ("system",)),
    "alpaca": Shape(("instruction", "output"), ("input", "system"), (("response", "output"), ("context", "input"))),
    "question_answer": Shape(("question", "answer"), ("system",)),
}
"""In the order in which they are tried when the format is ``auto``."""


@dataclass(frozen=True)
class Converted:
    """Rows as conversations.

    Attributes:
        conversations: One per kept row, in order.
        row_numbers: Number (from 1) of the row behind each conversation.
        shape: Name of the shape.
        columns: Role -> column.
        unused_columns: Columns that play no role.
        missing: Numbers of the rows without a prompt or an answer, which were dropped.
    """

    conversations: list[Conversation]
    row_numbers: list[int]
    shape: str
    columns: dict[str, str]
    unused_columns: tuple[str, ...]
    missing: tuple[int, ...]


def convert_rows(
    rows: Sequence[Row],
    shape: str,
    columns: Mapping[str, str],
    missing_answer: str,
    where: str,
    row_numbers: Sequence[int] | None = None,
) -> Converted:
    """Turn rows into conversations.

    Args:
        rows: Rows of one source; must not be empty.
        shape: One of `SHAPES`, or ``auto``.
        columns: Role -> column, where names differ from the shape's.
        missing_answer: ``error`` or ``drop``, for rows without a prompt or an answer.
        where: The source, for messages.
        row_numbers: Number of each row in its source; 1, 2, ... when None.

    Raises:
        DataError: If no shape fits the columns, a mapped role or column is unknown, a row has a value
            that is no text or a role that is unknown, or rows lack an answer and may not be dropped.
    """
    found = columns_of(rows)
    name, names = detect(found, shape, columns, where)
    conversations: list[Conversation] = []
    kept: list[int] = []
    missing: list[int] = []
    for number, row in zip(row_numbers or range(1, len(rows) + 1), rows, strict=True):
        try:
            conversation = conversation_of(row, name, names)
        except RowError as error:
            raise DataError(f"{where}: row {number}", error.column, error.value, error.rule, error.mend) from error
        if conversation is None:
            missing.append(number)
            continue
        conversations.append(conversation)
        kept.append(number)
    if missing:
        _check_missing(missing, len(rows), missing_answer, where)
    unused = tuple(column for column in found if column not in names.values())
    return Converted(conversations, kept, name, names, unused, tuple(missing))


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return the column names of the first rows, in order of appearance."""
    return list(dict.fromkeys(column for row in rows[:_INSPECTED_ROWS] for column in row))


def detect(found: Sequence[str], shape: str, columns: Mapping[str, str], where: str) -> tuple[str, dict[str, str]]:
    """Return the shape's name and its role -> column.

    Raises:
        DataError: As `convert_rows`.
    """
    _check_mapping(found, shape, columns, where)
    for name in SHAPES if shape == "auto" else (shape,):
        names = SHAPES[name].columns(found, columns)
        if all(role in names for role in SHAPES[name].required) and set(columns) <= set(names):
            return name, names
    shown = ", ".join(repr(column) for column in found)
    if shape == "auto":
        rule = f"no known shape fits the columns {shown}"
        raise DataError(where, "columns", rule=rule, mend=_suggest(found))
    lacking = [role for role in SHAPES[shape].required if role not in SHAPES[shape].columns(found, columns)]
    hints = [f"{role}: {hint}" for role in lacking if (hint := nearest(role, found))]
    rule = f"format {shape} needs a column for {' and '.join(lacking)}; the columns are {shown}"
    mend = "; ".join(hints) or f"name it in columns, for example {{{lacking[0]}: COLUMN}}"
    raise DataError(where, "columns", rule=rule, mend=mend)


def _check_mapping(found: Sequence[str], shape: str, columns: Mapping[str, str], where: str) -> None:
    roles = sorted({role for name in (SHAPES if shape == "auto" else (shape,)) for role in SHAPES[name].roles})
    for role, column in columns.items():
        if role not in roles:
            rule = f"is no role of format {shape}; the roles are {', '.join(roles)}"
            raise DataError(where, f"columns.{role}", rule=rule, mend=nearest(role, roles))
        if column not in found:
            rule = f"there is no such column; the columns are {', '.join(repr(name) for name in found)}"
            raise DataError(where, f"columns.{role}", column, rule, nearest(column, found))


def _suggest(found: Sequence[str]) -> str:
    """Say what to write for columns that fit no shape: complete the shape that fits best."""
    fitting = {name: shape.columns(found, {}) for name, shape in SHAPES.items()}
    best = max(fitting, key=lambda name: len(fitting[name]))
    roles = SHAPES[best].required if fitting[best] else ("prompt", "completion")
    lacking = [role for role in roles if role not in fitting[best]]
    unused = [column for column in found if column not in fitting[best].values()]
    choice = {
        role: next((c for c in unused if nearest(role, [c])), unused[0] if unused else "COLUMN") for role in lacking
    }
    if len(unused) >= len(lacking) and len(set(choice.values())) < len(choice):
        choice = dict(zip(lacking, unused, strict=False))
    example = ", ".join(f"{role}: {column}" for role, column in choice.items())
    return f"say which column plays which role, for example columns: {{{example}}}"


def _check_missing(missing: Sequence[int], total: int, missing_answer: str, where: str) -> None:
    listed = ", ".join(str(number) for number in missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
    if missing_answer != "drop":
        rule = f"{len(missing)} of {total} rows have no prompt or no answer (rows {listed})"
        raise DataError(where, rule=rule, mend="mend the rows, or set data.missing_answer: drop")
    if len(missing) == total:
        raise DataError(where, rule=f"none of the {total} rows has a prompt and an answer (rows {listed})")
