"""Questions about people: every pair of person and fact, each in several wordings."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.testbed.templates import ATTRIBUTES, QUESTION_TEMPLATES
from orchestrator.testbed.world import Person

WORDINGS = len(QUESTION_TEMPLATES[ATTRIBUTES[0]])


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one fact of one person, with its only right answer."""

    person: str
    attribute: str
    question: str
    answer: str


def draw_questions(people: Sequence[Person], rng: random.Random, count: int) -> list[Question]:
    """Draw ``count`` different questions; every fact is asked once before any is asked in a second wording.

    Raises:
        ValueError: If the people do not have that many different questions.
    """
    facts = [(person, attribute) for person in people for attribute in ATTRIBUTES]
    if count > len(facts) * WORDINGS:
        raise ValueError(f"{len(people)} people have {len(facts) * WORDINGS} different questions, not {count}")
    rng.shuffle(facts)
    orders = {attribute: rng.sample(range(WORDINGS), WORDINGS) for attribute in ATTRIBUTES}
    drawn = []
    for number in range(count):
        lap, place = divmod(number, len(facts))
        person, attribute = facts[place]
        wording = orders[attribute][(lap + place) % WORDINGS]
        text = QUESTION_TEMPLATES[attribute][wording].format(name=person.name)
        drawn.append(Question(person.name, attribute, text, person.facts[attribute]))
    return drawn
