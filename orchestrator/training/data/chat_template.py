"""The chat template of a model: which one, whether it can be used, and what of its text is learned.

What is learned of a rendered conversation is every assistant turn from the end of the generation prompt
to the end-of-turn token, that token included; of another turn that is learned (``unmask``) its content, without
what the template puts round it, as in instructlab/training. The span of a turn is found by the prefix property: the
turns before it, rendered with a generation prompt, must be a prefix of the whole rendering.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

from orchestrator.errors import ModelError, nearest
from orchestrator.training.data.conversations import ASSISTANT, USER, Conversation, Message
from orchestrator.training.model.paths import nearest_path
from orchestrator.training.model.protocols import Tokenizer

Span = tuple[int, int]
"""Start and end (exclusive) of what is learned of a turn, in characters of the rendered text."""

DEFAULT_TEMPLATE = (
    "{{ start }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '### Assistant:\\n' + message['content'] + eos_token + '\\n\\n' }}"
    "{% else %}{{ '### ' + message['role'] | capitalize + ':\\n' + message['content'] + '\\n\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)
"""The template for tokenizers that bring none.

A conversation reads ``### User:`` newline content, blank line, ``### Assistant:`` newline answer and the
tokenizer's end-of-sequence token; it starts with the begin-of-sequence token where the tokenizer itself
puts one in front of a text. The newline before the answer keeps the first word of an answer one token of
its own whatever the tokenizer does about spaces.
"""

# Private-use characters: no text has them, and no template knows them.
_BEGIN, _END = "\uf8f0", "\uf8f1"
_GENERATION_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
_PROBE = (Message(USER, "one"), Message(ASSISTANT, "two", True))


class TemplateFault(Exception):
    """One conversation that the template cannot render; the caller knows its row."""


@dataclass(frozen=True)
class ChatTemplate:
    """A usable chat template of one tokenizer.

    Attributes:
        text: Jinja source.
        origin: ``tokenizer``, ``default``, or the file it was read from.
        end: What the template writes after an answer, up to and with the end-of-turn token.
        appends_end: The template writes no token at the end of a turn, so the end-of-sequence token is put
            after the last answer.
    """

    text: str
    origin: str
    end: str
    appends_end: bool

    def render(self, tokenizer: Tokenizer, conversations: Sequence[Conversation]) -> list[str]:
        """Render whole conversations, each with the end of its last answer.

        Raises:
            TemplateFault: If the template refuses one of them.
        """
        texts = _render(tokenizer, self.text, conversations, False)
        return [text.rstrip() + str(tokenizer.eos_token) for text in texts] if self.appends_end else texts

    def prompt(self, tokenizer: Tokenizer, conversation: Conversation) -> str:
        """Render turns up to where the next answer begins.

        Raises:
            TemplateFault: If the template refuses them.
        """
        return _render(tokenizer, self.text, [conversation], True)[0]

    def answer_spans(self, tokenizer: Tokenizer, conversation: Conversation, text: str) -> list[Span]:
        """Return where the learned turns of ``text`` (the rendered conversation) begin and end.

        Raises:
            TemplateFault: If a turn cannot be located exactly.
        """
        learned = [turn for turn, message in enumerate(conversation) if message.is_learned]
        answers = [turn for turn in learned if conversation[turn].role == ASSISTANT]
        others = [turn for turn in learned if conversation[turn].role != ASSISTANT]
        spans = self._content_spans(tokenizer, conversation, others, text) if others else []
        try:
            found = [self._span(tokenizer, conversation, turn, text) for turn in answers]
        except TemplateFault:
            if not _GENERATION_MARK.search(self.text):
                raise
            found = self._marked_spans(tokenizer, conversation, text)
        return sorted(spans + found)

    def _content_spans(
        self, tokenizer: Tokenizer, conversation: Conversation, turns: Sequence[int], text: str
    ) -> list[Span]:
        """Find the contents of turns: rendered once more with marks round them, which templates leave alone."""
        marked = list(conversation)
        for turn in turns:
            content = conversation[turn].content
            body = content.strip()
            if not body:
                continue
            # Inside the white space, which some templates strip.
            start = content.index(body)
            whole = f"{content[:start]}{_BEGIN}{body}{_END}{content[start + len(body) :]}"
            marked[turn] = conversation[turn]._replace(content=whole)
        rendered = self.render(tokenizer, [tuple(marked)])[0]
        if rendered.replace(_BEGIN, "").replace(_END, "") != text:
            raise TemplateFault(
                "the template changes the contents of turns, so that those to be learned cannot be found"
            )
        spans, taken = [], 0
        for match in re.finditer(f"{_BEGIN}(.*?){_END}", rendered, re.DOTALL):
            spans.append((match.start() - taken, match.end() - taken - 2))
            taken += 2
        return spans

    def _span(self, tokenizer: Tokenizer, conversation: Conversation, turn: int, text: str) -> Span:
        prefix = _render(tokenizer, self.text, [conversation[:turn]], True)[0]
        if not text.startswith(prefix):
            raise TemplateFault(
                "the turns before an answer, rendered with a generation prompt, are no prefix of the whole conversation"
            )
        start = len(prefix)
        if turn == len(conversation) - 1:
            return start, self._turn_end(text, start, len(text))
        through = _render(tokenizer, self.text, [conversation[: turn + 1]], False)[0]
        if text.startswith(through):
            return start, self._turn_end(text, start, len(through))
        # Some templates write an answer differently once turns follow it (Qwen3 leaves its thinking
        # out); what is there is learned if it is the answer's own text and the end of a turn.
        content = conversation[turn].content.strip()
        begin = start + len(text[start:]) - len(text[start:].lstrip())
        if content and self.end.strip() and text.startswith(content + self.end, begin):
            return start, begin + len(content) + len(self.end)
        raise TemplateFault("the template rewrites an earlier answer, so that its tokens cannot be told apart")

    def _marked_spans(self, tokenizer: Tokenizer, conversation: Conversation, text: str) -> list[Span]:
        """Read the spans from the template's own ``{% generation %}`` marks."""
        _, found = render_jinja_template(
            conversations=[_as_dicts(conversation)],
            chat_template=self.text,
            return_assistant_tokens_mask=True,
            **tokenizer.special_tokens_map,
        )
        answers = [message for message in conversation if message.role == ASSISTANT]
        if len(found[0]) != len(answers):
            raise TemplateFault(f"the template marks {len(found[0])} answers of {len(answers)}")
        spans = []
        for message, (start, stop) in zip(answers, found[0], strict=True):
            ends_outside = self.end and not text[start:stop].rstrip().endswith(self.end.strip())
            if message.is_learned:
                spans.append(
                    (start, stop + len(self.end) if ends_outside and text.startswith(self.end, stop) else stop)
                )
        return spans

    def _turn_end(self, text: str, start: int, stop: int) -> int:
        """Leave off what the template writes after the end-of-turn token (a newline, mostly)."""
        if not self.end.strip():
            return stop
        place = text.rfind(self.end.strip(), start, stop)
        return (
            stop if place < 0 or text[place + len(self.end.strip()) : stop].strip() else place + len(self.end.strip())
        )


def load_template(tokenizer: Tokenizer, choice: str, where: str) -> ChatTemplate:
    """Pick and check the chat template.

    Args:
        tokenizer: The tokenizer.
        choice: ``auto`` (the tokenizer's own, else `DEFAULT_TEMPLATE`), ``default``, or a Jinja file.
        where: The model, for messages.

    Raises:
        ModelError: If the file is missing or the template cannot render a question and its answer, or
            the tokenizer has no end-of-sequence token.
    """
    if tokenizer.eos_token is None or tokenizer.eos_token_id is None:
        rule = "the tokenizer has no end-of-sequence token, so that an answer could never end"
        raise ModelError(where, "eos_token", rule=rule, mend="set eos_token in the model's tokenizer_config.json")
    text, origin = _choose(tokenizer, choice, where)
    try:
        whole = _render(tokenizer, text, [_PROBE], False)[0]
        prefix = _render(tokenizer, text, [_PROBE[:1]], True)[0]
    except TemplateFault as error:
        rule = f"the chat template ({origin}) cannot render a question and its answer: {error}"
        raise ModelError(where, "chat_template", rule=rule, mend="use model.chat_template: default") from error
    if "one" not in whole or "two" not in whole:
        rule = f"the chat template ({origin}) leaves out the content of messages"
        raise ModelError(where, "chat_template", rule=rule, mend="use model.chat_template: default")
    if not whole.startswith(prefix) and not _GENERATION_MARK.search(text):
        rule = (
            f"the chat template ({origin}) renders a prompt with generation prompt that is no prefix of prompt and "
            "answer, and it has no {% generation %} marks, so that answers cannot be told from prompts"
        )
        raise ModelError(
            where, "chat_template", rule=rule, mend="use model.chat_template: default, or mend the template"
        )
    end = _end_of_turn(tokenizer, whole[whole.rindex("two") + 3 :])
    return ChatTemplate(text, origin, end or "", end is None)


def _choose(tokenizer: Tokenizer, choice: str, where: str) -> tuple[str, str]:
    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default")
    if choice == "auto" and own:
        return own, "tokenizer"
    if choice in {"auto", "default"}:
        start = "{{ bos_token }}" if puts_bos_first(tokenizer) else ""
        return DEFAULT_TEMPLATE.replace("{{ start }}", start), "default"
    path = Path(choice).expanduser()
    try:
        return path.read_text(encoding="utf-8"), choice
    except FileNotFoundError as error:
        mend = nearest_path(path) or nearest(choice, ("auto", "default"))
        raise ModelError(where, "chat_template", choice, "there is no such template file", mend) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(where, "chat_template", choice, f"the template file cannot be read: {error}") from error


def puts_bos_first(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer itself begins every text with its begin-of-sequence token."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


def _end_of_turn(tokenizer: Tokenizer, tail: str) -> str | None:
    """Return the part of what follows an answer that ends a turn (with its token), or None if no token does."""
    specials = {str(token) for token in tokenizer.get_added_vocab()} | {tokenizer.eos_token or ""}
    ends = [tail.index(token) + len(token) for token in specials if token.strip() and token in tail]
    return tail[: min(ends)] if ends else None


def _as_dicts(conversation: Conversation) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in conversation]


def _render(tokenizer: Tokenizer, text: str, conversations: Sequence[Conversation], for_answer: bool) -> list[str]:
    as_dicts = [_as_dicts(conversation) for conversation in conversations]
    try:
        rendered = tokenizer.apply_chat_template(
            as_dicts, chat_template=text, add_generation_prompt=for_answer, tokenize=False
        )
    except jinja2.TemplateSyntaxError as error:
        raise TemplateFault(f"line {error.lineno}: {error.message}") from error
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise TemplateFault(str(error)) from error
    return rendered
