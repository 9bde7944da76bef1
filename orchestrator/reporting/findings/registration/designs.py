"""The designs as typed data, read from ``designs.yaml``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from orchestrator.spec.reading.closed import Closed

_FILE = Path(__file__).with_name("designs.yaml")


class Design(Closed):
    """One sweep in the paper's own numbers: every combination of its lists, with seeds 0, 1, ... each."""

    about: str = Field(description="What it is for, in a sentence.")
    base: Literal["first", "second"] = Field(default="first", description="Which base model it trains.")
    batches: tuple[int, ...] = Field(description="Effective batch sizes of the paper.")
    rates: tuple[float, ...] | Literal["ladder"] = Field(description="Learning rates of the paper, or the ladder.")
    warmup_steps: tuple[int, ...] = Field(default=(), description="Warm-ups in steps of 3,840 samples.")
    warmup_ratio: float | None = Field(default=None, description="Warm-up as a share of all steps, instead.")
    schedules: tuple[str, ...] = Field(default=("constant",), description="Learning-rate schedules.")
    strategies: tuple[str, ...] = Field(default=("stacked",), description="Data strategies.")
    epochs: float = Field(description="Passes over the data.")
    split_steps: bool = Field(default=False, description="Whether even the smallest step is split, to see its noise.")
    paper: tuple[str, ...] = Field(
        default=(), description="Shipped sweep files at the paper's scale; none: not run there."
    )
    seeds: int = Field(ge=1, description="Seeds of each configuration.")

    @property
    def phased(self) -> bool:
        """Whether the training data must come in phases."""
        return "phased" in self.strategies

    @property
    def trials(self) -> int:
        """Number of trials, where the rates are not the ladder."""
        warmups = 1 if self.warmup_ratio is not None else len(self.warmup_steps)
        lists = (self.batches, self.rates, self.schedules, self.strategies)
        product = warmups * self.seeds
        for entries in lists:
            product *= len(entries)
        return product


@lru_cache(maxsize=1)
def designs() -> dict[str, Design]:
    """Return all designs by name, in the order in which they are run."""
    values = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {name: Design.model_validate(value) for name, value in values.items()}
