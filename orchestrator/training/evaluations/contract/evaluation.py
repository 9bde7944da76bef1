"""What a scorer is: one kind of evaluation set, its rows and its metrics."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from orchestrator.settings.trial_setup import DataSettings, EvaluationSet
from orchestrator.training.data.chat_template import ChatTemplate
from orchestrator.training.data.prepare import PreparedData, PreparedSet, Tokens, prepare_set
from orchestrator.training.data.token_cache import TokenisedData
from orchestrator.training.data.token_rows import Ids, TokenRow
from orchestrator.training.evaluations.contract.generation import GreedySettings, generate_greedy
from orchestrator.training.loop.batches import IGNORED, MicroBatch, pad_rows, split_by_tokens
from orchestrator.training.loop.loss import AnswerLoss
from orchestrator.training.methods.contract.method import Method
from orchestrator.training.model.protocols import ModelConfig, Tokenizer

_LOGITS_ON_CPU = 2**23
_LOGITS_ON_DEVICE = 2**28
_LARGEST_BATCH_TOKENS = 16_384

Metric = tuple[float, float]
"""A value and its standard error (NaN where it cannot be told)."""


@dataclass(frozen=True)
class AnswerTokens:
    """What evaluation needs to know of the tokenizer.

    Attributes:
        tokenizer: Decodes answers.
        pad_id: Token to pad with.
        stop_ids: Tokens that end an answer.
        length_limit: Longest sequence of the model; None when it names no limit.
        template: Chat template; None only where no set needs one.
    """

    tokenizer: Tokenizer
    pad_id: int
    stop_ids: frozenset[int]
    length_limit: int | None
    template: ChatTemplate | None = None


@dataclass(frozen=True)
class SetSources:
    """What sets are prepared from.

    Attributes:
        data: Settings of the training data.
        prepared: Training and held-out rows.
        tokens: Tokenizer, template and length limit.
        cache_dir: Folder of the cache of tokenised data.
    """

    data: DataSettings
    prepared: PreparedData
    tokens: Tokens
    cache_dir: Path

    def too_long(self, settings: EvaluationSet) -> str:
        """Return what is done with questions longer than the model can take."""
        return settings.too_long or self.data.too_long


@dataclass(frozen=True)
class SetScores:
    """What one set said.

    Attributes:
        metrics: Name after ``NAME/`` -> value and standard error.
        row_losses: Summed loss of each row, nats, kept for paired comparisons with the base; None for other kinds.
        answers: The model's own answers by row key, kept for comparisons with the base's; empty for other kinds.
    """

    metrics: Mapping[str, Metric]
    row_losses: NDArray[np.float64] | None = None
    answers: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A model that is scored: in evaluation mode, on its device.

    Attributes:
        model: The (wrapped) model.
        method: The method that wrapped it, None for a plain model.
        loss: Its answer loss.
        tokens: Special tokens.
        base_losses: Set -> summed loss of each row under the base model; empty where they are unknown.
        base_answers: Set -> the base model's answers by row key; empty where they are unknown.
    """

    model: nn.Module
    method: Method | None
    loss: AnswerLoss
    tokens: AnswerTokens
    base_losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    base_answers: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def row_losses(self, data: TokenisedData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return summed loss and number of answer tokens of each row, both float64 ``[rows]``."""
        return self.row_scores(data)[:2]

    def row_scores(self, data: TokenisedData) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Return summed loss and number of answer tokens of each row, and whether all of them are the likeliest ones."""
        sums, counts, greedy = np.zeros(len(data)), np.zeros(len(data)), np.zeros(len(data), dtype=np.bool_)
        for rows in split_by_tokens(data.lengths, _batch_tokens(self.model, self.device)):
            places, losses, likeliest = self._token_scores(data, rows.tolist())
            sums[rows] = np.bincount(places, weights=losses, minlength=len(rows))
            counts[rows] = np.bincount(places, minlength=len(rows))
            greedy[rows] = np.bincount(places, weights=~likeliest, minlength=len(rows)) == 0
        return sums, counts, greedy

    def likeliest_tokens(self, data: TokenisedData) -> list[NDArray[np.int64]]:
        """Return the likeliest token in the place of each answer token of each row, given the row's tokens before it."""
        found = [np.zeros(0, dtype=np.int64)] * len(data)
        for rows in split_by_tokens(data.lengths, _batch_tokens(self.model, self.device)):
            places, logits, _ = self._answer_logits(data, rows.tolist())
            tokens = logits.argmax(dim=-1).cpu().numpy()
            ends = np.cumsum(np.bincount(places, minlength=len(rows)))
            for row, part in zip(rows.tolist(), np.split(tokens, ends[:-1]), strict=True):
                found[row] = part
        return found

    def answers(self, prompts: Sequence[Ids], max_new_tokens: int, stop_texts: Sequence[str] = ()) -> list[list[int]]:
        """Return the greedy answer to each prompt as token ids, without the token that ends it.

        Args:
            prompts: Token ids of each prompt, int32 ``[T]``.
            max_new_tokens: Longest answer.
            stop_texts: Generation of a row may end once its text holds one of them; the text may go on behind it.
        """
        settings = GreedySettings(
            self.tokens.stop_ids,
            self.tokens.pad_id,
            max_new_tokens,
            self.tokens.length_limit,
            ended=_ended(self.tokens.tokenizer, stop_texts),
        )
        arguments = self.method.forward_kwargs if self.method is not None else None
        steppable = self.method is None or not self.method.uses_full_logits
        return generate_greedy(self.model, prompts, settings, arguments, own_loop=steppable)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of an answer, without special tokens."""
        kept = [token for token in ids if token not in self.tokens.stop_ids]
        text: str = self.tokens.tokenizer.decode(kept, skip_special_tokens=True)
        return text

    def next_token_losses(
        self, data: TokenisedData, rows: Sequence[int], words: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float64]]:
        """Return the cross-entropy of several tokens in the place of a row's only answer token.

        Args:
            data: Rows of tokens.
            rows: Numbers of rows with one answer token each.
            words: The tokens to try in each of them.

        Returns:
            For each row, nats of each of its tokens.
        """
        found: list[NDArray[np.float64]] = [np.zeros(0)] * len(rows)
        lengths = data.lengths[np.asarray(rows, dtype=np.int64)]
        for part in split_by_tokens(lengths, _batch_tokens(self.model, self.device)):
            _, logits, _ = self._answer_logits(data, [rows[place] for place in part.tolist()])
            losses = -logits.float().log_softmax(dim=-1)
            for number, place in enumerate(part.tolist()):
                found[place] = losses[number, list(words[place])].double().cpu().numpy()
        return found

    def _token_scores(
        self, data: TokenisedData, rows: list[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        places, logits, targets = self._answer_logits(data, rows)
        losses = functional.cross_entropy(logits.float(), targets, reduction="none")
        return places, losses.double().cpu().numpy(), (logits.argmax(dim=-1) == targets).cpu().numpy()

    def _answer_logits(self, data: TokenisedData, rows: list[int]) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """Return the row (within ``rows``) of each answer token, the logits that predict it, and the token."""
        cpu_batch = pad_rows(data, rows, self.tokens.pad_id)
        batch = cpu_batch.to(self.device)
        extra = self.method.forward_kwargs(batch.as_batch()) if self.method is not None else {}
        places = (cpu_batch.labels[:, 1:] != IGNORED).nonzero()[:, 0].numpy()
        return places, *answer_logits(self.loss, batch, extra)


class Scorer(ABC):
    """One kind of evaluation set."""

    def prepare(self, settings: EvaluationSet, sources: SetSources) -> PreparedSet:
        """Return a set with its rows tokenised; the default reads rows of conversations or plain texts.

        Raises:
            InputError: If its source is wrong.
        """
        return prepare_set(settings, sources.data, sources.prepared, sources.tokens, sources.cache_dir)

    def check(self, entry: PreparedSet) -> str:
        """Check what only counts right before training (an endpoint that answers), and say what was found.

        Raises:
            InputError: If the set could not be scored.
        """
        return ""

    @abstractmethod
    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """Score a model on the set; no random number is drawn."""


def share_with_error(hits: Sequence[bool]) -> Metric:
    """Return the share of hits and its standard error, ``sqrt(p (1 - p) / (n - 1))``; NaN for a single row."""
    share, rows = sum(hits) / len(hits), len(hits)
    return share, math.sqrt(share * (1 - share) / (rows - 1)) if rows > 1 else math.nan


def mean_with_error(values: Sequence[float]) -> Metric:
    """Return a mean and its standard error, rows as the sampling unit; NaN for a single row, both for none."""
    if not values:
        return math.nan, math.nan
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def ratio_with_error(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> Metric:
    """Return ``sum(sums) / sum(counts)`` and its standard error with rows as the sampling unit.

    The error is that of a ratio estimator (Cochran, Sampling Techniques, 1977, equation 6.13, no finite
    population correction); NaN for a single row.
    """
    total, rows = counts.sum(), len(sums)
    ratio = float(sums.sum() / total)
    if rows < 2:
        return ratio, math.nan
    residuals = sums - ratio * counts
    return ratio, float(np.sqrt((residuals**2).sum() * rows / (rows - 1)) / total)


def answer_logits(loss: AnswerLoss, batch: MicroBatch, extra: Mapping[str, object]) -> tuple[Tensor, Tensor]:
    """Return the logits that predict each answer token, ``[answer tokens, words]``, and the tokens, row by row.

    Where the output layer works token by token (every path of `AnswerLoss` but ``full``) it sees only
    the positions that predict an answer.
    """
    targets = batch.labels[:, 1:]
    predicting = targets != IGNORED
    length = batch.labels.shape[1]
    inputs: dict[str, object] = {"input_ids": batch.input_ids, "use_cache": False, **batch.extra, **extra}
    if not loss.drop_mask:
        inputs["attention_mask"] = batch.attention_mask
    if loss.path == "full" or loss.head is None:
        logits = loss.model(**inputs).logits[:, -length:][:, :-1][predicting]
    else:
        hook = loss.head.register_forward_pre_hook(
            lambda _, given: (given[0][:, -length:][:, :-1][predicting].unsqueeze(0), *given[1:])
        )
        try:
            logits = loss.model(**inputs).logits[0]
        finally:
            hook.remove()
    return logits, targets[predicting]


def as_data(rows: Sequence[TokenRow]) -> TokenisedData:
    """Return rows that no cache holds."""
    offsets = np.concatenate([[0], np.cumsum([len(row.ids) for row in rows])]).astype(np.int64)
    ids = np.concatenate([row.ids for row in rows]).astype(np.int32)
    return TokenisedData(ids, np.concatenate([row.is_answer for row in rows]), offsets, "")


def _batch_tokens(model: nn.Module, device: torch.device) -> int:
    """Return the padded tokens of one evaluation batch, so that its logits stay small."""
    config: ModelConfig | None = getattr(model, "config", None)
    words = 50_000
    if config is not None and hasattr(config, "get_text_config"):
        words = config.get_text_config().vocab_size
    elements = _LOGITS_ON_CPU if device.type == "cpu" else _LOGITS_ON_DEVICE
    return max(256, min(_LARGEST_BATCH_TOKENS, elements // int(words)))


def _ended(tokenizer: Tokenizer, stop_texts: Sequence[str]) -> Callable[[Sequence[int]], bool] | None:
    if not stop_texts:
        return None

    def ended(ids: Sequence[int]) -> bool:
        text = tokenizer.decode(ids, skip_special_tokens=True)
        return any(stop in text for stop in stop_texts)

    return ended
