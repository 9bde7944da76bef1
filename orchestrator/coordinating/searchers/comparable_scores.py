"""What is known of a sweep's configurations, made comparable though they were trained to different milestones."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.sweep import ObjectiveSpec

# A milestone that fewer configurations have reached says more about these than about the milestone.
MIN_SCORED = 3
# How far behind the worst seen a broken configuration counts, in spreads of the losses seen.
BROKEN_MARGIN = 0.25
BROKEN = frozenset({Outcome.DIVERGED, Outcome.FAILED})

Losses = tuple[float, ...]
"""One finite number per objective, smaller is better."""
Column = list[float | None]
"""Per configuration one objective's loss; infinite: as bad as can be; None: nothing known."""


@dataclass
class Known:
    """A configuration and everything heard of it.

    ``parameters`` are those of the configuration that this one repeats (its own otherwise). ``scores`` are by
    milestone, in samples.
    """

    config: TrialConfig
    parameters: Mapping[str, object]
    outcome: Outcome = Outcome.PENDING
    scores: dict[int, Mapping[str, float]] = field(default_factory=dict)


def comparable_losses(known: Sequence[Known], objectives: Sequence[ObjectiveSpec], startup: int) -> list[Losses | None]:
    """Return a loss per objective for every configuration, all at one fidelity; None where nothing can be said yet.

    Each configuration counts with its scores at the deepest milestone it has reached. Those of shallower
    milestones are moved to the deepest one by the median change of the configurations that went on (why:
    docs/decisions/2026-11-21-searchers-learn-at-milestones.md). Diverged and failed configurations, and scores
    that are no numbers, count as somewhat worse than the worst seen; a stopped configuration counts as the worst
    seen by an objective that it was not measured by.

    Args:
        known: Configurations.
        objectives: What is optimised. While too few configurations have scores of all of them (a metric that is
            measured at the end only), those with enough scores are used alone.
        startup: How many configurations are enough.

    Returns:
        One entry per configuration; all have the same length, or all are None.
    """
    columns = [_column(known, objective) for objective in objectives]
    if not _enough(columns, startup):
        columns = [column for column in columns if _enough([column], startup)]
    if not columns:
        return [None] * len(known)
    return _rows(known, columns)


def _rows(known: Sequence[Known], columns: Sequence[Column]) -> list[Losses | None]:
    finite = [[loss for loss in column if _is_finite(loss)] for column in columns]
    worst = [max(losses) for losses in finite]
    broken = [high + (BROKEN_MARGIN * (high - min(losses)) or 1.0) for high, losses in zip(worst, finite, strict=True)]
    rows: list[Losses | None] = []
    for entry, losses in zip(known, zip(*columns, strict=True), strict=True):
        waiting = None in losses and entry.outcome is not Outcome.STOPPED
        filled = (_filled(loss, *ends) for loss, *ends in zip(losses, worst, broken, strict=True))
        rows.append(None if waiting else tuple(filled))
    return rows


def _filled(loss: float | None, worst: float, broken: float) -> float:
    return worst if loss is None else min(loss, broken)


def _enough(columns: Sequence[Column], startup: int) -> bool:
    """Whether enough configurations are known by all these objectives, and not only as broken ones."""
    rows = [losses for losses in zip(*columns, strict=True) if None not in losses]
    finite = sum(all(map(_is_finite, losses)) for losses in rows)
    return len(rows) >= startup and finite >= min(startup, MIN_SCORED)


def _column(known: Sequence[Known], objective: ObjectiveSpec) -> Column:
    tables = [
        {level: loss for level, scores in entry.scores.items() if (loss := _loss(objective, scores)) is not None}
        for entry in known
    ]
    shifts = _shifts(tables)
    column: Column = []
    for entry, table in zip(known, tables, strict=True):
        deepest = max((level for level in table if level in shifts), default=None)
        if entry.outcome in BROKEN or any(math.isinf(loss) for loss in table.values()):
            column.append(math.inf)
        else:
            column.append(None if deepest is None else table[deepest] + shifts[deepest])
    return column


def _shifts(tables: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return, for every milestone with enough scores, the change of the loss from there to the deepest of them."""
    counts = Counter(level for table in tables for level in table)
    levels = [level for level in sorted(counts) if counts[level] >= MIN_SCORED] or sorted(counts)[:1]
    shifts = dict.fromkeys(levels[-1:], 0.0)
    for level, deeper in reversed(list(itertools.pairwise(levels))):
        changes = [table[deeper] - table[level] for table in tables if level in table and deeper in table]
        finite = [change for change in changes if math.isfinite(change)]
        shifts[level] = shifts[deeper] + (statistics.median(finite) if finite else 0.0)
    return shifts


def _loss(objective: ObjectiveSpec, scores: Mapping[str, float]) -> float | None:
    """Return the objective turned so that less is better; None where a metric is missing, infinite for no number."""
    if any(name not in scores for name in objective.weights):
        return None
    value = sum(weight * scores[name] for name, weight in objective.weights.items())
    if not math.isfinite(value):
        return math.inf
    return value if objective.mode == "min" else -value


def _is_finite(loss: float | None) -> TypeGuard[float]:
    return loss is not None and math.isfinite(loss)
