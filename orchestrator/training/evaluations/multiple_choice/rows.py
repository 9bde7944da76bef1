"""Rows of multiple-choice questions in the shapes in which they come.

| shape | columns |
|---|---|
| question and choices | `question`, `choices` (a list of texts, or {text: [...], label: [...]}), `answer` (number, letter, label or text) |
| lettered columns | `question`, `A`, `B`, ..., `answer` |
| choices in the text | `instruction`, `input` that ends in ``Options: A. ..., B. ...``, `output` that names a letter |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import DataError, nearest
from orchestrator.training.data.files import Row

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ROLES = ("question", "choices", "answer")
_ALIASES = {
    "answerKey": "answer",
    "answer_key": "answer",
    "label": "answer",
    "options": "choices",
    "stem": "question",
    "query": "question",
    "gold": "answer",
    "endings": "choices",
    "ctx": "question",
}
_OPTIONS = re.compile(r"\s*Options:\s*", re.IGNORECASE)
_NAMED_LETTER = re.compile(r"\b([A-Z])[.):]")


@dataclass(frozen=True)
class Question:
    """One question; ``gold`` is the place of the right choice."""

    text: str
    choices: tuple[str, ...]
    gold: int


def read_questions(
    rows: Sequence[Row], columns: Mapping[str, str], where: str, numbers: Sequence[int]
) -> list[Question]:
    """Turn rows into questions.

    Args:
        rows: Column -> value; must not be empty.
        columns: Role (question, choices, answer) -> column, where names differ.
        where: The source, for messages.
        numbers: Number of each row in its source.

    Raises:
        DataError: If a column is missing, or a row has no choices, or no right one.
    """
    found = list(rows[0])
    if odd := [role for role in columns if role not in ROLES]:
        raise DataError(
            where,
            "columns",
            odd[0],
            f"is no role of a question; the roles are {', '.join(ROLES)}",
            nearest(odd[0], ROLES),
        )
    in_text = _in_text(found, columns)
    names = {} if in_text else _columns(found, columns, where)
    questions = []
    for number, row in zip(numbers, rows, strict=True):
        place = f"{where}: row {number}"
        questions.append(_from_text(row, place) if in_text else _from_columns(row, names, place))
    return questions


def _in_text(found: Sequence[str], columns: Mapping[str, str]) -> bool:
    return not columns and {"instruction", "input", "output"} <= set(found) and "question" not in found


def _columns(found: Sequence[str], columns: Mapping[str, str], where: str) -> dict[str, str]:
    """Return role -> column; ``choices`` is left out where lettered columns hold them."""
    names = {alias_of: column for column, alias_of in _ALIASES.items() if column in found}
    names |= {role: role for role in ROLES if role in found} | dict(columns)
    for role in ROLES:
        lettered = role == "choices" and {"A", "B"} <= set(found)
        column = names.get(role)
        if column not in found and not lettered:
            raise DataError(
                where,
                f"columns.{role}",
                column,
                f"there is no column for the {role}; the columns are {', '.join(found)}",
                nearest(column or role, found) or f"name it with columns: {{{role}: COLUMN}}",
            )
    return {role: column for role, column in names.items() if column in found}


def _from_columns(row: Row, names: Mapping[str, str], place: str) -> Question:
    text = row.get(names["question"])
    if not isinstance(text, str) or not text.strip():
        raise DataError(place, names["question"], text, "must be the text of a question")
    choices, labels = _choices(row, names, place)
    return Question(text.strip(), choices, _gold(row.get(names["answer"]), choices, labels, place, names["answer"]))


def _choices(row: Row, names: Mapping[str, str], place: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    given: object = row.get(names["choices"]) if "choices" in names else None
    labels: Sequence[object] = ()
    if "choices" not in names:
        given = [row[letter] for letter in LETTERS if row.get(letter) not in (None, "")]
    elif isinstance(given, dict):
        labels = given.get("label") or ()
        given = given.get("text")
    if not isinstance(given, (list, tuple)) or len(given) < 2:
        raise DataError(place, names.get("choices", "A"), given, "a question needs a list of at least two choices")
    if len(given) > len(LETTERS):
        raise DataError(place, names.get("choices", "A"), len(given), f"a question has at most {len(LETTERS)} choices")
    if empty := [choice for choice in given if not str(choice).strip()]:
        raise DataError(place, names.get("choices", "A"), empty[0], "a choice is empty")
    return tuple(str(choice).strip() for choice in given), tuple(map(str, labels)) or tuple(LETTERS[: len(given)])


def _gold(answer: object, choices: Sequence[str], labels: Sequence[str], place: str, column: str) -> int:
    text = str(answer).strip()
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        if int(answer) == answer and 0 <= answer < len(choices):
            return int(answer)
    elif text in labels:
        return labels.index(text)
    elif text in choices:
        return choices.index(text)
    elif text.isdigit() and int(text) < len(choices):
        return int(text)
    raise DataError(
        place,
        column,
        answer,
        f"names none of the {len(choices)} choices",
        "give the place from 0, a letter, or the choice's text",
    )


def _from_text(row: Row, place: str) -> Question:
    """Read a question whose choices stand in its text, lettered and separated by commas."""
    given = str(row.get("input") or row.get("instruction") or "")
    parts = _OPTIONS.split(given)
    if len(parts) < 2:
        raise DataError(
            place,
            "input",
            given[-80:],
            "names no choices ('Options: A. ..., B. ...')",
            "give rows with question, choices and answer",
        )
    text, choices = re.sub(r"^\s*Ques\w*:\s*|^\s*Qusetion:\s*", "", " ".join(parts[:-1])), _lettered(parts[-1])
    answer = _NAMED_LETTER.search(str(row.get("output") or ""))
    if len(choices) < 2 or answer is None or LETTERS.index(answer.group(1)) >= len(choices):
        raise DataError(place, "output", row.get("output"), f"names none of the {len(choices)} choices")
    return Question(text.strip(), tuple(choices), LETTERS.index(answer.group(1)))


def _lettered(text: str) -> list[str]:
    """Split ``A. one, B. two`` at the letters in their order; a letter out of order belongs to a choice."""
    choices: list[str] = []
    rest = text.strip()
    for place, letter in enumerate(LETTERS):
        mark = f"{letter}. "
        start = 0 if place == 0 and rest.startswith(mark) else rest.find(f", {mark}")
        if start < 0 or (place == 0 and start > 0):
            break
        if place > 0:
            choices.append(rest[:start].strip())
            start += 2
        rest = rest[start + len(mark) :]
    return [*choices, rest.strip()] if rest and rest is not text.strip() else choices
