"""What an exported folder holds, and whether it computes what the trial computed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch import Tensor, nn

from orchestrator.training.methods.contract.method import Method
from orchestrator.training.model.load import fresh_copy
from orchestrator.training.setup.session import TrainingSession

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER_WEIGHTS = "adapter_model.safetensors"
PROBE_ROWS, PROBE_TOKENS = 2, 48
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""Largest difference of logits that rounding explains, relative to their largest absolute value."""

Probe = dict[str, Tensor]


def make_probe(session: TrainingSession) -> Probe:
    """Return token ids of shape (2, up to 48) on which models are compared."""
    limit = session.tokens.model_length or 2 * PROBE_TOKENS
    length = max(2, min(PROBE_TOKENS, limit // 2))
    model: PreTrainedModel = session.base
    words = int(model.config.get_text_config().vocab_size)
    ids = torch.randint(words, (PROBE_ROWS, length), generator=torch.Generator().manual_seed(0)).to(session.device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def probe_logits(session: TrainingSession, model: nn.Module, probe: Probe, method: Method | None) -> Tensor:
    """Return the logits of the probe's tokens, float32 on the CPU, of shape (2, tokens, words)."""
    extra = {} if method is None else method.forward_kwargs(probe)
    with torch.no_grad(), session.autocast():
        logits: Tensor = model(**probe, **extra).logits
    return logits[:, -probe["input_ids"].shape[1] :].float().cpu()


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of logits relative to the largest expected one."""
    return float((found - expected).abs().max()) / max(1e-6, float(expected.abs().max()))


def tolerance(session: TrainingSession, stored: torch.dtype) -> float:
    """Return the relative difference that the rounding of the stored and of the computing type explains."""
    computing = next(parameter.dtype for parameter in session.base.parameters())
    return max(TOLERANCE[stored], TOLERANCE.get(computing, TOLERANCE[torch.float32]))


def read_back(session: TrainingSession, folder: Path, is_adapter: bool) -> nn.Module:
    """Load an exported folder as its users will: with plain transformers, or peft on the untouched base."""
    if is_adapter:
        from peft import PeftModel

        base = fresh_copy(session.base, session.device)
        loaded = PeftModel.from_pretrained(base, folder)
    else:
        from transformers import AutoModelForCausalLM

        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").to(session.device)
    model: nn.Module = loaded.eval()
    return model


def stored_parameters(folder: Path) -> int:
    """Return how many numbers the folder's weight files hold."""
    return sum(math.prod(shape) for file in folder.glob("*.safetensors") for shape in _shapes(file).values())


def adapter_dtype(folder: Path) -> torch.dtype:
    """Return the widest type among an adapter's tensors."""
    with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as tensors:
        kinds = {tensors.get_tensor(name).dtype for name in tensors.keys()}  # noqa: SIM118
    return next((kind for kind in (torch.float32, torch.float16, torch.bfloat16) if kind in kinds), torch.float32)


def is_plain_lora(folder: Path) -> bool:
    """Whether an adapter is a lora of two factors per matrix and nothing more, as servers such as vLLM take."""
    names = _shapes(folder / ADAPTER_WEIGHTS)
    return bool(names) and all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in names)


def lora_rank(folder: Path) -> int:
    """Return the largest rank among the factors of a plain lora."""
    return max(shape[0] for name, shape in _shapes(folder / ADAPTER_WEIGHTS).items() if name.endswith(".lora_A.weight"))


def stored_dtype(file: Path) -> torch.dtype:
    """Return the type of a weight file's first tensor."""
    with safe_open(file, framework="pt") as tensors:
        names = list(tensors.keys())
        found: torch.dtype = tensors.get_tensor(names[0]).dtype if names else torch.float32
    return found


def _shapes(file: Path) -> dict[str, list[int]]:
    with safe_open(file, framework="pt") as tensors:
        return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
