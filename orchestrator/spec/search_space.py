"""The search space: methods with their own hyperparameters, and the hyperparameters all methods share.

Conditional by construction: the dimensions of a configuration depend on its method. `dimensions` lists
them, `build_config` turns one value per dimension into a `TrialConfig`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from orchestrator.errors import nearest
from orchestrator.records import TrialConfig
from orchestrator.spec.catalogue import METHODS, check_options, default_learning_rate_range
from orchestrator.spec.domains import KINDS, Domain, DomainField, Fixed, Integer, Uniform
from orchestrator.spec.schedules import SCHEDULES

WARMUP_UNITS = ("steps", "samples", "ratio")
DATA_STRATEGIES = ("stacked", "phased")
OPTIMIZERS = ("adamw",)
# How far outside its method's published range a learning rate may lie before it is taken for a slip.
LEARNING_RATE_SLACK = 1_000.0


def _wrap_mapping(value: Any) -> Any:
    """Let ``warmup: {ratio: 0.03}`` stand for ``{fixed: {ratio: 0.03}}``."""
    if isinstance(value, Mapping) and not any(kind in value for kind in KINDS):
        return {"fixed": dict(value)}
    return value


def _method_table(value: Any) -> Any:
    """Let ``method: full`` and ``method: [full, lora]`` stand for the mapping with empty bodies."""
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, list):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("method lists method names; give a mapping to set a method's hyperparameters")
        return {name: {} for name in value}
    if isinstance(value, Mapping):
        return {name: {} if body is None else body for name, body in value.items()}
    return value


RecordDomain = Annotated[DomainField, BeforeValidator(_wrap_mapping)]
MethodTable = Annotated[dict[str, dict[str, DomainField]], BeforeValidator(_method_table)]


class SearchSpace(BaseModel):
    """Domains of everything that may differ between trials."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: MethodTable = Field(
        description="Methods, each with domains for its own hyperparameters and, as learning_rate, its own range."
    )
    effective_batch_size: DomainField = Field(description="Samples per optimizer step, over all devices.")
    learning_rate: DomainField = Field(
        default=Fixed("auto"), description="Peak learning rate for all methods; auto: each method's own range."
    )
    schedule: RecordDomain = Field(
        default=Fixed("constant"),
        description="Learning-rate schedule: a name (constant, linear, cosine, wsd) or {name: wsd, OPTION: ...}.",
    )
    warmup: RecordDomain = Field(default=Fixed(0), description="0, {steps: n}, {samples: n} or {ratio: share}.")
    optimizer: DomainField = Field(default=Fixed("adamw"), description="Optimizer.")
    beta1: DomainField = Field(default=Fixed(0.9), description="Adam's first decay.")
    beta2: DomainField = Field(default=Fixed(0.95), description="Adam's second decay (the paper: 0.95).")
    epsilon: DomainField = Field(default=Fixed(1e-8), description="Adam's epsilon.")
    weight_decay: DomainField = Field(default=Fixed(0.0), description="Decoupled weight decay.")
    clip_norm: DomainField = Field(default=Fixed(1.0), description="Largest gradient norm; null: no clipping.")
    data_strategy: DomainField = Field(default=Fixed("stacked"), description="stacked or phased.")
    seed: DomainField = Field(default=Fixed(0), description="Seed of data order and initialisation.")
    repeats: int = Field(
        default=1, ge=1, description="Train every configuration this often, with seeds seed, seed+1, ..."
    )
    any_learning_rate: bool = Field(
        default=False, description="Accept learning rates far outside what a method is known to use."
    )

    @field_validator("method")
    @classmethod
    def _known_methods(cls, methods: dict[str, dict[str, Domain]]) -> dict[str, dict[str, Domain]]:
        if not methods:
            raise ValueError("name at least one method, for example: method: [full, lora]")
        for name, body in methods.items():
            if name not in METHODS:
                mend = nearest(name, METHODS)
                raise ValueError(f"unknown method '{name}'; {mend or 'see: orchestrate methods'}")
            check_options(name, {key: _sample_of(domain) for key, domain in body.items() if key != "learning_rate"})
            _check_members(f"{name}.learning_rate", body.get("learning_rate", Fixed("auto")), _is_learning_rate)
        return methods

    @field_validator("effective_batch_size", "seed")
    @classmethod
    def _whole_numbers(cls, domain: Domain, info: ValidationInfo) -> Domain:
        low = 0 if info.field_name == "seed" else 1
        return _check_members(str(info.field_name), domain, lambda v: _whole(v, low), f"a whole number >= {low}")

    @field_validator("learning_rate")
    @classmethod
    def _learning_rates(cls, domain: Domain) -> Domain:
        return _check_members("learning_rate", domain, _is_learning_rate)

    @field_validator("beta1", "beta2")
    @classmethod
    def _betas(cls, domain: Domain, info: ValidationInfo) -> Domain:
        return _check_members(str(info.field_name), domain, lambda v: _real(v) and 0 <= v < 1, "a number in [0, 1)")

    @field_validator("epsilon")
    @classmethod
    def _epsilons(cls, domain: Domain) -> Domain:
        return _check_members("epsilon", domain, lambda v: _real(v) and v > 0, "a number > 0")

    @field_validator("weight_decay")
    @classmethod
    def _decays(cls, domain: Domain) -> Domain:
        return _check_members("weight_decay", domain, lambda v: _real(v) and v >= 0, "a number >= 0")

    @field_validator("clip_norm")
    @classmethod
    def _clips(cls, domain: Domain) -> Domain:
        rule = "a number > 0, or null for no clipping"
        return _check_members("clip_norm", domain, lambda v: v is None or (_real(v) and v > 0), rule)

    @field_validator("optimizer")
    @classmethod
    def _optimizers(cls, domain: Domain) -> Domain:
        return _check_names("optimizer", domain, OPTIMIZERS)

    @field_validator("data_strategy")
    @classmethod
    def _strategies(cls, domain: Domain) -> Domain:
        return _check_names("data_strategy", domain, DATA_STRATEGIES)

    @field_validator("schedule")
    @classmethod
    def _schedules(cls, domain: Domain) -> Domain:
        for value in _members(domain):
            name, _ = read_schedule(value)
            if name not in SCHEDULES:
                raise ValueError(
                    f"unknown schedule {name!r}; one of {', '.join(SCHEDULES)}. {nearest(name, SCHEDULES)}"
                )
        return domain

    @field_validator("warmup")
    @classmethod
    def _warmups(cls, domain: Domain) -> Domain:
        for value in _members(domain):
            read_warmup(value)
        return domain

    @model_validator(mode="after")
    def _rates_fit_methods(self) -> SearchSpace:
        if self.any_learning_rate:
            return self
        for name in self.method:
            low, high = default_learning_rate_range(name)
            domain = self.learning_rate_of(name)
            for value in _members(domain):
                if not low / LEARNING_RATE_SLACK <= value <= high * LEARNING_RATE_SLACK:
                    raise ValueError(
                        f"learning rate {value:g} is not one for method '{name}' (known to use {low:g} to {high:g}); "
                        "correct it, or set search_space.any_learning_rate: true"
                    )
        return self

    def learning_rate_of(self, method: str) -> Domain:
        """Return the domain of a method's learning rate: its own, else the shared one, else the method's default."""
        for domain in (self.method[method].get("learning_rate", Fixed("auto")), self.learning_rate):
            if domain != Fixed("auto"):
                return domain
        low, high = default_learning_rate_range(method)
        return Uniform(low, high, log=True, points=5)

    def dimensions(self, method: str) -> dict[str, Domain]:
        """Return the domains that make up a configuration of ``method``, in a fixed order.

        Names are `TrialConfig` fields, or ``option.NAME`` for the method's own hyperparameters.
        """
        shared = {
            "effective_batch_size": self.effective_batch_size,
            "learning_rate": self.learning_rate_of(method),
            "schedule": self.schedule,
            "warmup": self.warmup,
            "optimizer": self.optimizer,
            "beta1": self.beta1,
            "beta2": self.beta2,
            "epsilon": self.epsilon,
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
            "data_strategy": self.data_strategy,
            "seed": self.seed,
        }
        own = {f"option.{key}": domain for key, domain in sorted(self.method[method].items()) if key != "learning_rate"}
        return {**shared, **own}


def build_config(method: str, values: Mapping[str, Any], samples: int) -> TrialConfig:
    """Turn one value per dimension (see `SearchSpace.dimensions`) into a trial's configuration."""
    schedule, schedule_options = read_schedule(values["schedule"])
    warmup_unit, warmup_amount = read_warmup(values["warmup"])
    options = {key.removeprefix("option."): value for key, value in values.items() if key.startswith("option.")}
    clip_norm = values["clip_norm"]
    return TrialConfig(
        method=method,
        method_options=options,
        effective_batch_size=int(values["effective_batch_size"]),
        learning_rate=float(values["learning_rate"]),
        samples=samples,
        schedule=schedule,
        schedule_options=schedule_options,
        warmup_unit=warmup_unit,
        warmup_amount=warmup_amount,
        optimizer=values["optimizer"],
        beta1=float(values["beta1"]),
        beta2=float(values["beta2"]),
        epsilon=float(values["epsilon"]),
        weight_decay=float(values["weight_decay"]),
        clip_norm=None if clip_norm is None else float(clip_norm),
        data_strategy=values["data_strategy"],
        seed=int(values["seed"]),
    )


def read_schedule(value: Any) -> tuple[str, dict[str, float]]:
    """Split a schedule value into its name and options.

    Raises:
        ValueError: If it is neither a name nor a mapping with ``name``.
    """
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return value["name"], {key: float(entry) for key, entry in value.items() if key != "name"}
    raise ValueError(f"a schedule is a name ({', '.join(SCHEDULES)}) or {{name: ..., OPTION: ...}}, got {value!r}")


def read_warmup(value: Any) -> tuple[str, float]:
    """Split a warm-up value into its unit and amount.

    Raises:
        ValueError: If it is neither 0 nor a mapping with one unit, or the amount is out of range.
    """
    rule = "a warm-up is 0, {steps: n}, {samples: n} or {ratio: share below 1}"
    if _real(value) and value == 0:
        return "steps", 0.0
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError(f"{rule}, got {value!r}")
    unit, amount = next(iter(value.items()))
    if unit not in WARMUP_UNITS:
        raise ValueError(f"{rule}, got {value!r}. {nearest(str(unit), WARMUP_UNITS)}")
    if not _real(amount) or amount < 0 or (unit == "ratio" and amount >= 1):
        raise ValueError(f"{rule}, got {value!r}")
    return unit, float(amount)


def _members(domain: Domain) -> Iterable[Any]:
    """Return the values that stand for a domain: all of a choice, the ends of a range."""
    if isinstance(domain, (Uniform, Integer)):
        return (domain.low, domain.high)
    return domain.grid()


def _sample_of(domain: Domain) -> Any:
    return next(iter(_members(domain)))


def _check_members(
    name: str, domain: Domain, accept: Callable[[Any], bool], rule: str = "a number > 0, or auto"
) -> Domain:
    for value in _members(domain):
        if not accept(value):
            raise ValueError(f"{name} must be {rule}, got {value!r}")
    return domain


def _check_names(name: str, domain: Domain, known: tuple[str, ...]) -> Domain:
    for value in _members(domain):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}. {nearest(str(value), known)}")
    return domain


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_learning_rate(value: Any) -> bool:
    return value == "auto" or (_real(value) and value > 0)
