"""The registry of rules that `orchestrate replay` knows: ours, plain baselines, and the rivals' own code.

A part of a name that contains a digit is a knob's setting; the rest is the family. The rules of one family are together
a line of the trade-off curve.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from orchestrator.decisions.engine.policy import DEFAULT_POLICY, StoppingPolicy, built_in_rules
from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.decisions.rules.forecast import ForecastRule
from orchestrator.decisions.rules.own import own_rule
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.errors import InputError, nearest
from orchestrator.plugins.code import find_code, is_reference
from orchestrator.plugins.loading import load
from orchestrator.simulation.engine import baselines, ranking
from orchestrator.simulation.engine.engine_scheduler import EngineScheduler
from orchestrator.simulation.engine.scheduler import Scheduler
from orchestrator.simulation.rivals.shared import family

Factory = Callable[[], Scheduler]

ALL = "all"
OURS, BASELINES = "ours", "baselines"

RIVALS: Mapping[str, tuple[str, str, str]] = {
    "ray": ("orchestrator.simulation.rivals.ray_tune", "ray_rules", "ray[tune]"),
    "optuna": ("orchestrator.simulation.rivals.optuna", "optuna_rules", "optuna"),
    "syne": ("orchestrator.simulation.rivals.syne_tune", "syne_rules", "syne-tune"),
}
"""Group -> (module, function that returns name -> factory, package to install). Names begin with the group's."""


@dataclass(frozen=True)
class Rule:
    """A stopping rule by name; ``group`` is ``ours``, ``baselines`` or a key of `RIVALS`."""

    name: str
    group: str
    make: Factory

    @property
    def family(self) -> str:
        """The name without its knobs."""
        return family(self.name)

    @property
    def knob(self) -> str:
        """The knobs' setting, empty when there is none."""
        return "-".join(part for part in self.name.split("-") if part not in self.family.split("-"))


@dataclass(frozen=True)
class Chosen:
    """The rules that were asked for, and what is to be said of those left out."""

    rules: tuple[Rule, ...]
    notes: tuple[str, ...] = ()


def choose_rules(words: Sequence[str]) -> Chosen:
    """Return the rules that words name: rules, families, groups, or ``all``.

    Raises:
        InputError: If a word names nothing (with the nearest name), or a package is missing that it needs.
    """
    own = _own_rules()
    known, missing = list(own), dict[str, InputError]()
    for group in RIVALS:
        if _wanted([word for word in words if not is_reference(word)], group, own):
            try:
                known.extend(_rival_rules(group))
            except ImportError as error:
                missing[group] = error if isinstance(error, InputError) else _missing(group, error)
    chosen: dict[str, Rule] = {}
    for word in words:
        found = [_plugin_rule(word)] if is_reference(word) else _named(word, known, missing)
        chosen.update((rule.name, rule) for rule in found)
    notes = [f"{group} is left out: {error.rule}" for group, error in missing.items()] if ALL in words else []
    return Chosen(tuple(chosen.values()), tuple(notes))


def _plugin_rule(word: str) -> Rule:
    """Return a rule of the user's own, asked after the default ones; its file is meant from the present folder."""
    code = find_code("stopping_rule", word, Path.cwd(), "--rules", "")
    assert code is not None, "a reference is found or refused"
    load(code)
    rule = own_rule(word, {})
    return Rule(rule.name, "own", lambda: EngineScheduler(StoppingPolicy((*built_in_rules(), rule)), rule.name))


def _named(word: str, known: Sequence[Rule], missing: Mapping[str, InputError]) -> list[Rule]:
    found = [rule for rule in known if word in (ALL, rule.name, rule.family, rule.group)]
    # The default is one rule of our group, and the group's name too: the word means the rule.
    found = [rule for rule in found if rule.name == word] or found
    if found:
        return found
    group = _group_of(word)
    if group in missing:
        raise missing[group]
    names = {name for rule in known for name in (rule.name, rule.family, rule.group)}
    raise InputError(
        "--rules",
        "",
        word,
        "no rule, family or group has this name",
        nearest(word, names) or f"groups are {', '.join(sorted({rule.group for rule in known}))}",
    )


def _wanted(words: Sequence[str], group: str, own: Sequence[Rule]) -> bool:
    """Whether a rival's package must be imported to answer; a word that nobody owns may be anybody's."""
    names = {name for rule in own for name in (rule.name, rule.family, rule.group)}
    return any(word == ALL or (word not in names and _group_of(word) in (group, "")) for word in words)


def _group_of(word: str) -> str:
    return next((group for group in RIVALS if word == group or word.startswith(f"{group}-")), "")


def _rival_rules(group: str) -> list[Rule]:
    """Return a rival's rules; raises ImportError when its package is missing."""
    module, function, _ = RIVALS[group]
    factories: Mapping[str, Factory] = getattr(import_module(module), function)()
    # Syne Tune warns of every trial that diverges.
    logging.getLogger("syne_tune").setLevel(logging.ERROR)
    return [Rule(name, group, make) for name, make in factories.items()]


def _missing(group: str, error: ImportError) -> InputError:
    package = RIVALS[group][2]
    return InputError(
        "--rules",
        "",
        group,
        f"the package {package} cannot be imported ({error})",
        f"install it with: pip install '{package}'",
    )


def _own_rules() -> list[Rule]:
    ours = {
        "ours": lambda: EngineScheduler(DEFAULT_POLICY, "ours"),
        **_over("ours-forecast-miss", (0.01, 0.05, 0.1, 0.2), _forecast),
        **_over("ours-rungs-rf", (2, 3, 4), _rungs),
    }
    plain: dict[str, Factory] = {
        "no-stopping": baselines.NoStopping,
        **_over("random-rf", (2, 3, 4, 8), _halving(ranking.at_random)),
        **_over("halving-rf", (2, 3, 4, 8), _halving(ranking.by_objective)),
        **_over("halving-rf4-grace1in", (8, 4), _late_halving),
        **_over("loss-only-rf", (2, 3, 4, 8), _halving(ranking.by_loss)),
        **_over("grad-norm-only-rf", (2, 3, 4, 8), _halving(ranking.by_grad_norm)),
        **_over("top-k-early-k", (1, 2, 3, 5), _one_rung(0.0, ranking.by_objective)),
        **_over("top-k-fifth-k", (1, 2, 3, 5), _one_rung(0.2, ranking.by_objective)),
        **_over("paper-keep", (0.05, 0.1, 0.25, 0.5), _one_rung(0.1, ranking.by_paper)),
        **{name: _null(name, order) for name, order in _NULLS.items()},
    }
    return [
        *(Rule(name, OURS, make) for name, make in ours.items()),
        *(Rule(name, BASELINES, make) for name, make in plain.items()),
    ]


_NULLS = {
    "lowest-rate": baselines.lowest_learning_rate,
    "largest-batch": baselines.largest_batch,
    "lowest-rate-largest-batch": baselines.lowest_rate_of_largest_batch,
}


def _over(stem: str, values: Sequence[float], make: Callable[[str, float], Scheduler]) -> dict[str, Factory]:
    """Return a family: one factory per value of its knob, named by the stem and the value."""
    return {(name := f"{stem}{value:g}"): _bound(make, name, value) for value in values}


def _bound(make: Callable[[str, float], Scheduler], name: str, value: float) -> Factory:
    return lambda: make(name, value)


def _rungs(name: str, factor: float) -> Scheduler:
    """Ours without a forecast; nothing in it looks at training signals."""
    policy = StoppingPolicy((DivergenceRule(), RungRule(reduction_factor=factor)))
    return EngineScheduler(policy, name, with_dynamics=False)


def _forecast(name: str, miss: float) -> Scheduler:
    return EngineScheduler(StoppingPolicy((DivergenceRule(), RungRule(), ForecastRule(miss=miss))), name)


def _halving(order: ranking.Ranking) -> Callable[[str, float], Scheduler]:
    return lambda name, factor: baselines.KeepTop(name, baselines.EveryRung(factor), order)


def _late_halving(name: str, denominator: float) -> Scheduler:
    return baselines.KeepTop(name, baselines.EveryRung(4, 1 / denominator), ranking.by_objective)


def _one_rung(share: float, order: ranking.Ranking) -> Callable[[str, float], Scheduler]:
    return lambda name, keep: baselines.KeepTop(name, baselines.OneRung(share, keep), order)


def _null(name: str, order: Callable[..., tuple[float, ...]]) -> Factory:
    return lambda: baselines.TrainOnly(name, order)
