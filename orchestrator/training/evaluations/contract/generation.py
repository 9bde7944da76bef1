"""Greedy answers for many prompts at once, with a key-value cache and left padding."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from orchestrator.training.data.token_rows import Ids

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

_KEEP_SHARE = 0.6
"""Finished rows leave the batch once no more than this share of it still runs; leaving earlier costs more copies."""
_ASK_EVERY = 8
"""Tokens between two questions whether an answer is over: each question decodes all of it."""
_STEP_ARGUMENTS = frozenset({"position_ids", "logits_to_keep", "past_key_values", "attention_mask"})


@dataclass(frozen=True)
class GreedySettings:
    """How answers are generated.

    Attributes:
        stop_ids: Tokens that end an answer; not part of it.
        pad_id: Token that pads on the left.
        max_new_tokens: Longest answer.
        length_limit: Longest sequence, prompt included; None when the model names no limit.
        token_budget: Rows times (longest prompt + longest answer) of one batch.
        ended: Says of the tokens so far whether an answer is over; asked now and then, so answers may go on behind.
    """

    stop_ids: frozenset[int]
    pad_id: int
    max_new_tokens: int
    length_limit: int | None = None
    token_budget: int = 16_384
    ended: Callable[[Sequence[int]], bool] | None = None


ForwardArguments = Callable[[Mapping[str, Tensor]], Mapping[str, object]]


def generate_greedy(
    model: nn.Module,
    prompts: Sequence[Ids],
    settings: GreedySettings,
    forward_arguments: ForwardArguments | None = None,
    own_loop: bool = True,
) -> list[list[int]]:
    """Return the greedy answer to each prompt, without the token that ends it.

    Prompts are sorted by length into batches; an answer does not depend on its batch beyond rounding.

    Args:
        model: A causal language model in evaluation mode (any wrapper that keeps ``forward`` and ``generate``).
        prompts: Token ids of each prompt, int32 ``[T]``, at least one token.
        settings: Limits and special tokens.
        forward_arguments: Further arguments of the model's forward for the rows of a batch.
        own_loop: Step the model here and let finished rows leave; where False (models that put virtual tokens
            in front) or where the model's forward cannot be stepped, ``model.generate`` does the work.
    """
    device = next(model.parameters()).device
    answers: list[list[int]] = [[] for _ in prompts]
    steppable = own_loop and _is_steppable(model)
    for rows in _batches([len(prompt) for prompt in prompts], settings):
        longest = max(len(prompts[row]) for row in rows)
        new_tokens = settings.max_new_tokens
        if settings.length_limit is not None:
            new_tokens = min(new_tokens, settings.length_limit - longest)
        if new_tokens < 1:
            continue
        ids, mask = _pad_left([prompts[row] for row in rows], settings.pad_id, device)
        labels = torch.full_like(ids, -100)
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        extra = forward_arguments(batch) if forward_arguments is not None else {}
        with torch.no_grad():
            if steppable and not extra:
                made = _step(model, ids, mask, settings, new_tokens)
            else:
                made = _by_generate(model, ids, mask, settings, new_tokens, extra)
        for row, tokens in zip(rows, made, strict=True):
            answers[row] = _until_stop(tokens, settings.stop_ids)
    return answers


def _batches(lengths: Sequence[int], settings: GreedySettings) -> list[list[int]]:
    """Group rows by length, the longest first, each group within the token budget.

    Rows that the model's limit leaves less room than the longest answer share a batch only with rows of their length,
    so that no answer is cut shorter by a longer prompt beside it.
    """
    batches: list[list[int]] = []
    longest = 0
    limit = settings.length_limit
    for row in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        cut = limit is not None and longest > limit and lengths[row] + settings.max_new_tokens < longest
        if not batches or cut or (len(batches[-1]) + 1) * longest > settings.token_budget:
            batches.append([])
            longest = lengths[row] + settings.max_new_tokens
        batches[-1].append(row)
    return batches


def _is_steppable(model: nn.Module) -> bool:
    base: nn.Module = getattr(model, "get_base_model", lambda: model)()
    return set(inspect.signature(base.forward).parameters) >= _STEP_ARGUMENTS


def _pad_left(prompts: Sequence[Ids], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    longest = max(len(prompt) for prompt in prompts)
    ids = np.full((len(prompts), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(prompts), longest), dtype=np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = prompt
        mask[row, longest - len(prompt) :] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def _step(model: nn.Module, ids: Tensor, mask: Tensor, settings: GreedySettings, new_tokens: int) -> list[list[int]]:
    """Generate token by token; ``ids`` and ``mask`` are int64 ``[rows, longest]``."""
    made = torch.full((len(ids), new_tokens), settings.pad_id, dtype=torch.int64, device=ids.device)
    stops = torch.tensor(sorted(settings.stop_ids), dtype=torch.int64, device=ids.device)
    # Rows of the batch that still run, as rows of `made`.
    active = torch.arange(len(ids), device=ids.device)
    running = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache: Cache | None = None
    for place in range(new_tokens):
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = output.past_key_values
        chosen = output.logits[:, -1].argmax(dim=-1)
        made[active, place] = chosen
        running &= ~torch.isin(chosen, stops)
        if settings.ended is not None and place % _ASK_EVERY == _ASK_EVERY - 1:
            running &= torch.tensor(
                [not settings.ended(row) for row in made[active, : place + 1].tolist()], device=running.device
            )
        left = int(running.sum())
        if left == 0:
            break
        positions = positions[:, -1:] + 1
        if left <= _KEEP_SHARE * len(running) and hasattr(cache, "batch_select_indices"):
            kept = running.nonzero().squeeze(1)
            cache.batch_select_indices(kept)
            active, running, chosen = active[kept], running[kept], chosen[kept]
            mask, positions = mask[kept], positions[kept]
        ids = chosen.unsqueeze(1)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    rows: list[list[int]] = made.tolist()
    return rows


def _by_generate(
    model: PreTrainedModel,
    ids: Tensor,
    mask: Tensor,
    settings: GreedySettings,
    new_tokens: int,
    extra: Mapping[str, object],
) -> list[list[int]]:
    plan = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=new_tokens,
        pad_token_id=settings.pad_id,
        eos_token_id=sorted(settings.stop_ids),
    )
    made = model.generate(input_ids=ids, attention_mask=mask, generation_config=plan, **extra)
    rows: list[list[int]] = made[:, ids.shape[1] :].tolist()
    return rows


def _until_stop(tokens: Sequence[int], stop_ids: frozenset[int]) -> list[int]:
    place = next((place for place, token in enumerate(tokens) if token in stop_ids), len(tokens))
    return list(tokens[:place])
