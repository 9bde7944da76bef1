"""How many padded tokens fit a micro-batch, remembered per kind of device, model and method.

A trial that runs out of memory halves its budget; what it learned is kept for its siblings in the same
process and, with a file, for those in other processes and later sweeps.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from torch import nn

from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.training.loop.memory_estimate import GIB, ModelShape, bytes_per_token, estimate_memory

CPU_TOKENS = 2048
"""Default on a CPU: activations of a small model stay in the cache (measured: flat from 1,024 to 4,096)."""

GPU_TOKENS_MOST = 65_536
"""Beyond this a larger micro-batch no longer makes an accelerator faster."""

GPU_SHARE = 0.8
"""Share of the free memory that the estimate may fill; the rest is for fragmentation and its own error."""


class TokenBudgets:
    """Budgets that were found by running out of memory; the smallest known one counts.

    Args:
        path: JSON file to share them with other processes; None keeps them in this process.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, int] = {}

    def recall(self, key: str) -> int | None:
        """Return the remembered budget, or None."""
        self._known = _smallest(self._known, self._read())
        return self._known.get(key)

    def remember(self, key: str, tokens: int) -> None:
        """Keep a budget that is known to be the most that may be tried."""
        self._known = _smallest(self._known, self._read(), {key: tokens})
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        draft.write_text(json.dumps(self._known, indent=1, sort_keys=True))
        draft.replace(self._path)

    def _read(self) -> dict[str, int]:
        if self._path is None or not self._path.exists():
            return {}
        return {str(key): int(value) for key, value in json.loads(self._path.read_text()).items()}


PROCESS_BUDGETS = TokenBudgets()
"""Shared by all trials of this process that are given no other memory."""


def budget_key(device: torch.device, model: nn.Module, method: str) -> str:
    """Name the kind of device, the model and the method, for `TokenBudgets`."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    config = getattr(model, "config", None)
    name = getattr(config, "name_or_path", "") or getattr(config, "model_type", type(model).__name__)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"{kind}|{name}|{parameters}|{method}"


def default_budget(
    model: nn.Module, config: TrialConfig, settings: TrainingSettings, device: torch.device, longest: int
) -> int:
    """Choose a token budget: small on a CPU, by free memory on an accelerator; never below the longest sample."""
    if device.type != "cuda":
        return max(CPU_TOKENS, longest)
    shape = ModelShape.of(model)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    fixed = estimate_memory(shape, trained, settings, micro_batch_tokens=0, optimizer=config.optimizer, on_gpu=True)
    free_bytes, _ = torch.cuda.mem_get_info(device)
    spare = GPU_SHARE * free_bytes - (fixed.gradients + fixed.optimizer + fixed.logits) * GIB
    tokens = int(spare / bytes_per_token(shape, trained, settings, on_gpu=True))
    return max(longest, min(tokens, GPU_TOKENS_MOST))


def _smallest(*tables: dict[str, int]) -> dict[str, int]:
    merged: dict[str, int] = {}
    for table in tables:
        for key, value in table.items():
            merged[key] = min(value, merged.get(key, value))
    return merged
