"""Initialisations from data: ``eva``, ``corda`` and ``lora_ga`` look at training samples before they start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.errors import ModelError
from orchestrator.training.methods.adapters.peft_adapter import PeftMethod
from orchestrator.training.methods.contract.method import MethodContext

MOST_PASSES = 100
"""EVA goes over the samples until its components settle; after so many passes they never will."""


class Calibrated(PeftMethod):
    """``eva``, ``corda``, ``lora_ga``: same samples, same adapter."""

    needs_calibration = True

    def attach(self, model: nn.Module, config: Any, context: MethodContext) -> nn.Module:
        """Run the model on ``calibration_samples`` training samples, then start the adapter from what was seen."""
        if context.calibration_batches is None:
            raise ModelError("method", self.name, None, "needs training samples to start from, and none were given")
        batches = [dict(batch) for batch in context.calibration_batches(self.options["calibration_samples"])]
        if self.name == "corda":
            _prepare_corda(model, config, batches)
        elif self.name == "lora_ga":
            _prepare_lora_ga(model, config, batches)
        wrapped = super().attach(model, config, context)
        if self.name == "eva":
            _initialise_eva(wrapped, config, batches)
        return wrapped


def _prepare_corda(model: nn.Module, config: Any, batches: list[dict[str, Tensor]]) -> None:
    from peft.tuners.lora.corda import preprocess_corda

    def run() -> None:
        with torch.no_grad():
            for batch in batches:  # one row each: peft's hook squeezes the batch dimension
                model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])

    model.eval()
    preprocess_corda(model, config, run_model=run)


def _prepare_lora_ga(model: nn.Module, config: Any, batches: list[dict[str, Tensor]]) -> None:
    from peft.tuners.lora.loraga import preprocess_loraga

    def run() -> None:
        for batch in batches:
            model(**batch).loss.backward()

    model.requires_grad_(True)
    preprocess_loraga(model, config, run)
    model.zero_grad(set_to_none=True)


def _initialise_eva(wrapped: nn.Module, config: Any, batches: list[dict[str, Tensor]]) -> None:
    from peft import initialize_lora_eva_weights

    needed = round(config.r * config.eva_config.rho)
    passes = _BoundedPasses(_filled(batches, needed, config.eva_config.use_label_mask))
    initialize_lora_eva_weights(wrapped, passes, gather_distributed_inputs=False, show_progress_bar=False)


class _BoundedPasses:
    """The same batches again and again, but not for ever: peft's own loop has no end of its own."""

    def __init__(self, batches: list[dict[str, Tensor]]) -> None:
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


def _filled(rows: list[dict[str, Tensor]], needed: int, answers_only: bool) -> list[dict[str, Tensor]]:
    """Stack rows (padded at the right) into batches of at least ``needed`` tokens: peft skips smaller ones.

    Raises:
        ModelError: If all rows together have too few tokens.
    """
    batches: list[list[dict[str, Tensor]]] = [[]]
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


def _stacked(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    fills = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    length = max(row["input_ids"].shape[1] for row in rows)
    return {
        key: torch.cat([nn.functional.pad(row[key], (0, length - row[key].shape[1]), value=fill) for row in rows])
        for key, fill in fills.items()
    }
