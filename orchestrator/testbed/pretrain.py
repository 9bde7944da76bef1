"""Rebuild the test bed's base model from its seed.

``python -m orchestrator.testbed.pretrain --out DIR`` writes a Hugging Face folder (config, safetensors,
tokenizer) and ``provenance.json``. Two runs on one machine with equal arguments give equal weights.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from orchestrator.testbed.pretrain_text import corpus_digest, pretraining_texts
from orchestrator.testbed.tokenizer import train_tokenizer
from orchestrator.testbed.world import WorldSpec

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

_IGNORED = -100
_OPEN_ROWS = 16


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """Sizes and schedule of the base model's pretraining; lengths in tokens."""

    steps: int = 1700
    rows_per_step: int = 8
    sequence_length: int = 256
    learning_rate: float = 5e-3
    warmup_share: float = 0.05
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    vocabulary_size: int = 1800
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward_size: int = 384
    maximum_positions: int = 512
    threads: int = 1
    seed: int = 0


def pretrain(world_spec: WorldSpec, settings: PretrainSettings, out: Path) -> dict[str, object]:
    """Pretrain the base model of a world and write it to a folder.

    Args:
        world_spec: The world whose biographies and prose are learnt.
        settings: Sizes and schedule.
        out: Folder to write; made when missing.

    Returns:
        The provenance record, also written to ``out/provenance.json``.
    """
    texts = pretraining_texts(world_spec)
    tokenizer = train_tokenizer(texts, settings.vocabulary_size, settings.maximum_positions)
    documents = [np.asarray([*ids, tokenizer.eos_token_id], np.int64) for ids in tokenizer(texts)["input_ids"]]
    provenance: dict[str, object] = {
        "command": "python -m orchestrator.testbed.pretrain",
        "world": asdict(world_spec),
        "corpus_sha256": corpus_digest(texts),
    }
    return pretrain_on(documents, tokenizer, settings, out, provenance)


def pretrain_on(
    documents: Sequence[np.ndarray],
    tokenizer: PreTrainedTokenizerFast,
    settings: PretrainSettings,
    out: Path,
    provenance: dict[str, object],
) -> dict[str, object]:
    """Pretrain a small Llama on tokenised documents and write it to a folder; arguments and result as `pretrain`.

    Args:
        documents: Token ids of each document, int64, at most ``settings.sequence_length`` long.
        tokenizer: Written beside the model.
        settings: Sizes and schedule.
        out: Folder to write; made when missing.
        provenance: What the documents are; goes first into ``provenance.json``.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    model = build_model(settings, tokenizer)
    started = time.perf_counter()
    final_loss = _train(model, documents, settings, tokenizer.pad_token_id)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    record = {
        **provenance,
        **_facts(settings, model),
        "documents": len(documents),
        "corpus_tokens": sum(map(len, documents)),
        "final_loss": round(final_loss, 4),
        "training_seconds": round(time.perf_counter() - started, 1),
    }
    (out / "provenance.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def build_model(settings: PretrainSettings, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A freshly initialised Llama-type model for the tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.feed_forward_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.maximum_positions,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def pack_rows(documents: Sequence[np.ndarray], length: int, pad_id: int) -> np.ndarray:
    """Put whole documents into rows by first fit over the last few open rows.

    Args:
        documents: Token ids of each document, each at most ``length`` long.
        length: Row length in tokens.
        pad_id: Filler of the rest of a row.

    Returns:
        Token ids, int64 of shape [rows, length].
    """
    rows: list[list[np.ndarray]] = []
    room: list[int] = []
    for document in documents:
        first_open = max(0, len(rows) - _OPEN_ROWS)
        place = next((i for i in range(first_open, len(rows)) if room[i] >= len(document)), None)
        if place is None:
            rows.append([])
            room.append(length)
            place = len(rows) - 1
        rows[place].append(document)
        room[place] -= len(document)
    packed = np.full((len(rows), length), pad_id, np.int64)
    for i, row in enumerate(rows):
        filled = np.concatenate(row)
        packed[i, : len(filled)] = filled
    return packed


def _batches(documents: list[np.ndarray], settings: PretrainSettings, pad_id: int) -> Iterator[np.ndarray]:
    order = random.Random(f"{settings.seed}/order")
    while True:
        order.shuffle(documents)
        rows = pack_rows(documents, settings.sequence_length, pad_id)
        # A corpus smaller than one step is one smaller step; else the incomplete last step is left out.
        step_rows = min(settings.rows_per_step, len(rows))
        for start in range(0, len(rows) - step_rows + 1, step_rows):
            yield rows[start : start + step_rows]


def _train(model: LlamaForCausalLM, documents: Sequence[np.ndarray], settings: PretrainSettings, pad_id: int) -> float:
    optimizers = _optimizers(model, settings)
    started, smooth = time.perf_counter(), math.nan
    for step, batch in zip(range(settings.steps), _batches(list(documents), settings, pad_id), strict=False):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = settings.learning_rate * _schedule(step, settings)
        loss = _language_loss(model, torch.from_numpy(batch), pad_id)
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
        smooth = loss.item() if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss.item()
        if (step + 1) % 25 == 0 or step + 1 == settings.steps:
            _report(step + 1, settings.steps, smooth, time.perf_counter() - started)
    return smooth


def _optimizers(model: LlamaForCausalLM, settings: PretrainSettings) -> tuple[torch.optim.Optimizer, ...]:
    """Muon (Jordan et al. 2024) on the matrices inside the blocks, AdamW on embeddings and norms.

    Embeddings are kept out of weight decay: tokens that the text never shows (chat markers) must not fade.
    """
    inside = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    outside = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(
        inside, lr=settings.learning_rate, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(outside, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    return muon, adamw


def _schedule(step: int, settings: PretrainSettings) -> float:
    warmup = max(1, round(settings.steps * settings.warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, settings.steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress))


def _language_loss(model: LlamaForCausalLM, ids: torch.Tensor, pad_id: int) -> torch.Tensor:
    logits = model(input_ids=ids).logits[:, :-1]
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == pad_id, _IGNORED)
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=_IGNORED)


def _report(step: int, steps: int, loss: float, elapsed_seconds: float) -> None:
    left = elapsed_seconds / step * (steps - step)
    print(
        f"step {step}/{steps}  loss {loss:.4f}  {elapsed_seconds:.0f} s, {left:.0f} s left", file=sys.stderr, flush=True
    )


def _facts(settings: PretrainSettings, model: LlamaForCausalLM) -> dict[str, object]:
    import tokenizers
    import transformers

    return {
        "pretraining": asdict(settings),
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "numpy": np.__version__,
        },
    }


def _add_options(parser: argparse.ArgumentParser, record: WorldSpec | PretrainSettings, seed_option: str) -> None:
    for name, value in asdict(record).items():
        option = seed_option if name == "seed" else name
        parser.add_argument(f"--{option.replace('_', '-')}", type=type(value), default=value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: every field of the world and of the pretraining is an option."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="orchestrator.testbed.pretrain")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    # Both records have a seed: the world's is --seed, that of initial weights and order is --training-seed.
    _add_options(parser, WorldSpec(), "seed")
    _add_options(parser, PretrainSettings(), "training_seed")
    given = vars(parser.parse_args(arguments))
    spec = WorldSpec(**{name: given[name] for name in asdict(WorldSpec())})
    chosen = {name: given["training_seed" if name == "seed" else name] for name in asdict(PretrainSettings())}
    record = pretrain(spec, PretrainSettings(**chosen), given["out"])
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
