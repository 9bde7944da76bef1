"""One row of a known shape as a conversation: messages with checked roles and text content."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from orchestrator.errors import nearest

USER, ASSISTANT, SYSTEM, TOOL = "user", "assistant", "system", "tool"
ROLE_NAMES: dict[str, str] = {
    "user": USER,
    "human": USER,
    "assistant": ASSISTANT,
    "gpt": ASSISTANT,
    "chatgpt": ASSISTANT,
    "bot": ASSISTANT,
    "model": ASSISTANT,
    "function_call": ASSISTANT,
    "system": SYSTEM,
    "developer": SYSTEM,
    "tool": TOOL,
    "function": TOOL,
    "function_response": TOOL,
    "observation": TOOL,
}
"""Role names found in data, and the role each means."""


PRETRAINING_ROLES = frozenset({"pretraining", "pretrain"})
"""Roles of InstructLab's older knowledge rows: one message that holds the turns as text, all of them learned."""
_PRETRAINING_TURN = re.compile(r"<\|(user|assistant)\|>\n?")


class Message(NamedTuple):
    """One turn; ``is_learned`` marks a turn whose tokens count in the loss: an assistant's, or any but the system's."""

    role: str
    content: str
    is_learned: bool = False


Conversation = tuple[Message, ...]


class RowError(Exception):
    """A row that cannot be used; `formats.convert_rows` adds the file and the row number."""

    def __init__(self, column: str, value: object, rule: str, mend: str = "") -> None:
        super().__init__(column, value, rule, mend)
        self.column, self.value, self.rule, self.mend = column, value, rule, mend


def conversation_of(row: Mapping[str, object], shape: str, columns: Mapping[str, str]) -> Conversation | None:
    """Return the conversation of one row, or None when it has no prompt or no answer to learn.

    Turns after the last answer are left off: nothing is learned from them.

    Args:
        row: Column -> value.
        shape: One of `formats.SHAPES`.
        columns: Role -> column.

    Raises:
        RowError: If a value is no text or a role is unknown.
    """
    if shape in {"messages", "sharegpt"}:
        column = columns["messages" if shape == "messages" else "conversations"]
        messages = _messages(row.get(column), column)
        if _is_unmasked(row, columns):
            messages = [message._replace(is_learned=message.role != SYSTEM) for message in messages]
    elif shape == "prompt_completion":
        messages = _prompt_and_completion(row, columns)
    elif shape == "alpaca":
        messages = _alpaca(row, columns)
    else:
        messages = [*_turn(row, columns, "question", USER), *_turn(row, columns, "answer", ASSISTANT)]
    if messages and messages[0].role != SYSTEM:
        messages = [*_turn(row, columns, "system", SYSTEM), *messages]
    return _usable(messages)


def text_of(value: object, column: str) -> str | None:
    """Return a cell as text; numbers are written out, None and NaN are missing.

    Raises:
        RowError: If the value is a list, an object or something else that is no text.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else repr(value)
    if isinstance(value, int):
        return str(value)
    raise RowError(column, value, f"must be text or a number, not {type(value).__name__}", "choose another column")


def _is_unmasked(row: Mapping[str, object], columns: Mapping[str, str]) -> bool:
    """Read ``unmask``, with which InstructLab marks rows of which all turns but the system's are learned."""
    column = columns.get("unmask")
    value = None if column is None else row.get(column)
    if value is not None and not isinstance(value, bool):
        raise RowError(column or "", value, "must be true or false")
    return bool(value)


def _usable(messages: list[Message]) -> Conversation | None:
    answers = [place for place, message in enumerate(messages) if message.is_learned and message.content.strip()]
    if any(messages[place].role != ASSISTANT for place in answers):
        return tuple(messages[: answers[-1] + 1])
    prompts = [place for place, message in enumerate(messages) if message.role != ASSISTANT and message.content.strip()]
    if not answers or not prompts or prompts[0] > answers[-1]:
        return None
    return tuple(messages[: answers[-1] + 1])


def _turn(row: Mapping[str, object], columns: Mapping[str, str], name: str, role: str) -> list[Message]:
    column = columns.get(name)
    text = None if column is None else text_of(row.get(column), column)
    if text is None or not text.strip():
        return []
    return [Message(role, text, role == ASSISTANT)]


def _alpaca(row: Mapping[str, object], columns: Mapping[str, str]) -> list[Message]:
    parts = [message.content for name in ("instruction", "input") for message in _turn(row, columns, name, USER)]
    prompt = [Message(USER, "\n\n".join(parts))] if parts else []
    return [*prompt, *_turn(row, columns, "output", ASSISTANT)]


def _prompt_and_completion(row: Mapping[str, object], columns: Mapping[str, str]) -> list[Message]:
    turns: list[Message] = []
    for name, role in (("prompt", USER), ("completion", ASSISTANT)):
        value = row.get(columns[name])
        if isinstance(value, list):
            given = _messages(value, columns[name])
            # Answers inside a prompt are context: only the completion is learned.
            turns.extend(message._replace(is_learned=message.is_learned and name == "completion") for message in given)
        else:
            turns.extend(_turn(row, columns, name, role))
    return turns


def _messages(value: object, column: str) -> list[Message]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(column, value, f"must be a list of messages, not {type(value).__name__}")
    made: list[Message] = []
    for place, entry in enumerate(value):
        if isinstance(entry, dict) and entry.get("role") in PRETRAINING_ROLES:
            made += _pretraining(entry, f"{column}[{place}].content")
        else:
            made.append(_message(entry, f"{column}[{place}]"))
    return made


def _pretraining(entry: Mapping[str, object], column: str) -> list[Message]:
    """Take a message apart that holds ``<|user|>`` and ``<|assistant|>`` turns as text."""
    text = _content(entry.get("content"), column)
    before, *parts = _PRETRAINING_TURN.split(text)
    if before.strip() or not parts:
        rule = "a pretraining message must begin with <|user|> or <|assistant|>"
        raise RowError(column, text, rule, "give plain turns and unmask: true")
    turns = zip(parts[::2], parts[1::2], strict=True)
    return [Message(role, content.removesuffix("\n"), True) for role, content in turns]


def _message(entry: object, column: str) -> Message:
    if not isinstance(entry, dict):
        raise RowError(column, entry, "a message must be an object with a role and a content")
    named = entry.get("role", entry.get("from"))
    if not isinstance(named, str):
        raise RowError(
            f"{column}.role", named, f"a message needs a role ('role' or 'from'); its keys are {list(entry)}"
        )
    role = ROLE_NAMES.get(named.strip().lower())
    if role is None:
        rule = f"is no known role; the roles are {', '.join(ROLE_NAMES)}"
        raise RowError(f"{column}.role", named, rule, nearest(named, ROLE_NAMES))
    content = _content(entry.get("content", entry.get("value")), f"{column}.content")
    return Message(role, content, role == ASSISTANT and _weight(entry, column) > 0)


def _weight(entry: Mapping[str, object], column: str) -> float:
    """Read the 0 or 1 that some data sets give a message to say whether it is learned."""
    for name in ("weight", "loss_weight"):
        weight = entry.get(name)
        if weight is not None:
            if isinstance(weight, bool) or weight not in (0, 1):
                raise RowError(f"{column}.{name}", weight, "must be 0 or 1: other weights are not known")
            return 1.0 if weight == 1 else 0.0
    return 1.0


def _content(value: object, column: str) -> str:
    if isinstance(value, list):
        return "".join(_part(part, f"{column}[{place}]") for place, part in enumerate(value))
    return text_of(value, column) or ""


def _part(part: object, column: str) -> str:
    """Read one part of a content that is a list, as ``{"type": "text", "text": ...}``."""
    text = part.get("text", part.get("value")) if isinstance(part, dict) else part
    if not isinstance(text, str) or (isinstance(part, dict) and part.get("type", "text") != "text"):
        raise RowError(column, part, "only text parts are known, no images or tool calls")
    return text
