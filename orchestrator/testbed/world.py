"""The invented world: its people, their facts, and the biographies that tell them.

After Allen-Zhu and Li, "Physics of Language Models 3.1" (arXiv 2309.14316): facts become extractable by
fine-tuning only when pretraining tells them in several rewrites (``variants``), in permuted sentence
order, and with the full name repeated (``full_name_share``). Everything follows from `WorldSpec` alone.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.testbed import vocabulary as words
from orchestrator.testbed.templates import ATTRIBUTES, BIOGRAPHY_TEMPLATES

MAXIMUM_PEOPLE = 20_000


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """Everything that decides a world; two equal specs give the same world on every machine.

    Args:
        people: Number of people; one half is taught by fine-tuning, the other asked about.
        seed: Seed of names, facts and wording.
        variants: Biographies of each person in the pretraining text.
        full_name_share: Share of sentences after the first that repeat the full name instead of a pronoun.
        prose_share: Documents of general text per biography in the pretraining text.

    Raises:
        ValueError: If a field is out of range.
    """

    people: int = 200
    seed: int = 0
    variants: int = 40
    full_name_share: float = 0.5
    prose_share: float = 1.0

    def __post_init__(self) -> None:
        if not 4 <= self.people <= MAXIMUM_PEOPLE:
            raise ValueError(f"people = {self.people}: must be from 4 to {MAXIMUM_PEOPLE}")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed}: must be 0 or more")
        if not 1 <= self.variants <= 1000:
            raise ValueError(f"variants = {self.variants}: must be from 1 to 1000")
        if not 0.0 <= self.full_name_share <= 1.0:
            raise ValueError(f"full_name_share = {self.full_name_share}: must be from 0 to 1")
        if not 0.0 <= self.prose_share <= 10.0:
            raise ValueError(f"prose_share = {self.prose_share}: must be from 0 to 10")


@dataclass(frozen=True, slots=True)
class Person:
    """One person; ``facts`` maps each attribute of `ATTRIBUTES` to its value as written in texts."""

    name: str
    is_female: bool
    facts: Mapping[str, str]


class World:
    """People of one spec and everything that is told about them.

    Attributes:
        people: All people, in the order of their making.
        taught: The half that fine-tuning asks about.
        asked: The other half, which only evaluation asks about.
    """

    def __init__(self, spec: WorldSpec) -> None:
        self.spec = spec
        self.people = _make_people(spec)
        shuffled = list(self.people)
        self.random("halves").shuffle(shuffled)
        middle = len(shuffled) // 2
        self.taught = tuple(shuffled[:middle])
        self.asked = tuple(shuffled[middle:])

    def random(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose, so that one part never shifts another."""
        return random.Random(f"{self.spec.seed}/{purpose}")

    def biography(self, person: Person, variant: int) -> str:
        """Biography number ``variant`` of a person: one random template per fact, in random order."""
        rng = self.random(f"biography/{person.name}/{variant}")
        sentences = []
        for place, attribute in enumerate(rng.sample(ATTRIBUTES, len(ATTRIBUTES))):
            template = rng.choice(BIOGRAPHY_TEMPLATES[attribute])
            with_name = place == 0 or rng.random() < self.spec.full_name_share
            sentences.append(_tell(template, person, person.facts[attribute], with_name))
        return " ".join(sentences)

    def pretraining_biographies(self) -> list[str]:
        """All pretraining biographies: ``variants`` of every person."""
        return [self.biography(person, v) for person in self.people for v in range(self.spec.variants)]

    def held_out_biographies(self, count: int, sample_seed: int = 0) -> list[str]:
        """``count`` biographies, people in turn, in wordings and orders that pretraining never showed."""
        people = list(self.people)
        self.random(f"held-out/{sample_seed}").shuffle(people)
        # Lap numbers start above every pretraining variant, and each sample seed has a range of its own.
        first = self.spec.variants + sample_seed * 1_000_000
        return [self._unseen_biography(people[i % len(people)], first + i // len(people)) for i in range(count)]

    def _unseen_biography(self, person: Person, variant: int) -> str:
        seen = {self.biography(person, v) for v in range(self.spec.variants)}
        while (text := self.biography(person, variant)) in seen:
            variant += 1000
        return text


@functools.lru_cache(maxsize=8)
def make_world(spec: WorldSpec) -> World:
    """The world of a spec, made once in each process."""
    return World(spec)


def _tell(template: str, person: Person, value: str, with_name: bool) -> str:
    pronoun, possessive = ("she", "her") if person.is_female else ("he", "his")
    who, whose = (person.name, f"{person.name}'s") if with_name else (pronoun, possessive)
    # The object form of a pronoun ("the parents of her") differs from the subject form.
    if not with_name and (" of {who}" in template or "pays {who}" in template):
        who = "her" if person.is_female else "him"
    return template.format(
        who=who, whose=whose, Who=_capital(who), Whose=_capital(whose), value=value, Value=_capital(value)
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _make_people(spec: WorldSpec) -> tuple[Person, ...]:
    rng = random.Random(f"{spec.seed}/people")
    names: set[str] = set()
    people: list[Person] = []
    while len(people) < spec.people:
        is_female = rng.random() < 0.5
        first = rng.choice(words.FEMALE_NAMES if is_female else words.MALE_NAMES)
        name = f"{first} {rng.choice(words.MIDDLE_NAMES)} {rng.choice(words.LAST_NAMES)}"
        facts = MappingProxyType(_make_facts(rng))
        if name not in names:
            names.add(name)
            people.append(Person(name, is_female, facts))
    return tuple(people)


def _make_facts(rng: random.Random) -> dict[str, str]:
    return {
        "birth_date": f"{rng.choice(words.MONTHS)} {rng.randint(1, 28)}",
        "birth_city": rng.choice(words.CITIES),
        "university": rng.choice(words.UNIVERSITIES),
        "field": rng.choice(words.FIELDS),
        "employer": rng.choice(words.EMPLOYERS),
        "hobby": rng.choice(words.HOBBIES),
    }
