"""Scores of a model on named evaluation sets: loss on answers, exact match, loss on plain text and forgetting.

Evaluation leaves no trace: random states, the mode of every module and gradients are as before.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from orchestrator.training.batches import IGNORED, MicroBatch, pad_rows, split_by_tokens
from orchestrator.training.generation import GreedySettings, generate_greedy
from orchestrator.training.loss import AnswerLoss, make_answer_loss
from orchestrator.training.methods.base import Method
from orchestrator.training.prepare import PreparedSet
from orchestrator.training.token_rows import Ids, Mask

_LOGITS_ON_CPU = 2**23
_LOGITS_ON_DEVICE = 2**28
_LARGEST_BATCH_TOKENS = 16_384


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    Attributes:
        values: Metric -> value: ``NAME/loss``, ``NAME/exact_match``, ``NAME/forgetting``.
        standard_errors: Metric -> standard error over the set's rows (rows as the sampling unit).
        row_losses: Set -> summed loss of each row, nats (kept for paired comparisons with the base).
        seconds: Wall time.
    """

    values: dict[str, float]
    standard_errors: dict[str, float]
    row_losses: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, inverse of ``Scores(**values)``."""
        return asdict(self)


@dataclass(frozen=True)
class AnswerTokens:
    """What evaluation needs to know of the tokenizer.

    Attributes:
        tokenizer: Decodes answers.
        pad_id: Token to pad with.
        stop_ids: Tokens that end an answer.
        length_limit: Longest sequence of the model; None when it names no limit.
    """

    tokenizer: Any
    pad_id: int
    stop_ids: frozenset[int]
    length_limit: int | None


class Evaluator:
    """Scores models on prepared evaluation sets.

    Args:
        sets: The evaluation sets.
        tokens: Special tokens.
        loss_chunk_tokens: Answer tokens whose logits may live at the same time.
    """

    def __init__(self, sets: Sequence[PreparedSet], tokens: AnswerTokens, loss_chunk_tokens: int = 4096) -> None:
        self.sets, self.tokens, self.loss_chunk_tokens = tuple(sets), tokens, loss_chunk_tokens

    def evaluate(
        self, model: nn.Module, method: Method | None = None, *, final: bool = True, base: Scores | None = None
    ) -> Scores:
        """Score a model.

        Args:
            model: The (wrapped) model, on its device.
            method: The method that wrapped it, None for a plain model.
            final: Whether sets that are evaluated only at the end are included.
            base: Scores of the base model; without them forgetting is left out.
        """
        started = time.perf_counter()
        scores = Scores({}, {})
        full_logits = method is not None and bool(method.uses_full_logits)
        with untouched(model):
            loss = make_answer_loss(
                model, chunk_tokens=self.loss_chunk_tokens, full_logits=full_logits, keep_mask=False
            )
            for entry in self.sets:
                if entry.settings.when == "end" and not final:
                    continue
                if entry.settings.kind == "exact_match":
                    self._score_answers(model, method, entry, scores)
                else:
                    self._score_loss(loss, method, entry, scores, base)
        return Scores(scores.values, scores.standard_errors, scores.row_losses, time.perf_counter() - started)

    def _score_loss(
        self, loss: AnswerLoss, method: Method | None, entry: PreparedSet, scores: Scores, base: Scores | None
    ) -> None:
        sums, counts = self._row_losses(loss, method, entry)
        name = f"{entry.name}/loss"
        scores.values[name], scores.standard_errors[name] = ratio_with_error(sums, counts)
        scores.row_losses[entry.name] = sums.tolist()
        if entry.settings.kind == "text_loss" and base is not None and entry.name in base.row_losses:
            risen = sums - np.asarray(base.row_losses[entry.name])
            name = f"{entry.name}/forgetting"
            scores.values[name], scores.standard_errors[name] = ratio_with_error(risen, counts)

    def _row_losses(
        self, loss: AnswerLoss, method: Method | None, entry: PreparedSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return summed loss and number of answer tokens of each row, both float64 ``[rows]``."""
        device = next(loss.model.parameters()).device
        sums, counts = np.zeros(len(entry.data)), np.zeros(len(entry.data))
        for rows in split_by_tokens(entry.data.lengths, _batch_tokens(loss.model, device)):
            cpu_batch = pad_rows(entry.data, rows.tolist(), self.tokens.pad_id)
            batch = cpu_batch.to(device)
            extra = method.forward_kwargs(batch.as_batch()) if method is not None else {}
            places = (cpu_batch.labels[:, 1:] != IGNORED).nonzero()[:, 0].numpy()
            losses = token_losses(loss, batch, extra).double().cpu().numpy()
            sums[rows] = np.bincount(places, weights=losses, minlength=len(rows))
            counts[rows] = np.bincount(places, minlength=len(rows))
        return sums, counts

    def _score_answers(self, model: nn.Module, method: Method | None, entry: PreparedSet, scores: Scores) -> None:
        prompts, references = self.questions(entry)
        settings = GreedySettings(
            self.tokens.stop_ids, self.tokens.pad_id, entry.settings.max_new_tokens, self.tokens.length_limit
        )
        arguments = method.forward_kwargs if method is not None else None
        steppable = method is None or not method.uses_full_logits
        answers = generate_greedy(model, prompts, settings, arguments, own_loop=steppable)
        matches = [self.decode(answer) == reference for answer, reference in zip(answers, references, strict=True)]
        share, rows = sum(matches) / len(matches), len(matches)
        name = f"{entry.name}/exact_match"
        scores.values[name] = share
        scores.standard_errors[name] = math.sqrt(share * (1 - share) / (rows - 1)) if rows > 1 else math.nan

    def questions(self, entry: PreparedSet) -> tuple[list[Ids], list[str]]:
        """Return the prompt tokens and the reference answer of each row: the last learned turn and all before it."""
        prompts, references = [], []
        for row in range(len(entry.data)):
            ids, is_answer = entry.data[row]
            start, stop = last_answer(is_answer)
            prompts.append(ids[:start])
            references.append(self.decode(ids[start:stop].tolist()))
        return prompts, references

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of an answer as it is compared: without special tokens, white space evened out."""
        kept = [token for token in ids if token not in self.tokens.stop_ids]
        text: str = self.tokens.tokenizer.decode(kept, skip_special_tokens=True)
        return normalise_answer(text)


def normalise_answer(text: str) -> str:
    """Strip an answer and make every run of white space one space; case counts."""
    return " ".join(text.split())


def last_answer(is_answer: Mask) -> tuple[int, int]:
    """Return start and end (exclusive) of the last run of learned tokens."""
    places = np.flatnonzero(is_answer)
    stop = int(places[-1]) + 1
    before = np.flatnonzero(~is_answer[:stop])
    return (int(before[-1]) + 1 if len(before) else 0), stop


def ratio_with_error(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
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


def token_losses(loss: AnswerLoss, batch: MicroBatch, extra: Mapping[str, Any]) -> Tensor:
    """Return the cross-entropy of each answer token, nats, float32 ``[answer tokens]``, row by row.

    Where the output layer works token by token (every path of `AnswerLoss` but ``full``) it sees only
    the positions that predict an answer.
    """
    targets = batch.labels[:, 1:]
    predicting = targets != IGNORED
    length = batch.labels.shape[1]
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False, **batch.extra, **extra}
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
    return functional.cross_entropy(logits.float(), targets[predicting], reduction="none")


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Evaluate without gradients; random states and the mode of every module are restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _batch_tokens(model: nn.Module, device: torch.device) -> int:
    """Return the padded tokens of one evaluation batch, so that its logits stay small."""
    config: Any = getattr(model, "config", None)
    words = config.get_text_config().vocab_size if hasattr(config, "get_text_config") else 50_000
    elements = _LOGITS_ON_CPU if device.type == "cpu" else _LOGITS_ON_DEVICE
    return max(256, min(_LARGEST_BATCH_TOKENS, elements // int(words)))
