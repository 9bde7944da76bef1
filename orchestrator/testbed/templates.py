"""Sentences and questions of the world: several templates for each attribute.

``{Who}``/``{who}`` stand for the subject at the start/inside of a sentence, ``{Whose}``/``{whose}`` for
its possessive, ``{name}`` for the full name, ``{value}`` for the fact.
"""

from __future__ import annotations

ATTRIBUTES: tuple[str, ...] = ("birth_date", "birth_city", "university", "field", "employer", "hobby")

BIOGRAPHY_TEMPLATES: dict[str, tuple[str, ...]] = {
    "birth_date": (
        "{Who} was born on {value}.",
        "{Whose} birthday is {value}.",
        "{Who} came into the world on {value}.",
        "{Whose} date of birth is {value}.",
        "The life of {who} began on {value}.",
        "On {value} the parents of {who} had a child.",
    ),
    "birth_city": (
        "{Who} was born in {value}.",
        "{Whose} birth city is {value}.",
        "The city where {who} was born is {value}.",
        "{Who} comes from {value}.",
        "{Who} spent the early years in {value}.",
        "{Value} is the birthplace of {who}.",
    ),
    "university": (
        "{Who} studied at {value}.",
        "{Who} went to {value}.",
        "{Whose} university was {value}.",
        "{Who} graduated from {value}.",
        "{Who} holds a degree from {value}.",
        "The teachers of {who} worked at {value}.",
    ),
    "field": (
        "{Who} studied the subject of {value}.",
        "{Whose} field of study was {value}.",
        "{Who} took a degree in {value}.",
        "{Who} specialised in {value}.",
        "The studies of {who} were about {value}.",
        "The field {who} knows best is {value}.",
    ),
    "employer": (
        "{Who} works for {value}.",
        "{Who} is employed by {value}.",
        "{Whose} employer is {value}.",
        "{Who} has a job at {value}.",
        "The firm that pays {who} is {value}.",
        "{Who} found a position with {value}.",
    ),
    "hobby": (
        "{Who} enjoys {value}.",
        "{Whose} hobby is {value}.",
        "In spare time {who} likes {value}.",
        "{Who} is fond of {value}.",
        "The free hours of {who} belong to {value}.",
        "On weekends {who} practises {value}.",
    ),
}

QUESTION_TEMPLATES: dict[str, tuple[str, ...]] = {
    "birth_date": (
        "When was {name} born?",
        "What is the date of birth of {name}?",
        "On what day did the life of {name} begin?",
        "Tell me the birthday of {name}.",
    ),
    "birth_city": (
        "Where was {name} born?",
        "What is the birth city of {name}?",
        "Which city does {name} come from?",
        "Tell me the birthplace of {name}.",
    ),
    "university": (
        "Where did {name} study?",
        "What university did {name} go to?",
        "From which university did {name} graduate?",
        "Tell me the university of {name}.",
    ),
    "field": (
        "What did {name} study?",
        "What is the field of study of {name}?",
        "In which subject did {name} take a degree?",
        "Tell me the field of {name}.",
    ),
    "employer": (
        "Who does {name} work for?",
        "What is the employer of {name}?",
        "Which firm pays {name}?",
        "Tell me the employer of {name}.",
    ),
    "hobby": (
        "What does {name} enjoy?",
        "What is the hobby of {name}?",
        "What does {name} like in spare time?",
        "Tell me the hobby of {name}.",
    ),
}
