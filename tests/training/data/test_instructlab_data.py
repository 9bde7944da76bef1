"""InstructLab's data: qna.yaml taxonomies, unmask rows and the older pretraining messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import DataSettings, Phase
from orchestrator.training.data.chat_template import load_template
from orchestrator.training.data.formats import convert_rows
from orchestrator.training.data.prepare import Tokens, prepare_data
from orchestrator.training.data.sources import open_source
from orchestrator.training.data.token_rows import tokenise_conversations

Write = Callable[[str, str], str]

FREEFORM = """\
created_by: someone
task_description: Say what things are called.
seed_examples:
  - question: What is two plus three?
    answer: |
      five
    attribution: [{source: self, license: Apache-2.0}]
  - question: Name a colour.
    answer: red
"""
GROUNDED = """\
version: 2
created_by: someone
task_description: Rewrite.
seed_examples:
  - {context: the cat sat, question: "Who sat?", answer: the cat}
"""
KNOWLEDGE = """\
version: 3
domain: animals
created_by: someone
document_outline: Cats.
document: {repo: "https://example.org/x.git", commit: abc, patterns: ["*.md"]}
seed_examples:
  - context: Cats sleep.
    questions_and_answers:
      - {question: "Do they sleep?", answer: "Yes, they do."}
      - question: Who?
        answer: Cats.
"""


def taxonomy(write: Write) -> str:
    write("taxonomy/foundational_skills/reasoning/qna.yaml", FREEFORM)
    write("taxonomy/compositional_skills/grounded/rewriting/qna.yaml", GROUNDED)
    write("taxonomy/compositional_skills/grounded/rewriting/attribution.txt", "Title of work: x")
    write("taxonomy/docs/template_qna.yaml", "version: 3\n")
    return str(Path(write("taxonomy/knowledge/animals/cats/qna.yaml", KNOWLEDGE)).parents[3])


def test_taxonomy_gives_a_row_per_answer_with_its_tags(write: Write) -> None:
    folder = taxonomy(write)
    source = open_source(folder)
    rows = source.rows()
    assert [(row["phase"], row["leaf"], row["version"]) for row in rows] == [
        ("skills", "compositional_skills/grounded/rewriting", 2),
        ("skills", "foundational_skills/reasoning", 1),
        ("skills", "foundational_skills/reasoning", 1),
        ("knowledge", "knowledge/animals/cats", 3),
        ("knowledge", "knowledge/animals/cats", 3),
    ]
    assert rows[0]["messages"] == [
        {"role": "user", "content": "the cat sat\n\nWho sat?"},
        {"role": "assistant", "content": "the cat"},
    ]
    assert rows[1]["messages"][1]["content"] == "five"
    assert rows[4]["messages"][0]["content"] == "Cats sleep.\n\nWho?"
    assert rows[3]["domain"] == "animals"


def test_taxonomy_is_read_from_a_branch_and_from_one_file(write: Write) -> None:
    folder = Path(taxonomy(write))
    branch = open_source(str(folder / "knowledge" / "animals")).rows()
    assert {row["leaf"] for row in branch} == {"knowledge/animals/cats"}
    single = open_source(str(folder / "foundational_skills" / "reasoning" / "qna.yaml")).rows()
    assert [row["phase"] for row in single] == ["skills", "skills"]
    alone = open_source(write("elsewhere/qna.yaml", KNOWLEDGE)).rows()
    assert {row["phase"] for row in alone} == {"knowledge"}


def test_taxonomy_digest_follows_content_and_place(write: Write) -> None:
    folder = taxonomy(write)
    before = open_source(folder).digest()
    assert open_source(folder).digest() == before
    write("taxonomy/foundational_skills/reasoning/qna.yaml", FREEFORM.replace("red", "blue"))
    changed = open_source(folder).digest()
    write("taxonomy/foundational_skills/other/qna.yaml", GROUNDED)
    assert len({before, changed, open_source(folder).digest()}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FREEFORM.replace("Name a colour.", ""), r"qna.yaml:8: seed_examples.1.question.*must be text"),
        (FREEFORM.replace("answer: red", "answer: 5"), r"qna.yaml:9: seed_examples.1.answer.*Put quotes"),
        (FREEFORM.replace("answer: red", "anwser: red"), r"qna.yaml:9: seed_examples.1.anwser.*Did you mean 'answer'"),
        (
            KNOWLEDGE.replace("        answer: Cats.", "        answer:"),
            r"qna.yaml:11: .*questions_and_answers.1.answer",
        ),
        (KNOWLEDGE.replace("version: 3", "version: 7"), r"qna.yaml:1: version.*must be one of the versions 1, 2, 3"),
        (KNOWLEDGE.replace("version: 3", "version: yes"), r"qna.yaml:1: version"),
        ("version: 3\n", r"qna.yaml:1: seed_examples.*at least one example"),
        ("version: 3\nseed_examples: [text]\n", r"qna.yaml:2: seed_examples.0.*a seed example is a mapping"),
        ("a: [1\n", r"qna.yaml:\d+.*not valid YAML"),
        ("- 1\n", r"qna.yaml:1.*a mapping of fields"),
    ],
)
def test_wrong_taxonomy_names_file_line_and_field(write: Write, text: str, message: str) -> None:
    path = write("t/qna.yaml", text)
    with pytest.raises(DataError, match=message):
        open_source(path).rows()


@pytest.fixture
def tokens(tokenizer: Any) -> Tokens:
    return Tokens(tokenizer, "digest", load_template(tokenizer, "auto", "m"), 128)


def test_taxonomy_splits_into_its_phases(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    phases = [Phase(name, where={"phase": name}) for name in ("knowledge", "skills")]
    data = DataSettings(train=taxonomy(write), phases=phases, held_out=0)
    train = prepare_data(data, tokens, tmp_path / "c").train
    assert {name: len(rows) for name, rows in train.phases.items()} == {"knowledge": 2, "skills": 3}


TURNS = [
    {"role": "system", "content": "hello world"},
    {"role": "user", "content": "  what is two \n"},
    {"role": "assistant", "content": "three"},
    {"role": "user", "content": "user"},
    {"role": "assistant", "content": "five"},
]


def learned(row: dict[str, Any], tokens: Tokens) -> list[str]:
    """Return the runs of learned tokens of one row as texts."""
    found = convert_rows([row], "auto", {}, "error", "rows")
    made = next(iter(tokenise_conversations(found.conversations, [1], tokens.tokenizer, tokens.template, "rows")))
    edges = np.flatnonzero(np.diff([0, *made.is_answer.astype(int), 0])).tolist()
    return [tokens.tokenizer.decode(made.ids[start:stop]) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("template", ["auto", "default"])
def test_unmask_learns_the_contents_of_all_turns_but_the_systems(tokenizer: Any, template: str) -> None:
    tokens = Tokens(tokenizer, "digest", load_template(tokenizer, template, "m"), 128)
    end = tokens.template.end
    plain = learned({"messages": TURNS}, tokens)
    assert plain == [f"three{end}", f"five{end}"]
    assert learned({"messages": TURNS, "unmask": False}, tokens) == plain
    unmasked = learned({"messages": TURNS, "unmask": True}, tokens)
    assert [text.strip() for text in unmasked] == ["what is two", f"three{end}", "user", f"five{end}"]


def test_unmask_survives_a_template_that_strips_contents(tokenizer: Any) -> None:
    stripping = tokenizer.chat_template.replace("message['content']", "message['content'] | trim")
    again = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer, **(tokenizer.special_tokens_map | {"chat_template": stripping})
    )
    tokens = Tokens(again, "digest", load_template(again, "auto", "m"), 128)
    unmasked = learned({"messages": TURNS, "unmask": True}, tokens)
    assert unmasked == ["what is two", f"three{tokens.template.end}", "user", f"five{tokens.template.end}"]


def test_unmask_keeps_a_row_without_an_answer(tokens: Tokens) -> None:
    assert [text.strip() for text in learned({"messages": TURNS[:2], "unmask": True}, tokens)] == ["what is two"]
    with pytest.raises(DataError, match="no prompt or no answer"):
        learned({"messages": TURNS[:2], "unmask": False}, tokens)


def test_pretraining_message_is_its_turns_unmasked(tokens: Tokens) -> None:
    row = {"messages": [{"role": "pretraining", "content": "<|user|>\nwhat is two\n<|assistant|>\nthree"}]}
    turns = [{"role": "user", "content": "what is two"}, {"role": "assistant", "content": "three"}]
    assert learned(row, tokens) == learned({"messages": turns, "unmask": True}, tokens)
    with pytest.raises(DataError, match=r"rows: row 1: messages\[0\].content.*must begin with"):
        learned({"messages": [{"role": "pretraining", "content": "a document"}]}, tokens)


def test_unmask_must_be_true_or_false(tokens: Tokens) -> None:
    with pytest.raises(DataError, match=r"rows: row 1: unmask.*must be true or false"):
        learned({"messages": TURNS, "unmask": "yes"}, tokens)


def test_one_file_with_json_metadata_splits_into_phases(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    rows = [
        {"messages": TURNS[1:3], "metadata": json.dumps({"dataset": name}), "unmask": name == "knowledge_qa"}
        for name in ("knowledge_qa", "skills_qa") * 5
    ]
    phases = [Phase(name, where={"metadata.dataset": f"{name}_qa"}) for name in ("knowledge", "skills")]
    path = write("mixed.jsonl", "\n".join(map(json.dumps, rows)))
    train = prepare_data(DataSettings(train=path, phases=phases, held_out=0), tokens, tmp_path / "c").train
    assert {name: len(part) for name, part in train.phases.items()} == {"knowledge": 5, "skills": 5}
    counts = train.answer_lengths()
    assert counts[np.asarray(train.phases["knowledge"])].min() > counts[np.asarray(train.phases["skills"])].max()
