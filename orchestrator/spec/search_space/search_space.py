"""The search space: methods with their own hyperparameters, and the hyperparameters all methods share.

Conditional by construction: the dimensions of a configuration depend on its method. `dimensions` lists
them, `build_config` turns one value per dimension into a `TrialConfig`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from orchestrator.errors import SpecError, nearest
from orchestrator.plugins.loading import is_absent, loaded
from orchestrator.records import TrialConfig
from orchestrator.spec.methods.catalogue import check_options, default_learning_rate_range, method_info
from orchestrator.spec.search_space.domains import DOMAIN_SCHEMA, KINDS, Domain, DomainField, Fixed, Integer, Uniform
from orchestrator.spec.trial.schedules import SCHEDULES, check_schedule

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


def method_table(value: Any) -> Any:
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


# Besides domains of records, a bare record such as {ratio: 0.03}.
_RECORD_SCHEMA: dict[str, Any] = {
    **DOMAIN_SCHEMA,
    "anyOf": [*DOMAIN_SCHEMA["anyOf"], {"type": "object", "additionalProperties": {"type": ["string", "number"]}}],
}
RecordDomain = Annotated[DomainField, BeforeValidator(_wrap_mapping), WithJsonSchema(_RECORD_SCHEMA)]
MethodTable = Annotated[
    dict[str, dict[str, DomainField]],
    BeforeValidator(method_table, json_schema_input_type=str | list[str] | dict[str, dict[str, DomainField] | None]),
]


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
            try:
                method_info(name)
            except SpecError as error:
                raise SpecError("", name, None, error.rule, error.mend) from None
            _check_method(name, body)
        return methods

    @field_validator("effective_batch_size", "seed")
    @classmethod
    def _whole_numbers(cls, domain: Domain, info: ValidationInfo) -> Domain:
        low = 0 if info.field_name == "seed" else 1
        return _check_members(str(info.field_name), domain, lambda v: _whole(v, low), f"a whole number >= {low}")

    @field_validator("learning_rate")
    @classmethod
    def _learning_rates(cls, domain: Domain) -> Domain:
        return check_learning_rates(domain)

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
            name, options = read_schedule(value)
            if name not in SCHEDULES:
                mend = nearest(name, SCHEDULES) or f"known: {', '.join(SCHEDULES)}"
                raise ValueError(f"there is no schedule {name!r}; {mend}")
            unknown = next((key for key in options if key not in SCHEDULES[name]), None)
            if unknown is not None:
                known = ", ".join(SCHEDULES[name])
                mend = nearest(unknown, SCHEDULES[name]) or (f"it takes {known}" if known else "it takes no options")
                raise ValueError(f"schedule {name!r} has no option {unknown!r}; {mend}")
            check_schedule(name, options)
        return domain

    @field_validator("warmup")
    @classmethod
    def _warmups(cls, domain: Domain) -> Domain:
        for value in _members(domain):
            read_warmup(value)
        return domain

    @model_validator(mode="after")
    def _plugins_tell_their_rates(self) -> SearchSpace:
        # Written down, so that a sweep that is read back without the plug-in's code still knows what it searched.
        for name, body in self.method.items():
            if loaded("method", name) is not None:
                body["learning_rate"] = self.learning_rate_of(name)
        return self

    @model_validator(mode="after")
    def _rates_fit_methods(self) -> SearchSpace:
        if self.any_learning_rate:
            return self
        for name in self.method:
            if is_absent("method", name):
                continue
            low, high = default_learning_rate_range(name)
            field = f"method.{name}.learning_rate" if own_learning_rate(self.method[name]) else "learning_rate"
            for value in _members(self.learning_rate_of(name)):
                if not low / LEARNING_RATE_SLACK <= value <= high * LEARNING_RATE_SLACK:
                    raise SpecError(
                        "",
                        field,
                        value,
                        f"this is no learning rate for method '{name}', known to use {low:g} to {high:g}",
                        "correct it, or set search_space.any_learning_rate: true",
                    )
        return self

    def learning_rate_of(self, method: str) -> Domain:
        """Return the domain of a method's learning rate: its own, else the shared one, else the method's default."""
        for domain in (own_learning_rate(self.method[method]), self.learning_rate):
            if domain is not None and domain != Fixed("auto"):
                return domain
        low, high = default_learning_rate_range(method)
        return Uniform(low, high, log=True, points=5)

    @property
    def varied(self) -> frozenset[str]:
        """Names of the dimensions that differ between trials, whatever the method."""
        return frozenset(
            name
            for method in self.method
            for name, domain in self.dimensions(method).items()
            if not isinstance(domain, Fixed)
        )

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
        options = {key: entry for key, entry in value.items() if key != "name"}
        wrong = next((key for key, entry in options.items() if not _real(entry)), None)
        if wrong is not None:
            raise ValueError(f"option {wrong} of a schedule must be a number, got {options[wrong]!r}")
        return value["name"], {key: float(entry) for key, entry in options.items()}
    raise ValueError(f"a schedule is a name ({', '.join(SCHEDULES)}) or {{name: ..., OPTION: ...}}, got {value!r}")


def read_warmup(value: Any) -> tuple[str, float]:
    """Split a warm-up value into its unit and amount.

    Raises:
        ValueError: If it is neither 0 nor a mapping with one unit, or the amount is out of range.
    """
    rule = "a warm-up is 0, {steps: n}, {samples: n} (whole numbers) or {ratio: share below 1}"
    if _real(value) and value == 0:
        return "steps", 0.0
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError(f"{rule}, got {value!r}")
    unit, amount = next(iter(value.items()))
    if unit not in WARMUP_UNITS:
        raise ValueError(f"{rule}, got {value!r}; {nearest(str(unit), WARMUP_UNITS)}".rstrip("; "))
    if not _real(amount) or amount < 0 or (amount >= 1 if unit == "ratio" else amount != int(amount)):
        raise ValueError(f"{rule}, got {value!r}")
    return unit, float(amount)


def _members(domain: Domain) -> Iterable[Any]:
    """Return the values that stand for a domain: all of a choice, the ends of a range."""
    if isinstance(domain, (Uniform, Integer)):
        return (domain.low, domain.high)
    return domain.grid()


def own_learning_rate(body: Mapping[str, Domain]) -> Domain | None:
    """Return the learning rate that a method's body names; None where it names none or ``auto``."""
    domain = body.get("learning_rate")
    return None if domain == Fixed("auto") else domain


def _check_method(name: str, body: Mapping[str, Domain]) -> None:
    """Check a method's own domains: every value of each, the others at their first value."""
    domains = {key: domain for key, domain in body.items() if key != "learning_rate"}
    firsts = {key: next(iter(_members(domain))) for key, domain in domains.items()}
    check_options(name, firsts)
    for key, domain in domains.items():
        # The point inside tells a range of real numbers from one whose ends happen to be whole.
        inside = (domain.at(0.37),) if isinstance(domain, Uniform) else ()
        for value in (*_members(domain), *inside):
            check_options(name, {**firsts, key: value})
    own = body.get("learning_rate")
    if own is not None:
        try:
            check_learning_rates(own)
        except ValueError as error:
            raise SpecError("", f"{name}.learning_rate", own.to_yaml(), str(error)) from None


def check_learning_rates(domain: Domain) -> Domain:
    """Return a domain of learning rates.

    Raises:
        ValueError: If a value is neither a number above 0 nor ``auto`` alone.
    """
    if domain == Fixed("auto"):
        return domain
    return _check_members("learning_rate", domain, lambda v: _real(v) and v > 0, "a number > 0, or auto alone")


def _check_members(name: str, domain: Domain, accept: Callable[[Any], bool], rule: str) -> Domain:
    for value in _members(domain):
        if not accept(value):
            raise ValueError(f"{name} must be {rule}, got {value!r}")
    return domain


def _check_names(name: str, domain: Domain, known: tuple[str, ...]) -> Domain:
    for value in _members(domain):
        if value not in known:
            mend = nearest(str(value), known)
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}" + (f"; {mend}" if mend else ""))
    return domain


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low
