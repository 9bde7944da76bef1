"""The search space: methods with their own hyperparameters, and the hyperparameters all methods share.

Conditional by construction: the dimensions of a configuration depend on its method. `dimensions` lists
them, and `orchestrator.spec.trial.dimensions.build_config` turns one value per dimension into a `TrialConfig`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)

from orchestrator.errors import SpecError
from orchestrator.plugins.loading import is_absent, loaded
from orchestrator.records import HYPERPARAMETERS, TrialConfig
from orchestrator.spec.methods.catalogue import check_options, default_learning_rate_range, method_info
from orchestrator.spec.search_space.domains import DOMAIN_SCHEMA, KINDS, Domain, DomainField, Fixed, Integer, Uniform
from orchestrator.spec.trial.data_strategies import DATA_STRATEGIES, find_data_strategy
from orchestrator.spec.trial.dimensions import DIMENSIONS, read_warmup
from orchestrator.spec.trial.optimizers import OPTIMIZERS, check_optimizer, read_optimizer
from orchestrator.spec.trial.schedules import SCHEDULES, check_written_schedule

# How far outside its method's published range a learning rate may lie before it is taken for a slip.
LEARNING_RATE_SLACK = 1_000.0


def _wrap_mapping(value: object) -> object:
    """Let ``warmup: {ratio: 0.03}`` stand for ``{fixed: {ratio: 0.03}}``."""
    if isinstance(value, Mapping) and not any(kind in value for kind in KINDS):
        return {"fixed": dict(value)}
    return value


def method_table(value: object) -> object:
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


# While no optimizer has options, the schema does not offer any.
_OPTIMIZER_SCHEMA = _RECORD_SCHEMA if any(entry.options for entry in OPTIMIZERS.values()) else DOMAIN_SCHEMA
OptimizerDomain = Annotated[DomainField, BeforeValidator(_wrap_mapping), WithJsonSchema(_OPTIMIZER_SCHEMA)]

Model = TypeVar("Model", bound=BaseModel)


def with_numbers(model: type[Model]) -> type[Model]:
    """Give a model a field for every number of `TrialConfig` with a default; ``seed`` is stated where it stands."""
    stated: dict[str, Any] = {
        each.name: (DomainField, Field(default=Fixed(each.default), description=HYPERPARAMETERS[each.name].about))
        for each in fields(TrialConfig)
        if each.name in HYPERPARAMETERS and each.default is not MISSING and each.name != "seed"
    }
    made: type[Model] = create_model(model.__name__, __base__=model, __module__=model.__module__, **stated)
    return made


@with_numbers
class _FirstFields(BaseModel):
    """The first fields of a search space; the numbers follow."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: MethodTable = Field(
        description="Methods, each with domains for its own hyperparameters and, as learning_rate, its own range."
    )
    effective_batch_size: DomainField = Field(description=HYPERPARAMETERS["effective_batch_size"].about)
    learning_rate: DomainField = Field(default=Fixed("auto"), description=HYPERPARAMETERS["learning_rate"].about)
    schedule: RecordDomain = Field(
        default=Fixed("constant"),
        description=f"Learning-rate schedule: a name ({', '.join(SCHEDULES)}) or {{name: wsd, OPTION: ...}}.",
    )
    warmup: RecordDomain = Field(default=Fixed(0), description="0, {steps: n}, {samples: n} or {ratio: share}.")
    optimizer: OptimizerDomain = Field(default=Fixed("adamw"), description="Optimizer.")


class SearchSpace(_FirstFields):
    """Domains of everything that may differ between trials."""

    data_strategy: DomainField = Field(default=Fixed("stacked"), description=f"{' or '.join(DATA_STRATEGIES)}.")
    seed: DomainField = Field(default=Fixed(0), description=HYPERPARAMETERS["seed"].about)
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

    @field_validator(*(name for name in HYPERPARAMETERS if name != "learning_rate"))
    @classmethod
    def _numbers(cls, domain: Domain, info: ValidationInfo) -> Domain:
        name = str(info.field_name)
        return _check_members(name, domain, HYPERPARAMETERS[name].accepts, HYPERPARAMETERS[name].rule)

    @field_validator("learning_rate")
    @classmethod
    def _learning_rates(cls, domain: Domain) -> Domain:
        return check_learning_rates(domain)

    @field_validator("schedule")
    @classmethod
    def _schedules(cls, domain: Domain) -> Domain:
        for value in _members(domain):
            check_written_schedule(value)
        return domain

    @field_validator("warmup")
    @classmethod
    def _warmups(cls, domain: Domain) -> Domain:
        for value in _members(domain):
            read_warmup(value)
        return domain

    @field_validator("optimizer")
    @classmethod
    def _optimizers(cls, domain: Domain) -> Domain:
        for value in _members(domain):
            check_optimizer(*read_optimizer(value))
        return domain

    @field_validator("data_strategy")
    @classmethod
    def _strategies(cls, domain: Domain) -> Domain:
        for value in _members(domain):
            try:
                find_data_strategy(value)
            except SpecError as error:
                mend = f"; {error.mend}" if error.mend else ""
                raise ValueError(f"data_strategy {error.rule}, got {value!r}{mend}") from None
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
        shared: dict[str, Domain] = {name: getattr(self, name) for name in DIMENSIONS}
        shared["learning_rate"] = self.learning_rate_of(method)
        own = {f"option.{key}": domain for key, domain in sorted(self.method[method].items()) if key != "learning_rate"}
        return {**shared, **own}


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
    rate = HYPERPARAMETERS["learning_rate"]
    return _check_members("learning_rate", domain, rate.accepts, f"{rate.rule}, or auto alone")


def _check_members(name: str, domain: Domain, accept: Callable[[object], bool], rule: str) -> Domain:
    for value in _members(domain):
        if not accept(value):
            raise ValueError(f"{name} must be {rule}, got {value!r}")
    return domain
