"""The options of the stopping rules that a sweep file has a section for; each is declared here and nowhere else.

Standard-library dataclasses, as in `orchestrator.settings.trial_setup`; pydantic validates the very same classes. What a
rule does stands in `orchestrator.decisions.rules`, in a class that inherits its options from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orchestrator.errors import SpecError
from orchestrator.settings.bounds import check_bounds
from orchestrator.settings.data import CLOSED, about


@dataclass(frozen=True)
class DivergenceSpec:
    """Stop trials that blow up; checked after every optimizer step."""

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    enabled: bool = field(default=True, metadata=about("Whether the rule runs."))
    loss_margin: float = field(
        default=1.5,
        metadata=about(
            "Stop when the smoothed loss is this many nats above its start, and at least 1.25 times it.", gt=0
        ),
    )
    grad_norm_factor: float = field(
        default=100.0,
        metadata=about("Stop when the gradient norm stays this many times above its running median.", gt=1),
    )

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True)
class RungsSpec:
    """Successive halving on the objective's own held-out metric, in samples seen, within cohorts."""

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    enabled: bool = field(default=True, metadata=about("Whether the rule runs."))
    reduction_factor: float = field(
        default=2.0, metadata=about("One in this many trials passes each rung, where the forecast is off.", gt=1)
    )
    levels: list[float] = field(
        default_factory=list,
        metadata=about("Milestones that are rungs, as shares of the budget; default: all but the last."),
    )
    quota_per_method: int = field(
        default=1,
        metadata=about("Trials every method keeps at a rung until its best learning rate is bracketed.", ge=0),
    )
    cohort: Literal["sweep", "family", "method"] = field(
        default="sweep",
        metadata=about(
            "Trials compared with each other: all, those of one method family, or of one method. Held-out "
            "metrics compare across methods, so sweep is the default."
        ),
    )

    def __post_init__(self) -> None:
        check_bounds(self)
        if any(not 0 < level < 1 for level in self.levels):
            rule = f"rung levels are shares of the budget between 0 and 1 (exclusive), got {self.levels}"
            raise SpecError("", "levels", self.levels, rule)


@dataclass(frozen=True)
class ForecastSpec:
    """Compare trials by their expected final objective: those go on that may still end best."""

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    enabled: bool = field(
        default=True,
        metadata=about(
            "Whether the forecast compares trials at the rungs; else the rungs' fixed reduction_factor does."
        ),
    )
    miss: float = field(
        default=0.05,
        metadata=about(
            "Tolerated probability, at each milestone, that the best trial is not among those that go on.", gt=0, lt=1
        ),
    )
    tolerance: float = field(
        default=0.0,
        metadata=about(
            "Tolerated regret in units of the objective: a trial that ends this close to the best counts as the best.",
            ge=0,
        ),
    )
    weights: str | None = field(
        default=None,
        metadata=about("Weights fitted on your own sweeps (orchestrate fit-forecast); default: the shipped ones."),
    )

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True)
class EarlyDynamicsSpec:
    """The rule of arXiv 2412.13337: lower gradient norm and higher training loss early mark the better model."""

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    enabled: bool = field(
        default=False,
        metadata=about(
            "Whether the rule runs. Off by default: for in-distribution objectives its loss half has the "
            "opposite sign (docs/stopping.md)."
        ),
    )
    share: float = field(
        default=0.25, metadata=about("Judge trials at the first milestone past this share.", gt=0, le=1)
    )
    drop: float = field(default=0.25, metadata=about("Share of the cohort that the rule may stop.", gt=0, lt=1))
    min_cohort: int = field(default=4, metadata=about("Smallest cohort in which the rule judges.", ge=2))

    def __post_init__(self) -> None:
        check_bounds(self)
