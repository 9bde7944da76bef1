"""What a sweep file may say about optimizers: names, options, and where the code is. No torch.

An optimizer is one file in `orchestrator.training.optimizers` and one entry here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from orchestrator.errors import SpecError
from orchestrator.hyperparameter import is_number
from orchestrator.plugins.entries import PLUGIN
from orchestrator.plugins.loading import is_absent
from orchestrator.plugins.registry import Registry
from orchestrator.records import Scalar, TrialConfig
from orchestrator.spec.trial.options import Options, check_known, check_options, read_named


@dataclass(frozen=True)
class OptimizerEntry:
    """One optimizer.

    Attributes:
        summary: What it is.
        build: What builds it (`orchestrator.training.optimizers.contract.BuildOptimizer`), as ``package.module:NAME``,
            which is imported where a trial trains, or the function itself.
        state_numbers: Float32 numbers that it keeps per trained parameter, for estimates of memory.
        options: Its own options, besides the rate, betas, epsilon and weight decay that all optimizers are given.
    """

    summary: str
    build: object
    state_numbers: float
    options: Options = field(default_factory=dict)


OPTIMIZERS: dict[str, OptimizerEntry] = {
    "adamw": OptimizerEntry(
        "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
        "orchestrator.training.optimizers.adamw:build_adamw",
        state_numbers=2,
    ),
}
"""Every optimizer of this package that a sweep file can name."""

_ABSENT = OptimizerEntry("an optimizer whose code is not loaded here", PLUGIN, state_numbers=2)
_KNOWN = Registry(OPTIMIZERS, "optimizer", "build", _ABSENT)


def find_optimizer(name: object, where: str = "trial") -> OptimizerEntry:
    """Return the entry of an optimizer.

    Raises:
        SpecError: If there is none of this name.
    """
    return _KNOWN.find("optimizer", name, where)


def read_optimizer(value: object) -> tuple[str, dict[str, Scalar]]:
    """Split an optimizer as a sweep file has it into its name and options; `check_optimizer` checks them.

    Raises:
        ValueError: If it is a mapping without ``name``, or an option has a value that is none.
    """
    # Any name is passed on: a user's own training may know others.
    if not isinstance(value, Mapping):
        return cast(str, value), {}
    name, given = read_named("an optimizer", value, OPTIMIZERS)
    known = _KNOWN.get(name)
    options = {} if known is None else known.options
    read: dict[str, Scalar] = {}
    for key, entry in given.items():
        if not (isinstance(entry, (bool, str)) or is_number(entry)):
            raise ValueError(f"option {key} of an optimizer must be a number, text, true or false, got {entry!r}")
        read[key] = options[key].read(entry) if key in options else entry
    return name, read


def check_optimizer(name: str, options: Mapping[str, Scalar]) -> None:
    """Check that an optimizer exists, and that its options are its own and keep to their rules.

    Raises:
        ValueError: States the value and the rule.
    """
    try:
        entry = find_optimizer(name)
    except SpecError as error:
        mend = f"; {error.mend}" if error.mend else ""
        raise ValueError(f"optimizer {error.rule}, got {name!r}{mend}") from None
    if is_absent("optimizer", name):
        return
    check_known("optimizer", name, options, entry.options)
    check_options("optimizer", name, options, entry.options)


def optimizer_options(config: TrialConfig) -> dict[str, Scalar]:
    """Return all options of a trial's optimizer, those that were not given at their defaults."""
    entry = find_optimizer(config.optimizer)
    return {**{key: option.default for key, option in entry.options.items()}, **config.optimizer_options}
