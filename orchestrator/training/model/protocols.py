"""What is used of a model's tokenizer and configuration: the few members that matter, whichever library made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Protocol, TypedDict, overload

import numpy as np
from numpy.typing import NDArray

Turn = Mapping[str, str]
"""A message as chat templates know it: ``role`` and ``content``."""


class Encoded(TypedDict):
    """Token ids of one text."""

    input_ids: list[int]


class EncodedBatch(TypedDict):
    """Token ids of several texts, and the characters of each token where they were asked for."""

    input_ids: list[list[int]]
    offset_mapping: list[list[tuple[int, int]]]


class Backend(Protocol):
    """The library's own tokenizer behind a fast one."""

    def to_str(self) -> str:
        """Return everything that decides how it cuts text."""


class Tokenizer(Protocol):
    """A tokenizer of transformers (``PreTrainedTokenizerBase``), as far as it is used here."""

    chat_template: str | dict[str, str] | None
    name_or_path: str

    @property
    def is_fast(self) -> bool:
        """Whether it knows the characters of its tokens."""

    @property
    def backend_tokenizer(self) -> Backend:
        """What a fast tokenizer runs on."""

    @property
    def special_tokens_map(self) -> Mapping[str, object]:
        """Name -> special token or list of them."""

    @property
    def bos_token(self) -> str | None:
        """Token that begins a text."""

    @property
    def eos_token(self) -> str | None:
        """Token that ends a text."""

    @property
    def bos_token_id(self) -> int | None:
        """Its id."""

    @property
    def eos_token_id(self) -> int | None:
        """Its id."""

    @property
    def pad_token_id(self) -> int | None:
        """Id of the token to pad with."""

    def get_vocab(self) -> Mapping[str, int]:
        """Return all tokens and their ids."""

    def get_added_vocab(self) -> Mapping[str, int]:
        """Return the tokens that were added to the vocabulary, and their ids."""

    @overload
    def __call__(self, text: str, /, *, add_special_tokens: bool = True, verbose: bool = True) -> Encoded: ...

    @overload
    def __call__(
        self,
        text: list[str],
        /,
        *,
        add_special_tokens: bool = True,
        verbose: bool = True,
        return_offsets_mapping: bool = False,
    ) -> EncodedBatch: ...

    def encode(self, text: str, /, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of a text."""

    def decode(self, token_ids: Sequence[int] | NDArray[np.int32], /, *, skip_special_tokens: bool = False) -> str:
        """Return the text of token ids."""

    @overload
    def apply_chat_template(
        self,
        conversation: Sequence[Turn],
        /,
        *,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
    ) -> str: ...

    @overload
    def apply_chat_template(
        self,
        conversation: Sequence[Sequence[Turn]],
        /,
        *,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
    ) -> list[str]: ...

    def save_pretrained(self, folder: str | PathLike[str], /) -> object:
        """Write its files to a folder."""


class ModelConfig(Protocol):
    """A configuration of transformers (``PreTrainedConfig``), as far as every architecture has it."""

    model_type: str
    vocab_size: int
    bos_token_id: int | None
    eos_token_id: int | list[int] | None

    def get_text_config(self) -> ModelConfig:
        """Return the part that describes the language model; itself where there is no other part."""
