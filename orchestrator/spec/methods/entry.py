"""The record behind one row of the table of methods: all that is said of a method, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from orchestrator.spec.options.declared import options_of_dataclass
from orchestrator.spec.options.option import OptionInfo

PEFT_ADAPTER = "orchestrator.training.methods.adapters.peft_adapter:PeftMethod"
"""The class of every method that is peft's, driven by its config alone."""

ALL_LINEAR: Mapping[str, object] = {"target_modules": "all-linear"}

FAMILIES: dict[str, str] = {
    "weights": "the model's own weights, all or some",
    "low_rank": "low-rank (or otherwise factorised) change of the weight matrices",
    "orthogonal": "rotation or reflection of the weight matrices",
    "sparse": "few entries or coefficients of the change of the weight matrices",
    "scaling": "vectors only: scales, biases, norms, shared banks of few parameters",
    "prompt": "trainable tokens or key-value prefixes in front of the input",
    "side_network": "small networks beside the frozen model",
}


@dataclass(frozen=True)
class MethodEntry:
    """One method.

    Attributes:
        family: One of `FAMILIES`; also the cohort of early stopping.
        summary: What it trains, in a few words.
        centre: Middle of the default learning-rate range.
        evidence: Where the centre comes from.
        config: Name of the peft config whose fields are options too; empty for methods of this package.
        defaults: Options set unless given, where they differ from the config's own default.
        fixed: Options that define the method and cannot be given.
        starts: Whether the untrained method, with its default options, equals the base model.
        merges: Whether the result folds into plain weights of the base architecture.
        options: Dataclass of the options that are no fields of the config (see `orchestrator.spec.options.declared`).
        exclusive: Options of which only one can be given; a given one takes the others' defaults away.
        own_fields: Fields of peft's configs that belong to this method and to no other.
        needs_task_ids: Whether the finished model must be told a task for each row.
        implementation: Class of `orchestrator.training.methods`, as ``module:Class``, imported when a trial needs it, or
            the class itself.
        open_options: Whether options of any name are taken as they are given.
    """

    family: str
    summary: str
    centre: float
    evidence: str
    config: str = ""
    defaults: Mapping[str, object] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    starts: bool = True
    merges: bool = True
    options: type[object] | None = None
    exclusive: tuple[str, ...] = ()
    own_fields: tuple[str, ...] = ()
    needs_task_ids: bool = False
    implementation: object = PEFT_ADAPTER
    open_options: bool = False

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {self.family!r}")
        if not self.centre > 0:
            raise ValueError(f"centre must be a learning rate above 0, got {self.centre!r}")
        if not self.config and self.implementation == PEFT_ADAPTER:
            raise ValueError("a method without a peft config names its class: implementation='module:Class'")

    @cached_property
    def own_options(self) -> dict[str, OptionInfo]:
        """Options that this package reads, and peft does not."""
        return {} if self.options is None else options_of_dataclass(self.options)

    @property
    def all_defaults(self) -> dict[str, object]:
        """Every option that is set unless given, own options last."""
        own = {name: option.default for name, option in self.own_options.items() if option.default is not None}
        return {**self.defaults, **own}
