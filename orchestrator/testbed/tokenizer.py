"""The test bed's own tokenizer: a small byte-level BPE whose tokens are mostly whole words of the world.

Digits stand alone. The chat template uses plain markers, and rendering a prompt with
``add_generation_prompt=True`` gives a prefix of rendering the whole conversation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


PAD, END, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
SPECIALS = (PAD, END, USER, ASSISTANT, SYSTEM)
# The space after a marker belongs to the first word, so that an answer starts with the very token that
# the same word has inside pretraining text.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|> ' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocabulary_size: int, model_max_length: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on texts of the world.

    Args:
        texts: Documents to learn the merges from.
        vocabulary_size: Upper bound of the number of tokens, specials included.
        model_max_length: Longest sequence of the model that will use it.

    Returns:
        A ``transformers.PreTrainedTokenizerFast`` with pad, end and chat template set.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    # A digit, a word or a mark (each with the space before it), or a lone space.
    pieces = pre_tokenizers.Split(Regex(r"\d| ?[^\W\d_]+| ?[^\w\s]|\s|_"), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pieces, byte_level])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM],
        chat_template=CHAT_TEMPLATE,
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
