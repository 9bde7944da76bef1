"""What turns text into tokens: tokenizer, chat template, and the longest sequence."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import DataSettings
from orchestrator.training.data.chat_template import ChatTemplate
from orchestrator.training.model.protocols import Tokenizer


@dataclass(frozen=True)
class Tokens:
    """What turns text into tokens.

    Attributes:
        tokenizer: The tokenizer.
        digest: Digest of the tokenizer.
        template: Its chat template.
        model_length: Longest sequence the model can take; None when it names no limit.
    """

    tokenizer: Tokenizer
    digest: str
    template: ChatTemplate
    model_length: int | None

    def max_length(self, data: DataSettings) -> int | None:
        """Return the longest sequence to train on.

        Raises:
            DataError: If the settings ask for more than the model can take.
        """
        if data.max_length is not None and self.model_length is not None and data.max_length > self.model_length:
            rule = f"the model takes sequences of at most {self.model_length} tokens"
            raise DataError("data", "max_length", data.max_length, rule, f"set it to at most {self.model_length}")
        return data.max_length or self.model_length
