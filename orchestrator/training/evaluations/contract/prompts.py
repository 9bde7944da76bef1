"""Prompts that a model is to answer, as rows of tokens in which nothing is learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.token_rows import TokenRow
from orchestrator.training.data.tokens import Tokens


def prompt_rows(
    texts: Sequence[str], tokens: Tokens, settings: EvaluationSet, too_long: str
) -> tuple[list[TokenRow], list[int]]:
    """Return one row of tokens for each rendered prompt, and the places of the prompts that were kept.

    Args:
        texts: Rendered prompts.
        tokens: Tokenizer and length limit.
        settings: The set.
        too_long: What the set does with them; a prompt is never cut, as it would ask for something else, so ``truncate`` drops it too.

    Raises:
        DataError: If the model has no room for a prompt and a first token of its answer (under ``error``), or for none.
    """
    rows, kept = [], []
    where = f"evaluation.{settings.name}"
    for place, text in enumerate(texts):
        ids = np.asarray(tokens.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int32)
        if tokens.model_length is not None and len(ids) >= tokens.model_length:
            if too_long == "error":
                raise DataError(
                    f"{where}: prompt {place + 1}",
                    "data",
                    settings.data,
                    f"has {len(ids)} tokens, and the model takes {tokens.model_length} with the answer",
                    "set too_long: drop, or take rows with shorter prompts",
                )
            continue
        rows.append(TokenRow(ids, np.zeros(len(ids), dtype=np.bool_)))
        kept.append(place)
    if not rows:
        raise DataError(where, "data", settings.data, "no prompt is left: all are longer than the model can take")
    return rows, kept
