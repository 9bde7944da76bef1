"""The sections of a sweep file that say when trials are stopped and when a winner is believed."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from orchestrator.plugins.loading import is_plugin
from orchestrator.settings.stopping import DivergenceSpec, EarlyDynamicsSpec, ForecastSpec, RungsSpec
from orchestrator.spec.reading.closed import Closed


class OwnRule(Closed):
    """A stopping rule of the user's own, and its options, which stand beside its name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    rule: str = Field(description="`FILE.py:CLASS`, or the name under which an installed package offers it.")

    @field_validator("rule")
    @classmethod
    def _is_code(cls, rule: str) -> str:
        if not is_plugin("stopping_rule", rule):
            raise ValueError(f"a rule is FILE.py:CLASS, or one that an installed package offers, got {rule!r}")
        return rule

    @property
    def options(self) -> dict[str, object]:
        """The options as the file gives them; the rule's own class checks them."""
        return dict(self.model_extra or {})


def _as_rule(value: object) -> object:
    return {"rule": value} if isinstance(value, str) else value


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
    rules: list[Annotated[OwnRule, BeforeValidator(_as_rule, json_schema_input_type=str | OwnRule)]] = Field(
        default_factory=list,
        description="Further rules, code of your own: `FILE.py:CLASS`, or {rule: FILE.py:CLASS, OPTION: ...}.",
    )
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
