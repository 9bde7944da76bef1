"""The search space of a sweep with an entrypoint: the same words, and free hyperparameters of the user's code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from orchestrator.errors import SpecError
from orchestrator.records import TrialConfig
from orchestrator.spec.methods.catalogue import METHODS, default_learning_rate_range
from orchestrator.spec.reading.complaints import union_tag
from orchestrator.spec.search_space.domains import Choice, Domain, DomainField, Fixed, Uniform
from orchestrator.spec.search_space.search_space import (
    SearchSpace,
    check_learning_rates,
    method_table,
    own_learning_rate,
)
from orchestrator.spec.trial.identity import OWN_METHOD, canonical_json

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_TAKEN = frozenset(field.name for field in fields(TrialConfig)) | {"steps", "warmup", "warmup_steps", "repeats"}

FreeMethodTable = Annotated[
    dict[str, dict[str, DomainField]],
    BeforeValidator(method_table, json_schema_input_type=str | list[str] | dict[str, dict[str, DomainField] | None]),
]


class OwnSearchSpace(SearchSpace):
    """`search_space` of a sweep with an `entrypoint`; fields that are not listed are those of `search_space`."""

    method: FreeMethodTable = Field(
        default={OWN_METHOD: {}},
        description="Names of your own for variants of the training, each with domains for hyperparameters that it alone "
        "has; default: one named `own`.",
    )
    params: dict[str, DomainField] = Field(
        default_factory=dict, description="Free hyperparameters that all methods have, by name."
    )
    optimizer: DomainField = Field(default=Fixed("adamw"), description="Any name that the code knows.")
    data_strategy: DomainField = Field(default=Fixed("stacked"), description="Any name that the code knows.")

    @field_validator("method")
    @classmethod
    def _known_methods(cls, methods: dict[str, dict[str, Domain]]) -> dict[str, dict[str, Domain]]:
        if not methods:
            raise ValueError("name at least one method, or leave it out")
        for name, body in methods.items():
            _check_name(name, "method")
            _check_params({key: domain for key, domain in body.items() if key != "learning_rate"}, f"{name}.")
            if "learning_rate" in body:
                check_learning_rates(body["learning_rate"])
        return methods

    @field_validator("params")
    @classmethod
    def _usable_params(cls, params: dict[str, Domain]) -> dict[str, Domain]:
        _check_params(params)
        return params

    @model_validator(mode="after")
    def _rates_fit_methods(self) -> OwnSearchSpace:
        for name in self.method:
            self.learning_rate_of(name)
        return self

    # Built-in training knows certain names only; here they mean what the user's code makes of them.
    @field_validator("optimizer")
    @classmethod
    def _optimizers(cls, domain: Domain) -> Domain:
        return _check_texts("optimizer", domain)

    @field_validator("data_strategy")
    @classmethod
    def _strategies(cls, domain: Domain) -> Domain:
        return _check_texts("data_strategy", domain)

    def learning_rate_of(self, method: str) -> Domain:
        """Return the domain of a method's learning rate: its own, else the shared one, else that of a built-in namesake.

        Raises:
            SpecError: If none is given and no built-in method has this name.
        """
        for domain in (own_learning_rate(self.method[method]), self.learning_rate):
            if domain is not None and domain != Fixed("auto"):
                return domain
        if method not in METHODS:
            raise SpecError(
                "",
                "learning_rate",
                None,
                f"method '{method}' has no default range of learning rates",
                "give a value, a list or a range",
            )
        low, high = default_learning_rate_range(method)
        return Uniform(low, high, log=True, points=5)

    def dimensions(self, method: str) -> dict[str, Domain]:
        """Return the domains that make up a configuration, free hyperparameters as ``option.NAME``."""
        found = super().dimensions(method)
        shared = {f"option.{key}": domain for key, domain in self.params.items()}
        free = {**shared, **{key: domain for key, domain in found.items() if key.startswith("option.")}}
        return {**{key: found[key] for key in found if key not in free}, **dict(sorted(free.items()))}


class OwnValues(dict[str, object]):
    """The raw values of a search space that stands beside an entrypoint; chooses `OwnSearchSpace`."""


_BUILT_IN, _OWN = union_tag("built in"), union_tag("own")


def _kind(value: object) -> str:
    return _OWN if isinstance(value, (OwnValues, OwnSearchSpace)) else _BUILT_IN


class _EitherInSchema:
    """Makes the schema ask for either member: most search spaces are valid as both, which ``oneOf`` would refuse."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        return {"anyOf": schema["oneOf"]}


AnySearchSpace = Annotated[
    Annotated[SearchSpace, Tag(_BUILT_IN)] | Annotated[OwnSearchSpace, Tag(_OWN)],
    Discriminator(_kind),
    _EitherInSchema(),
]
"""Either search space; which one is said by `OwnValues`, since values alone do not tell."""


def _check_params(params: Mapping[str, Domain], prefix: str = "") -> None:
    for name, domain in params.items():
        _check_name(name, "hyperparameter")
        if name in _TAKEN:
            raise SpecError(
                "",
                f"{prefix}{name}",
                None,
                "this name is a field of search_space and means that",
                f"give {name} directly under search_space, or choose another name",
            )
        if isinstance(domain, (Fixed, Choice)):
            _check_values(f"{prefix}{name}", domain)


def _check_values(name: str, domain: Fixed | Choice) -> None:
    for value in domain.grid():
        try:
            canonical_json(value)
        except (TypeError, ValueError):
            raise SpecError(
                "",
                name,
                str(value),
                "must be a number, text, true, false, null, or a list or mapping of these",
                "put quotes round dates and other special words",
            ) from None


def _check_texts(name: str, domain: Domain) -> Domain:
    for value in domain.grid() or (None,):
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be text, got {value!r}")
    return domain


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"a {what} is named with letters, digits, '_', '-' and '.', starting with a letter, got {name!r}"
        )
