"""The sections of a sweep file that say when trials are stopped and when a winner is believed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from orchestrator.spec.reading.closed import Closed


class DivergenceSpec(Closed):
    """Stop trials that blow up; checked after every optimizer step."""

    enabled: bool = Field(default=True, description="Whether the rule runs.")
    loss_margin: float = Field(
        default=1.5,
        gt=0,
        description="Stop when the smoothed loss is this many nats above its start, and at least 1.25 times it.",
    )
    grad_norm_factor: float = Field(
        default=100.0, gt=1, description="Stop when the gradient norm stays this many times above its running median."
    )


class RungsSpec(Closed):
    """Successive halving on the objective's own held-out metric, in samples seen, within cohorts."""

    enabled: bool = Field(default=True, description="Whether the rule runs.")
    reduction_factor: float = Field(
        default=2.0, gt=1, description="One in this many trials passes each rung, where the forecast is off."
    )
    levels: list[float] = Field(
        default_factory=list,
        description="Milestones that are rungs, as shares of the budget; default: all but the last.",
    )
    quota_per_method: int = Field(
        default=1, ge=0, description="Trials every method keeps at a rung until its best learning rate is bracketed."
    )
    cohort: Literal["sweep", "family", "method"] = Field(
        default="sweep",
        description="Trials compared with each other: all, those of one method family, or of one method. Held-out "
        "metrics compare across methods, so sweep is the default.",
    )

    @field_validator("levels")
    @classmethod
    def _shares(cls, levels: list[float]) -> list[float]:
        if any(not 0 < level < 1 for level in levels):
            raise ValueError(f"rung levels are shares of the budget between 0 and 1 (exclusive), got {levels}")
        return levels


class ForecastSpec(Closed):
    """Compare trials by their expected final objective: those go on that may still end best."""

    enabled: bool = Field(
        default=True,
        description="Whether the forecast compares trials at the rungs; else the rungs' fixed reduction_factor does.",
    )
    miss: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Tolerated probability, at each milestone, that the best trial is not among those that go on.",
    )
    tolerance: float = Field(
        default=0.0,
        ge=0,
        description="Tolerated regret in units of the objective: a trial that ends this close to the best counts as the best.",
    )
    weights: str | None = Field(
        default=None,
        description="Weights fitted on your own sweeps (orchestrate fit-forecast); default: the shipped ones.",
    )


class EarlyDynamicsSpec(Closed):
    """The rule of arXiv 2412.13337: lower gradient norm and higher training loss early mark the better model."""

    enabled: bool = Field(
        default=False,
        description="Whether the rule runs. Off by default: for in-distribution objectives its loss half has the "
        "opposite sign (docs/stopping.md).",
    )
    share: float = Field(default=0.25, gt=0, le=1, description="Judge trials at the first milestone past this share.")
    drop: float = Field(default=0.25, gt=0, lt=1, description="Share of the cohort that the rule may stop.")
    min_cohort: int = Field(default=4, ge=2, description="Smallest cohort in which the rule judges.")


class StoppingSpec(Closed):
    """Which rules may stop a trial before its end, in the order they are asked."""

    divergence: DivergenceSpec = Field(default_factory=DivergenceSpec, description="Blow-ups.")
    rungs: RungsSpec = Field(
        default_factory=RungsSpec, description="Where and among whom trials are compared; successive halving."
    )
    forecast: ForecastSpec = Field(
        default_factory=ForecastSpec, description="Compares trials at the rungs by what they are expected to end at."
    )
    early_dynamics: EarlyDynamicsSpec = Field(default_factory=EarlyDynamicsSpec, description="The paper's rule.")
    audit: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the trials stopped by comparison that are trained on to the end, in spare slots, to measure "
        "how often stopping was wrong and what it lost. May be changed when a sweep is run again.",
    )


class WinnerSpec(Closed):
    """How sure it must be that the winner is better than the next best, and not only luckier with its seed."""

    candidates: int = Field(default=3, ge=1, description="How many of the best recipes are repeated with new seeds.")
    repeats: int = Field(
        default=0,
        ge=0,
        description="New seeds per candidate, at most; ends earlier once one is better than all others. 0: off; at least "
        "2, as a comparison needs two seeds. May be changed when a sweep is run again.",
    )
    confidence: float = Field(
        default=0.95,
        gt=0.5,
        lt=1,
        description="Probability that no recipe is declared better where the best ones are equal.",
    )

    @field_validator("repeats")
    @classmethod
    def _testable(cls, repeats: int) -> int:
        if repeats == 1:
            raise ValueError("one new seed tells no difference from noise; give 0 (off) or at least 2")
        return repeats
