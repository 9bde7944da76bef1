"""LoRA started from the principal components of activations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from orchestrator.errors import ModelError
from orchestrator.training.methods.contract.method import MethodContext
from orchestrator.training.methods.lora.calibrated import Calibrated, Rows

if TYPE_CHECKING:
    from peft import PeftConfig

MOST_PASSES = 100
"""EVA goes over the samples until its components settle; after so many passes they never will."""


class Eva(Calibrated):
    """EVA (Paischer et al. 2024, arXiv 2410.07170)."""

    def attach(self, model: nn.Module, config: PeftConfig, context: MethodContext) -> nn.Module:
        """Put the adapter on, then start it from the activations of the samples."""
        from peft import initialize_lora_eva_weights

        rows = self.calibration_rows(context)
        wrapped = super().attach(model, config, context)
        needed = round(config.r * config.eva_config.rho)
        passes = _BoundedPasses(_filled(rows, needed, config.eva_config.use_label_mask))
        initialize_lora_eva_weights(wrapped, passes, gather_distributed_inputs=False, show_progress_bar=False)
        return wrapped


class _BoundedPasses:
    """The same batches again and again, but not for ever: peft's own loop has no end of its own."""

    def __init__(self, batches: Rows) -> None:
        self.batches = batches
        self.passes = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        self.passes += 1
        if self.passes > MOST_PASSES:
            rule = f"the components of the activations did not settle in {MOST_PASSES} passes over the samples"
            raise ModelError("method", "eva", None, rule, "lower eva_config.tau, or take more calibration_samples")
        return iter(self.batches)


def _filled(rows: Rows, needed: int, answers_only: bool) -> Rows:
    """Stack rows (padded at the right) into batches of at least ``needed`` tokens: peft skips smaller ones.

    Raises:
        ModelError: If all rows together have too few tokens.
    """
    batches: list[Rows] = [[]]
    tokens = [0]
    for row in rows:
        if tokens[-1] >= needed:
            batches.append([])
            tokens.append(0)
        batches[-1].append(row)
        seen = (row["labels"] != -100) & (row["attention_mask"] > 0) if answers_only else row["attention_mask"] > 0
        tokens[-1] += int(seen.sum())
    if tokens[-1] < needed and len(batches) > 1:
        batches[-2] += batches.pop()
    elif tokens[-1] < needed:
        rule = f"the calibration samples hold {tokens[-1]} tokens, fewer than r x rho = {needed}"
        raise ModelError("method", "eva.calibration_samples", len(rows), rule, "take more samples or a smaller r")
    return [_stacked(batch) for batch in batches]


def _stacked(rows: Rows) -> dict[str, Tensor]:
    fills = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    length = max(row["input_ids"].shape[1] for row in rows)
    return {
        key: torch.cat([nn.functional.pad(row[key], (0, length - row[key].shape[1]), value=fill) for row in rows])
        for key, fill in fills.items()
    }
