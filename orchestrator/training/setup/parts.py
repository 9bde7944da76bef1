"""What a trial setup means before any weight is read: configuration, tokenizer, template, data, evaluation sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ModelError
from orchestrator.settings.trial_setup import ModelSettings, TrialSetup
from orchestrator.training.data.chat_template import load_template
from orchestrator.training.data.prepare import PreparedData, PreparedSet, Tokens, prepare_data
from orchestrator.training.data.token_cache import Meta
from orchestrator.training.data.token_rows import Progress
from orchestrator.training.evaluations import scorers
from orchestrator.training.evaluations.contract.evaluation import AnswerTokens, SetSources
from orchestrator.training.model.load import (
    check_vocabulary,
    load_config,
    load_tokenizer,
    model_length_limit,
    padding_id,
    tokenizer_digest,
)
from orchestrator.training.model.protocols import ModelConfig


@dataclass(frozen=True)
class SetupParts:
    """Everything of a setup but the weights.

    Attributes:
        config: Model configuration.
        tokens: Tokenizer, template and length limit.
        data: Training and held-out rows.
        sets: Evaluation sets with their rows, in the order of the setup.
    """

    config: ModelConfig
    tokens: Tokens
    data: PreparedData
    sets: tuple[PreparedSet, ...]

    @property
    def answer_tokens(self) -> AnswerTokens:
        """What evaluation needs to know of the tokenizer."""
        tokenizer = self.tokens.tokenizer
        return AnswerTokens(
            tokenizer,
            padding_id(tokenizer),
            stop_tokens(self.tokens, self.config),
            self.tokens.model_length,
            self.tokens.template,
        )


def load_tokens(settings: ModelSettings) -> tuple[ModelConfig, Tokens]:
    """Return the model's configuration and what turns text into its tokens; no weights are read.

    Raises:
        ModelError: If the model is missing or unsafe, or its tokenizer or template cannot be used.
    """
    config = load_config(settings)
    tokenizer = load_tokenizer(settings)
    check_vocabulary(tokenizer, config, settings.path)
    template = load_template(tokenizer, settings.chat_template, settings.path)
    return config, Tokens(tokenizer, tokenizer_digest(tokenizer), template, model_length_limit(config))


def load_parts(setup: TrialSetup, cache_dir: Path, progress: Progress | None = None) -> SetupParts:
    """Read everything of a setup but the weights; rows come from the cache where it has them.

    Args:
        setup: The setup.
        cache_dir: Folder of the cache of tokenised data.
        progress: Told while training rows are tokenised.

    Raises:
        ModelError: If the model, its tokenizer or its template cannot be used.
        DataError: If training data or an evaluation set cannot be used.
    """
    config, tokens = load_tokens(setup.model)
    data = prepare_data(setup.data, tokens, cache_dir, progress)
    sources = SetSources(setup.data, data, tokens, cache_dir)
    sets = tuple(scorers.prepare(entry, sources) for entry in setup.evaluation)
    return SetupParts(config, tokens, data, sets)


def stop_tokens(tokens: Tokens, config: ModelConfig) -> frozenset[int]:
    """Return the tokens that end an answer: end of sequence, and the template's end-of-turn token.

    Raises:
        ModelError: If the end of a turn is not one token of the tokenizer.
    """
    tokenizer = tokens.tokenizer
    assert tokenizer.eos_token_id is not None, "a tokenizer without it is refused with its template"
    stops = {int(tokenizer.eos_token_id)}
    configured = getattr(config, "eos_token_id", None)
    stops.update(
        int(token) for token in (configured if isinstance(configured, list) else [configured]) if token is not None
    )
    if tokens.template.end:
        ids = tokenizer(tokens.template.end, add_special_tokens=False)["input_ids"]
        if not ids:
            rule = f"the end of a turn ({tokens.template.end!r}) has no token"
            raise ModelError("model", "chat_template", rule=rule, mend="use model.chat_template: default")
        stops.add(int(ids[-1]))
    return frozenset(stops)


def merged_notes(notes: Meta) -> Meta:
    """Add up the notes of a source's parts: counts are summed, formats and columns are those of the first part."""
    parts = notes["parts"]
    total = dict(parts[0])
    for part in parts[1:]:
        for name, value in part.items():
            if isinstance(value, int):
                total[name] = total.get(name, 0) + value
    total["source"] = ", ".join(part["source"] for part in parts)
    total["format"] = ", ".join(dict.fromkeys(part["format"] for part in parts))
    return total
