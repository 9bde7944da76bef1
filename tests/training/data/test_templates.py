from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import DataError, ModelError
from orchestrator.training.data.chat_template import DEFAULT_TEMPLATE, ChatTemplate, TemplateFault, load_template
from orchestrator.training.data.conversations import Message
from orchestrator.training.data.token_rows import tokenise_conversations

ONE = (Message("user", "what is two"), Message("assistant", "five", True))
MANY = (
    Message("system", "a good day"),
    Message("user", "what is two"),
    Message("assistant", "red", True),
    Message("user", "and three"),
    Message("assistant", "  blue sky\n", True),
)
# Thinking is left out of every answer but the last, as Qwen3 does.
FORGETFUL = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] | trim + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# The generation prompt is no prefix of the conversation, but answers are marked.
MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}{{ '<|im_end|>\n' }}"
    "{% else %}{{ m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def learned(tokenizer: Any, template: ChatTemplate, conversation: Any) -> list[str]:
    """The runs of learned tokens, as text."""
    (row,) = tokenise_conversations([conversation], [1], tokenizer, template, "data")
    runs: list[list[int]] = []
    for place, token in enumerate(row.ids.tolist()):
        if row.is_answer[place]:
            if not row.is_answer[place - 1]:
                runs.append([])
            runs[-1].append(token)
    return [tokenizer.decode(run) for run in runs]


def test_load_template_prefers_the_tokenizers_own(tokenizer: Any) -> None:
    assert load_template(tokenizer, "auto", "m").origin == "tokenizer"
    assert load_template(tokenizer, "default", "m").text == DEFAULT_TEMPLATE.replace("{{ start }}", "")


def test_load_template_falls_back_on_the_default() -> None:
    from tests.worlds.tiny_models import build_tokenizer

    bare = build_tokenizer(chat_template=None)
    template = load_template(bare, "auto", "m")
    text = template.render(bare, [ONE])[0]
    assert template.origin == "default"
    assert text == "### User:\nwhat is two\n\n### Assistant:\nfive<|eos|>\n\n"
    assert learned(bare, template, ONE) == ["five<|eos|>"]


@pytest.mark.parametrize("choice", ["auto", "default"])
def test_learned_tokens_are_the_answers_and_their_ends(tokenizer: Any, choice: str) -> None:
    template = load_template(tokenizer, choice, "m")
    end = "<|im_end|>" if choice == "auto" else "<|eos|>"
    assert learned(tokenizer, template, MANY) == [f"red{end}", f"  blue sky\n{end}"]


def test_unlearned_answers_are_context(tokenizer: Any) -> None:
    template = load_template(tokenizer, "auto", "m")
    conversation = (*MANY[:2], Message("assistant", "red"), *MANY[3:])
    assert learned(tokenizer, template, conversation) == ["  blue sky\n<|im_end|>"]


def test_answers_are_located_where_a_template_drops_earlier_thinking(
    tokenizer: Any, write: Callable[[str, str], str]
) -> None:
    template = load_template(tokenizer, write("forgetful.jinja", FORGETFUL), "m")
    assert learned(tokenizer, template, MANY) == ["red<|im_end|>", "<think>\n\n</think>\n\nblue sky<|im_end|>"]


def test_answers_are_located_by_generation_marks(tokenizer: Any, write: Callable[[str, str], str]) -> None:
    template = load_template(tokenizer, write("marked.jinja", MARKED), "m")
    assert learned(tokenizer, template, MANY) == ["red<|im_end|>", "  blue sky\n<|im_end|>"]
    assert learned(tokenizer, template, (*MANY[:2], Message("assistant", "red"), *MANY[3:])) == [
        "  blue sky\n<|im_end|>"
    ]


def test_template_without_an_end_of_turn_gets_the_end_of_sequence(
    tokenizer: Any, write: Callable[[str, str], str]
) -> None:
    text = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    text += "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    template = load_template(tokenizer, write("plain.jinja", text), "m")
    assert template.appends_end
    assert learned(tokenizer, template, ONE) == [" five<|eos|>"]


def test_a_token_that_straddles_the_start_of_an_answer_is_learned(
    tokenizer: Any, write: Callable[[str, str], str]
) -> None:
    text = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|im_end|>' }}{% endfor %}"
    text += "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    template = load_template(tokenizer, write("space.jinja", text), "m")
    # " hello" is one token, whose space stands in the generation prompt.
    conversation = (Message("user", "good day"), Message("assistant", "hello", True))
    assert learned(tokenizer, template, conversation)[0].strip() == "hello<|im_end|>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{% for m in messages %}", "cannot render a question and its answer: line 1"),
        ("{{ raise_exception('no such thing') }}", "no such thing"),
        ("{{ messages[0]['content'].nothing() }}", "cannot render"),
        ("hello", "leaves out the content"),
        (
            "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}{{ 'A:' }}{% endif %}",
            "no prefix of prompt and answer",
        ),
    ],
)
def test_load_template_refuses_unusable_files(
    tokenizer: Any, write: Callable[[str, str], str], text: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_template(tokenizer, write("bad.jinja", text), "m")


def test_load_template_names_a_missing_file(tokenizer: Any, write: Callable[[str, str], str]) -> None:
    path = write("chat.jinja", "x")
    with pytest.raises(ModelError, match=r"no such template file. Did you mean 'chat.jinja'"):
        load_template(tokenizer, path.replace("chat", "chta"), "m")


def test_load_template_needs_an_end_of_sequence_token() -> None:
    from tests.worlds.tiny_models import build_tokenizer

    with pytest.raises(ModelError, match="has no end-of-sequence token"):
        load_template(build_tokenizer(eos_token=None), "auto", "m")


def test_a_row_that_the_template_refuses_is_named(tokenizer: Any, write: Callable[[str, str], str]) -> None:
    text = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    text += tokenizer.chat_template
    template = load_template(tokenizer, write("strict.jinja", text), "m")
    with pytest.raises(DataError, match=r"data: row 8: does not fit the chat template .*System role not supported"):
        list(tokenise_conversations([ONE, MANY], [7, 8], tokenizer, template, "data"))


def test_a_template_that_rewrites_answers_is_a_fault(tokenizer: Any, write: Callable[[str, str], str]) -> None:
    text = FORGETFUL.replace(
        "m['content'] | trim", "(m['content'] if loop.last or m['role'] != 'assistant' else 'cut')"
    )
    template = load_template(tokenizer, write("cut.jinja", text), "m")
    with pytest.raises(TemplateFault, match="rewrites an earlier answer"):
        template.answer_spans(tokenizer, MANY, template.render(tokenizer, [MANY])[0])
