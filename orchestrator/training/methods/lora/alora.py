"""LoRA that is active only after an invocation sequence."""

from __future__ import annotations

from orchestrator.errors import ModelError
from orchestrator.training.methods.adapters.peft_sizes import Fit, Options
from orchestrator.training.methods.adapters.whole_model import WholeModel
from orchestrator.training.model.protocols import Tokenizer


class Alora(WholeModel):
    """Activated LoRA (Greenewald et al. 2025, arXiv 2504.12397)."""

    def chosen_sizes(self, fit: Fit) -> Options:
        """Return also the tokens that open an answer in the chat template, unless others are given.

        Raises:
            ModelError: If there is no chat template to take them from.
        """
        chosen = super().chosen_sizes(fit)
        if fit.options.get("alora_invocation_tokens"):
            return chosen
        return {**chosen, "alora_invocation_tokens": _opening_tokens(fit.context.tokenizer)}


def _opening_tokens(tokenizer: Tokenizer | None) -> list[int]:
    if tokenizer is None or not getattr(tokenizer, "chat_template", None):
        rule = "alora needs the tokens after which it becomes active"
        raise ModelError(
            "model", "alora.alora_invocation_tokens", None, rule, "give the token ids that start an answer"
        )
    chat = [{"role": "user", "content": "?"}]
    without, opened = (
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=g) for g in (False, True)
    )
    return [int(token) for token in tokenizer.encode(opened[len(without) :], add_special_tokens=False)]
