"""Rows of the test bed by reference: ``testbed:NAME`` with optional ``?parameter=value&...``.

World parameters: ``people``, ``seed``, ``variants``, ``full_name_share``. Their defaults are those of the
packaged base model, which knows that world only. Sampling parameters: ``rows``, ``sample_seed``, and ``skip``, which
leaves out that many rows from the start of the draw: ``rows=100`` and ``rows=50&skip=100`` share no row, and no fact
is asked in both while the people have facts that were not asked yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from orchestrator.errors import DataError, nearest
from orchestrator.testbed.questions import Question, draw_questions
from orchestrator.testbed.skills import SkillItem, draw_items
from orchestrator.testbed.world import Person, World, WorldSpec, make_world

PREFIX = "testbed:"
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Source:
    """One named set of rows: how many by default, how they are made, and what they are for."""

    rows: int
    make: Callable[[World, int, int, int], list[Row]]
    summary: str


def is_reference(text: str) -> bool:
    """Whether ``text`` names rows of the test bed."""
    return text.startswith(PREFIX)


def base_model_path() -> Path:
    """Folder of the packaged base model (``model: testbed``)."""
    return Path(__file__).parent / "base"


def load_rows(reference: str) -> list[Row]:
    """Rows of a reference such as ``testbed:sft?people=200&seed=1``.

    Args:
        reference: ``testbed:`` and one of `SOURCES`, with optional parameters.

    Returns:
        Conversations (``messages``, ``kind``, ``phase``) or, for texts, ``{"text": ...}``; always the
        same rows in the same order for the same reference.

    Raises:
        DataError: If the name or a parameter is unknown or out of range.
    """
    name, _, query = reference.removeprefix(PREFIX).partition("?")
    if not is_reference(reference) or name not in SOURCES:
        raise DataError(
            reference, rule=f"must be {PREFIX} and one of {', '.join(SOURCES)}", mend=nearest(name, SOURCES)
        )
    parameters = _read_query(reference, query)
    rows = int(parameters.pop("rows", SOURCES[name].rows))
    sample_seed, skip = int(parameters.pop("sample_seed", 0)), int(parameters.pop("skip", 0))
    if rows < 1:
        raise DataError(reference, "rows", rows, "must be 1 or more")
    if skip < 0:
        raise DataError(reference, "skip", skip, "must be 0 or more")
    try:
        return SOURCES[name].make(make_world(WorldSpec(**parameters)), rows, sample_seed, skip)
    except ValueError as error:
        raise DataError(reference, rule=str(error)) from error


_PARAMETERS: dict[str, type[int] | type[float]] = {
    "people": int,
    "seed": int,
    "variants": int,
    "full_name_share": float,
    "rows": int,
    "sample_seed": int,
    "skip": int,
}


def _read_query(reference: str, query: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in _PARAMETERS:
            rule = f"the parameters are {', '.join(_PARAMETERS)}"
            raise DataError(reference, key, text, rule, nearest(key, _PARAMETERS))
        try:
            values[key] = _PARAMETERS[key](text)
        except ValueError as error:
            raise DataError(reference, key, text, f"must be a number ({_PARAMETERS[key].__name__})") from error
    return values


def _conversation(item: Question | SkillItem, phase: str) -> Row:
    kind = item.attribute if isinstance(item, Question) else item.skill
    turns = [{"role": "user", "content": item.question}, {"role": "assistant", "content": item.answer}]
    return {"messages": turns, "kind": f"{phase}/{kind}", "phase": phase}


def _ask(world: World, people: tuple[Person, ...], half: str, rows: int, sample_seed: int, skip: int) -> list[Row]:
    questions = draw_questions(people, world.random(f"questions/{half}/{sample_seed}"), skip + rows)
    return [_conversation(question, "knowledge") for question in questions[skip:]]


def _knowledge_sft(world: World, rows: int, sample_seed: int, skip: int) -> list[Row]:
    return _ask(world, world.taught, "taught", rows, sample_seed, skip)


def _knowledge(world: World, rows: int, sample_seed: int, skip: int) -> list[Row]:
    return _ask(world, world.asked, "asked", rows, sample_seed, skip)


def _skills_sft(world: World, rows: int, sample_seed: int, skip: int) -> list[Row]:
    items = draw_items(world.random(f"skills/train/{sample_seed}"), "train", skip + rows)
    return [_conversation(item, "skills") for item in items[skip:]]


def _skills(world: World, rows: int, sample_seed: int, skip: int) -> list[Row]:
    items = draw_items(world.random(f"skills/test/{sample_seed}"), "test", skip + rows)
    return [_conversation(item, "skills") for item in items[skip:]]


def _sft(world: World, rows: int, sample_seed: int, skip: int) -> list[Row]:
    # Both parts skip as many rows as a mixture of ``skip`` rows holds of them.
    both = _knowledge_sft(world, (rows + 1) // 2, sample_seed, (skip + 1) // 2)
    both += _skills_sft(world, rows // 2, sample_seed, skip // 2) if rows > 1 else []
    world.random(f"mixture/{sample_seed}").shuffle(both)
    return both


def _biographies(world: World, rows: int, sample_seed: int, skip: int) -> list[Row]:
    return [{"text": text} for text in world.held_out_biographies(skip + rows, sample_seed)[skip:]]


SOURCES: dict[str, Source] = {
    "sft": Source(2400, _sft, "questions about one half of the people, and skills, mixed"),
    "knowledge_sft": Source(1200, _knowledge_sft, "the questions of sft alone"),
    "skills_sft": Source(1200, _skills_sft, "the skills of sft alone"),
    "knowledge": Source(300, _knowledge, "evaluation: questions about the other half of the people"),
    "skills": Source(210, _skills, "evaluation: skill items that no training row holds"),
    "biographies": Source(96, _biographies, "evaluation: biographies in wordings never shown (forgetting)"),
}
