"""Where to look next: what lies on the edge, and a sweep file that widens the range there and narrows it elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from orchestrator.errors import InputError
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts, listed
from orchestrator.reporting.sweep_report.facts.sweep_files import changed, sweep_yaml
from orchestrator.reporting.sweep_report.layout.blocks import Block, Bullets, Code, Inline, Mono, Section, Strong, note
from orchestrator.reporting.sweep_report.sections.edges import Edge, Side, edge_side, taken
from orchestrator.reporting.text.numbers import number
from orchestrator.results.records import TrialHistory
from orchestrator.spec.search_space.domains import Choice, Domain, Fixed, Integer, Uniform
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.trial.dimensions import space_of_config
from orchestrator.spec.trial.identity import short_number

MOST_METHODS = 4
MOST_STEPPED = 2
"""How many values are proposed beyond an edge."""
LEAST_STEPS = 8
"""Optimizer steps that the largest proposed effective batch leaves in a trial's budget."""


def next_section(facts: SweepFacts, edges: Sequence[Edge]) -> Section | None:
    """Return the edges and the proposal; None while nothing was judged."""
    if facts.best is None:
        return None
    blocks: list[Block] = []
    if edges:
        blocks.append(
            note("Here the best value is the lowest or highest that was allowed, so better ones may lie beyond:")
        )
        blocks.append(Bullets([_told(facts, edge) for edge in edges]))
    else:
        blocks.append(note("Every method's best values lie inside the ranges that were tried."))
    proposal = propose(facts, edges)
    if proposal is None:
        blocks.append(note("No next search space is proposed: beyond these values none are allowed."))
    else:
        blocks.append(note(_what(facts, edges, proposal), " ", Mono("orchestrate validate next.yaml"), " checks it."))
        blocks.append(Code(sweep_yaml(proposal), "next.yaml"))
    return Section("next", "Where to look next", blocks)


def _told(facts: SweepFacts, edge: Edge) -> list[Inline]:
    word = {"low": "lowest", "high": "highest"}[edge.side]
    spans: list[Inline] = [Strong(edge.method), f": {edge.title} {short_number(edge.value)} is the {word} tried"]
    if edge.margin is not None and edge.margin > 0:
        weight = "" if not edge.error else f" ({edge.margin / edge.error:.1f} standard errors)"
        spans.append(f"; it leads the best trial with another value by {number(edge.margin, 2)}{weight}")
    if not edge.matters:
        spans.append("; all trials of this method were stopped, perhaps for being in the wrong range")
    return [*spans, "."]


def _what(facts: SweepFacts, edges: Sequence[Edge], proposal: SweepSpec) -> str:
    kept = list(proposal.search_space.method)
    left = [name for name in facts.methods if name not in kept]
    text = "Proposed: "
    text += "ranges moved past their edges, " if edges else ""
    text += "narrowed around the best value where it lies inside, other hyperparameters at those of the best trial"
    return text + (
        f"; without {listed(left)}, whose best values lie inside or whose trials were stopped." if left else "."
    )


def propose(facts: SweepFacts, edges: Sequence[Edge]) -> SweepSpec | None:
    """Return a sweep file for the next search, valid as it stands; None where no wider range is allowed."""
    methods = _methods(facts, edges)
    bodies = {name: _body(facts, name, edges) for name in methods}
    best = facts.best
    assert best is not None
    own = edge_side(facts.space.effective_batch_size, best.result.config.effective_batch_size)
    top = max(1, facts.budget // LEAST_STEPS)
    size = _moved(
        facts.space.effective_batch_size, best.result.config.effective_batch_size, own, lambda v: 1 <= v <= top
    )
    shared = {key: value for key, value in space_of_config(best.result.config).items() if key not in ("method", "seed")}
    shared["seed"] = facts.space.seed.to_yaml()
    space = {
        "method": bodies,
        **shared,
        "effective_batch_size": size,
        "any_learning_rate": facts.space.any_learning_rate,
    }
    try:
        return changed(facts.spec, name=f"{facts.spec.name}-next", search_space=space)
    except (ValueError, InputError):
        return None


def _methods(facts: SweepFacts, edges: Sequence[Edge]) -> list[str]:
    """Return the methods worth another search: those still in the race, and those stopped at the edge of their range."""
    still = [name for name in facts.methods if any(t.result.config.method == name for t in facts.completed)]
    still = still or list(facts.methods[:1])
    lost = [edge.method for edge in edges if edge.dimension == "learning_rate" and edge.method not in still]
    return list(dict.fromkeys([*still[:MOST_METHODS], *lost[:1]]))


def _body(facts: SweepFacts, method: str, edges: Sequence[Edge]) -> dict[str, object]:
    """Return a method's own domains: its learning rate moved or narrowed, its options at the best trial's values."""
    best = facts.of_method(method)[0]
    body: dict[str, object] = {}
    for name, domain in facts.space.dimensions(method).items():
        if name != "learning_rate" and not name.startswith("option."):
            continue
        side = _side_of(edges, method, name)
        value = taken(best, name)
        allowed = _allowed(facts, best, name)
        kept = name != "learning_rate" and side is None
        if kept or not isinstance(value, (int, float)):
            proposed: object = Fixed(value).to_yaml()
        else:
            proposed = _moved(domain, value, side, allowed)
        body[name.removeprefix("option.")] = proposed
    return body


def _side_of(edges: Sequence[Edge], method: str, dimension: str) -> Side | None:
    return next((edge.side for edge in edges if (edge.method, edge.dimension) == (method, dimension)), None)


def _allowed(facts: SweepFacts, best: TrialHistory, dimension: str) -> Callable[[float], bool]:
    """Return a test of a value of one dimension: whether a sweep file with it, all else as in a trial, is valid."""

    def accept(value: float) -> bool:
        space = space_of_config(best.result.config)
        space["method"][best.result.config.method][dimension.removeprefix("option.")] = value
        try:
            changed(facts.spec, search_space={**space, "any_learning_rate": facts.space.any_learning_rate})
        except (ValueError, InputError):
            return False
        return True

    return accept


def _moved(domain: Domain, value: float, side: Side | None, allowed: Callable[[float], bool]) -> object:
    """Return a domain as written in YAML: moved past the edge on ``side``, else narrowed around ``value``."""
    if isinstance(domain, Uniform):
        return _moved_range(domain, value, side, allowed)
    values = _numbers(domain)
    if values is None or value not in values:
        return Fixed(value).to_yaml()
    found = _beyond(values, value, side, allowed) if side else _between(values, value)
    return found if len(found) > 1 else Fixed(found[0]).to_yaml()


def _numbers(domain: Domain) -> list[float] | None:
    """Return the values of a domain of numbers, rising; of a long whole-number range a few."""
    if isinstance(domain, Integer):
        grid = domain.grid()
        return list(grid) if len(grid) <= 8 else [domain.at(unit) for unit in (0.0, 0.25, 0.5, 0.75, 0.9999)]
    if isinstance(domain, Choice) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in domain.values
    ):
        return sorted(domain.values)
    return None


def _beyond(values: Sequence[float], value: float, side: Side, allowed: Callable[[float], bool]) -> list[float]:
    """Return the edge and up to two values past it, spaced as the last two were."""
    inner = values[1] if side == "low" else values[-2]
    found = [value]
    for _ in range(MOST_STEPPED):
        last = found[-1]
        step = last * value / inner if value > 0 and inner > 0 else last + value - inner
        new = _rounded(step, value)
        if new in found or not allowed(new):
            break
        found.append(new)
    return sorted(found)


def _between(values: Sequence[float], value: float) -> list[float]:
    """Return the value and the middles between it and its neighbours."""
    place = values.index(value)
    neighbours = [values[other] for other in (place - 1, place + 1) if 0 <= other < len(values)]
    middles = [_rounded(math.sqrt(value * v) if value > 0 and v > 0 else (value + v) / 2, value) for v in neighbours]
    return sorted({value, *middles})


def _moved_range(domain: Uniform, value: float, side: Side | None, allowed: Callable[[float], bool]) -> object:
    """Return a range of half the width (on its own scale) around the value, or one that starts inside and ends beyond."""
    width = math.log(domain.high / domain.low) if domain.log else domain.high - domain.low
    below, above = {"low": (0.5, 0.125), "high": (0.125, 0.5), None: (0.25, 0.25)}[side]
    ends = [_shifted(domain, value, -below * width), _shifted(domain, value, above * width)]
    if side is None:
        ends = [max(ends[0], domain.low), min(ends[1], domain.high)]
    low, high = (_rounded(end, 1.0) for end in ends)
    low, high = low if allowed(low) else domain.low, high if allowed(high) else domain.high
    extra = {key: entry for key, entry in domain.to_yaml().items() if key in ("quantum", "points")}
    return {"log_uniform" if domain.log else "uniform": [low, high], **extra}


def _shifted(domain: Uniform, value: float, by: float) -> float:
    return value * math.exp(by) if domain.log else value + by


def _rounded(value: float, like: float) -> float:
    """Return a number with two digits; whole where the numbers beside it are."""
    return round(value) if isinstance(like, int) else float(f"{value:.2g}")
