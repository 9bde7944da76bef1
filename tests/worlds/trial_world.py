"""Tiny models, in-memory rows and trials for the tests of the training loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transformers

from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.training.loop.token_budgets import TokenBudgets
from orchestrator.training.loop.trial import Trial
from orchestrator.training.methods import MethodContext, build_method

VOCABULARY = 64
CPU = torch.device("cpu")


class MemoryRows:
    """Rows of random tokens held in memory; the second part of each row is the answer."""

    def __init__(self, rows: int, seed: int = 0, longest: int = 24, phases: Mapping[str, range] | None = None) -> None:
        generator = np.random.default_rng(seed)
        self.lengths = generator.integers(4, longest + 1, rows).astype(np.int32)
        self.rows = [generator.integers(3, VOCABULARY, length).astype(np.int32) for length in self.lengths]
        self.phases = dict(phases or {})
        self.replay: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        ids = self.rows[index]
        return ids, np.arange(len(ids)) >= len(ids) // 2


def tiny_model(architecture: str = "Llama", seed: int = 0, **changes: Any) -> Any:
    """Return a randomly initialised causal model of two layers."""
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config = getattr(transformers, f"{architecture}Config")(**{**sizes, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transformers.AutoModelForCausalLM.from_config(config)


def tiny_config(**changes: Any) -> TrialConfig:
    return TrialConfig(
        **{**{"method": "full", "effective_batch_size": 8, "learning_rate": 3e-3, "samples": 80}, **changes}
    )


def ticking_clock() -> Callable[[], float]:
    """Return a clock that goes on by one second per reading."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


def make_trial(
    config: TrialConfig | None = None,
    *,
    rows: MemoryRows | None = None,
    model: Any = None,
    settings: TrainingSettings | None = None,
    budgets: TokenBudgets | None = None,
    **changes: Any,
) -> Trial:
    config = config or tiny_config()
    rows = rows or MemoryRows(40)
    method = build_method(config.method, config.method_options)
    context = MethodContext(steps=-(-config.samples // config.effective_batch_size), seed=config.seed)
    wrapped = method.wrap_model(tiny_model() if model is None else model, context)
    arguments: dict[str, Any] = {
        "trial_id": "t0",
        "config": config,
        "model": wrapped,
        "method": method,
        "data": rows,
        "settings": settings or TrainingSettings(),
        "device": CPU,
        "pad_token_id": 0,
        "budgets": budgets or TokenBudgets(),
        "clock": ticking_clock(),
    }
    return Trial(**{**arguments, **changes})


def weights_of(trial: Trial) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trial.method.trainable_state(trial.model).items()}
