"""What a recommendation needs to know of a base model and of data: sizes and lengths, no weights.

The libraries of models are imported when something is read, so that the records alone load nothing.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError
from orchestrator.settings.trial_setup import DataSettings, ModelSettings

if TYPE_CHECKING:
    from orchestrator.training.data.conversations import Conversation
    from orchestrator.training.model.protocols import ModelConfig, Tokenizer

SAMPLED_ROWS = 512
"""Rows whose lengths are measured, spread evenly over the data."""

CHARACTERS_PER_TOKEN = 4.0
"""Of English text under the tokenizers of usual models; used where a model brings no tokenizer."""

PROBE_SECONDS = 0.15


@dataclass(frozen=True)
class ModelFacts:
    """The architecture of a base model.

    Attributes:
        identity: What tells it from other models: its resolved folder, or its hub id with the revision.
        family: ``model_type`` of its configuration, such as ``llama`` or ``qwen3``.
        hidden_size: Width of the residual stream.
        parameters: Number of parameters, tied ones once.
        adapter_parameters: Parameters of adapters of rank 1 on all its matrices: the sum of inputs and outputs of each.
        length_limit: Longest sequence in tokens; None where it names none.
    """

    identity: str
    family: str
    hidden_size: int
    parameters: int
    adapter_parameters: int = 0
    length_limit: int | None = None


@dataclass(frozen=True)
class DataFacts:
    """Sizes of training data.

    Attributes:
        identity: What tells it from other data: the source as resolved, with its split.
        rows: Rows with a prompt and an answer.
        rows_without_answer: Rows without one of them.
        mean_tokens: Mean tokens of a rendered row.
        mean_answer_tokens: Mean learned tokens of a row.
        percentile_99: Tokens that 99 % of the measured rows do not exceed.
        longest: Tokens of the longest measured row.
        too_long_share: Share of the measured rows over ``data.max_length`` or the model's limit.
        is_estimate: Lengths were reckoned from characters, as no tokenizer could be read.
    """

    identity: str
    rows: int
    rows_without_answer: int
    mean_tokens: float
    mean_answer_tokens: float
    percentile_99: float
    longest: int
    too_long_share: float
    is_estimate: bool = False

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def read_model_facts(settings: ModelSettings) -> ModelFacts:
    """Read a model's configuration; the folder may hold no weights.

    Raises:
        ModelError: If there is no such model, or it is no causal language model.
    """
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM

    from orchestrator.training.model.load import model_length_limit

    config = _load_config(settings)
    width = getattr(config.get_text_config(), "hidden_size", None)
    if not isinstance(width, int):
        raise ModelError(settings.path, rule=f"its configuration ({config.model_type}) names no hidden_size")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=settings.trust_remote_code)
    outside = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    head = model.get_output_embeddings()
    outside |= set() if head is None else {id(head.weight)}
    matrices = [p for p in model.parameters() if p.ndim == 2 and id(p) not in outside]
    return ModelFacts(
        identity=model_identity(settings),
        family=str(config.model_type),
        hidden_size=width,
        parameters=sum(p.numel() for p in model.parameters()),
        adapter_parameters=sum(sum(p.shape) for p in matrices),
        length_limit=model_length_limit(config),
    )


def model_identity(settings: ModelSettings) -> str:
    """Return what tells a model from others."""
    folder = Path(settings.path).expanduser()
    place = str(folder.resolve()) if folder.is_dir() else settings.path
    return place if settings.revision is None else f"{place}@{settings.revision}"


def data_identity(source: str, split: str) -> str:
    """Return what tells training data from others."""
    place = Path(source).expanduser()
    return f"{place.resolve() if place.exists() else source}#{split}"


def read_data_facts(data: DataSettings, model: ModelSettings) -> DataFacts:
    """Read training rows, and measure the lengths of up to `SAMPLED_ROWS` of them; ``data.expected`` goes before.

    Raises:
        DataError: If the data cannot be read or no row has a prompt and an answer.
    """
    if data.expected is not None:
        return _expected(data)
    import numpy as np

    from orchestrator.training.data.formats import convert_rows
    from orchestrator.training.data.sources import open_source, spread

    source = open_source(data.train, data.split)
    rows, numbers = source.sample(data.limit)
    found = convert_rows(rows, data.format, data.columns, "drop", data.train, numbers)
    chosen = spread(len(found.conversations), SAMPLED_ROWS)
    conversations = [found.conversations[place] for place in chosen]
    lengths, answers, limit, is_estimate = _lengths(conversations, [found.row_numbers[p] for p in chosen], data, model)
    return DataFacts(
        identity=data_identity(data.train, data.split),
        rows=len(found.conversations),
        rows_without_answer=len(found.missing),
        mean_tokens=round(float(np.mean(lengths)), 1),
        mean_answer_tokens=round(float(np.mean(answers)), 1),
        percentile_99=float(np.percentile(lengths, 99)),
        longest=int(max(lengths)),
        too_long_share=float(np.mean([length > limit for length in lengths])) if limit else 0.0,
        is_estimate=is_estimate,
    )


def seconds_per_sample(model: ModelFacts, data: DataFacts, threads: int) -> float:
    """Return the rough seconds of one slot per sample of full fine-tuning, from a matrix product timed here and now."""
    import torch

    from orchestrator.training.setup.estimates import EFFICIENCY

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        left = torch.randn(1024, model.hidden_size, device=device)
        right = torch.randn(model.hidden_size, 4 * model.hidden_size, device=device)
        began, rounds = time.perf_counter(), 0
        while rounds < 2 or time.perf_counter() - began < PROBE_SECONDS:
            product, rounds = left @ right, rounds + 1
        product.sum().item()
        speed = 2.0 * left.numel() * right.shape[1] * rounds / (time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return 6.0 * model.parameters * data.mean_tokens / (speed * EFFICIENCY)


def _expected(data: DataSettings) -> DataFacts:
    told = data.expected
    assert told is not None
    return DataFacts(
        identity=data_identity(data.label, data.split),
        rows=told.rows,
        rows_without_answer=0,
        mean_tokens=told.mean_tokens,
        mean_answer_tokens=told.mean_tokens * told.answer_share,
        percentile_99=float(told.longest),
        longest=told.longest,
        too_long_share=0.0,
        is_estimate=True,
    )


def _load_config(settings: ModelSettings) -> ModelConfig:
    """Return the model's own configuration, weights or not, or the one of that hub id that comes with the package."""
    from transformers import AutoModelForCausalLM

    from orchestrator.training.setup.expected import expected_config

    config = expected_config(settings)
    own_code = settings.trust_remote_code and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if not own_code and type(config) not in AutoModelForCausalLM._model_mapping:
        rule = f"is a {config.model_type} model, which is no causal language model that transformers knows"
        raise ModelError(settings.path, rule=rule, mend="choose a decoder-only language model")
    return config


def _load_tokenizer(settings: ModelSettings) -> Tokenizer:
    from transformers import AutoTokenizer

    from orchestrator.training.model.load import load_tokenizer

    folder = Path(settings.path).expanduser()
    if not (folder / "config.json").is_file():
        return load_tokenizer(settings)
    try:
        # Not `load_tokenizer`: it wants the weights to be there too.
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=settings.trust_remote_code)
        return tokenizer
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(settings.path, rule=f"its tokenizer cannot be read: {error}") from error


def _lengths(
    conversations: list[Conversation], numbers: list[int], data: DataSettings, model: ModelSettings
) -> tuple[list[int], list[int], int | None, bool]:
    """Return tokens and learned tokens of each row, the length limit, and whether they are estimates."""
    from orchestrator.training.data.chat_template import load_template
    from orchestrator.training.data.token_rows import tokenise_conversations
    from orchestrator.training.model.load import model_length_limit

    limit = data.max_length or model_length_limit(_load_config(model))
    try:
        tokenizer = _load_tokenizer(model)
        template = load_template(tokenizer, model.chat_template, model.path)
    except ModelError:
        texts = [[(len(turn.content), turn.is_learned) for turn in each] for each in conversations]
        whole = [max(1, round(sum(size for size, _ in each) / CHARACTERS_PER_TOKEN)) for each in texts]
        learned = [max(1, round(sum(size for size, own in each if own) / CHARACTERS_PER_TOKEN)) for each in texts]
        return whole, learned, limit, True
    made = list(tokenise_conversations(conversations, numbers, tokenizer, template, data.train))
    return [len(row.ids) for row in made], [int(row.is_answer.sum()) for row in made], limit, False
