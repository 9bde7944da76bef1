"""Skills with checkable answers, each item belonging for good to the training or to the test pool.

The pool is decided by a hash of the item itself, so that fine-tuning data and pretraining text (both
drawn from the training pool) never hold an evaluation item, whatever the seeds and sizes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from orchestrator.testbed.vocabulary import COLOURS, LETTERS, THINGS

Pool = Literal["train", "test"]
_TEST_SHARE = 4  # one item in four is kept for evaluation
_MAXIMUM_TRIES = 20_000


@dataclass(frozen=True, slots=True)
class SkillItem:
    """One task: ``question`` with its only right ``answer``; ``statement`` says the same as plain prose.

    ``key`` names the task without its wording; equal tasks (``3 + 5`` and ``5 + 3``) have equal keys.
    """

    skill: str
    key: str
    question: str
    answer: str
    statement: str

    @property
    def pool(self) -> Pool:
        """The pool this item always belongs to."""
        digest = hashlib.sha256(f"{self.skill}:{self.key}".encode()).digest()
        return "test" if digest[0] % _TEST_SHARE == 0 else "train"


def _add(rng: random.Random) -> SkillItem:
    left, right = rng.randint(2, 49), rng.randint(2, 49)
    total = str(left + right)
    key = "+".join(map(str, sorted((left, right))))
    return SkillItem("add", key, f"What is {left} + {right}?", total, f"The sum {left} + {right} is {total}.")


def _subtract(rng: random.Random) -> SkillItem:
    left, right = rng.randint(11, 98), rng.randint(2, 10)
    rest = str(left - right)
    statement = f"The difference {left} - {right} is {rest}."
    return SkillItem("subtract", f"{left}-{right}", f"What is {left} - {right}?", rest, statement)


def _sort_letters(rng: random.Random) -> SkillItem:
    letters = rng.sample(LETTERS, 3)
    given, ordered = " ".join(letters), " ".join(sorted(letters))
    key = "".join(letters)
    return SkillItem("sort_letters", key, f"Sort the letters {given}.", ordered, f"Sorted, {given} becomes {ordered}.")


def _sort_numbers(rng: random.Random) -> SkillItem:
    numbers = rng.sample(range(10, 100), 3)
    given, ordered = " ".join(map(str, numbers)), " ".join(map(str, sorted(numbers)))
    return SkillItem(
        "sort_numbers", given, f"Sort the numbers {given}.", ordered, f"Sorted, {given} becomes {ordered}."
    )


def _reverse(rng: random.Random) -> SkillItem:
    letters = rng.sample(LETTERS, rng.randint(3, 4))
    given, turned = " ".join(letters), " ".join(reversed(letters))
    key = "".join(letters)
    return SkillItem("reverse", key, f"Reverse the letters {given}.", turned, f"Backwards, {given} reads {turned}.")


def _remove(rng: random.Random) -> SkillItem:
    letters = rng.sample(LETTERS, rng.randint(3, 4))
    gone = rng.choice(letters)
    given, left = " ".join(letters), " ".join(letter for letter in letters if letter != gone)
    question, statement = f"Remove {gone} from {given}.", f"Without {gone}, {given} leaves {left}."
    return SkillItem("remove", f"{''.join(letters)}-{gone}", question, left, statement)


def _extract(rng: random.Random) -> SkillItem:
    colours, things = rng.sample(COLOURS, 3), rng.sample(THINGS, 3)
    asked = rng.randrange(3)
    context = " ".join(f"The {c} box holds a {t}." for c, t in zip(colours, things, strict=True))
    key = f"{context}|{asked}"
    question = f"{context} What is in the {colours[asked]} box?"
    return SkillItem(
        "extract", key, question, things[asked], f"{context} In the {colours[asked]} box is a {things[asked]}."
    )


SKILLS: dict[str, Callable[[random.Random], SkillItem]] = {
    "add": _add,
    "subtract": _subtract,
    "sort_letters": _sort_letters,
    "sort_numbers": _sort_numbers,
    "reverse": _reverse,
    "remove": _remove,
    "extract": _extract,
}


def draw_items(rng: random.Random, pool: Pool, count: int) -> list[SkillItem]:
    """Draw ``count`` different items of one pool, the skills taking turns.

    Raises:
        ValueError: If the pool has no more different items to give.
    """
    names = list(SKILLS)
    seen: set[str] = set()
    items: list[SkillItem] = []
    while len(items) < count:
        items.append(_draw_new(rng, pool, names[len(items) % len(names)], seen))
    return items


def draw_item(rng: random.Random, pool: Pool, skill: str) -> SkillItem:
    """Draw one item of a skill from one pool; items may repeat between calls."""
    return _draw_new(rng, pool, skill, set())


def _draw_new(rng: random.Random, pool: Pool, skill: str, seen: set[str]) -> SkillItem:
    for _ in range(_MAXIMUM_TRIES):
        item = SKILLS[skill](rng)
        identity = f"{skill}:{item.key}"
        if item.pool == pool and identity not in seen:
            seen.add(identity)
            return item
    raise ValueError(f"no new {pool} item of skill {skill!r} after {_MAXIMUM_TRIES} tries; ask for fewer items")
