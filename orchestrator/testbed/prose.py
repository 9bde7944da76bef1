"""General text of the world: short plain prose about places, days, numbers, things and skills."""

from __future__ import annotations

import random
from collections.abc import Callable

from orchestrator.testbed import vocabulary as words
from orchestrator.testbed.skills import SKILLS, draw_item
from orchestrator.testbed.world import World


def prose_documents(world: World, count: int) -> list[str]:
    """``count`` documents of general text; skills in it come from the training pool alone."""
    rng = world.random("prose")
    makers: tuple[Callable[[World, random.Random], str], ...] = (_place, _calendar, _count, _skill, _skill, _skill)
    return [rng.choice(makers)(world, rng) for _ in range(count)]


def _place(world: World, rng: random.Random) -> str:
    city = rng.choice(words.CITIES)
    known = world.random(f"place/{city}")
    land, colour, thing = known.choice(words.LANDSCAPES), known.choice(words.COLOURS), known.choice(words.THINGS)
    firm, school = known.choice(words.EMPLOYERS), known.choice(words.UNIVERSITIES)
    sentences = [
        f"{city} is a city near the {land}.",
        f"The flag of {city} is {colour}.",
        f"{city} is known for the {thing} in its tower.",
        f"{firm} has an office in {city}.",
        f"Many students of {school} visit {city}.",
    ]
    return " ".join(rng.sample(sentences, 4))


def _calendar(world: World, rng: random.Random) -> str:
    names = rng.choice((words.WEEKDAYS, words.MONTHS))
    start = rng.randrange(len(names))
    run = [names[(start + i) % len(names)] for i in range(4)]
    return f"After {run[0]} comes {run[1]}. After {run[1]} comes {run[2]}. Before {run[3]} comes {run[2]}."


def _count(world: World, rng: random.Random) -> str:
    if rng.random() < 0.5:
        start = rng.randrange(len(words.LETTERS) - 5)
        return f"The alphabet goes {' '.join(words.LETTERS[start : start + 6])} and on."
    start, stride = rng.randint(1, 80), rng.choice((1, 1, 2, 3))
    return f"Counting goes {', '.join(str(start + stride * i) for i in range(6))} and on."


def _skill(world: World, rng: random.Random) -> str:
    # One skill at a time, repeatedly: examples of one kind in a row are what teaches a small model to copy.
    skill = rng.choice(list(SKILLS))
    return " ".join(draw_item(rng, "train", skill).statement for _ in range(4))
