"""Completed trials trained on to a larger budget: when that is exact, and the trial that comes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.errors import InputError
from orchestrator.records import Action, Decision, Origin, Role, Scalar, TrialConfig
from orchestrator.spec.trial.batch_plan import BatchPlan
from orchestrator.spec.trial.data_strategies import DATA_STRATEGIES
from orchestrator.spec.trial.identity import digest, trial_fingerprint
from orchestrator.spec.trial.schedules import find_schedule
from orchestrator.storage.journal_records.users import AddedTrialRecord
from orchestrator.storage.trial_entries import TrialEntry

MOST_MILESTONES = 16
_BUDGETED = frozenset({"adalora"})
"""Methods that plan their own course by the number of optimizer steps."""


def inexact(config: TrialConfig, samples: int) -> str:
    """Say why a trial that has trained its budget cannot go on to a larger one as if that had been its budget's course.

    Args:
        config: The trial's configuration, whose budget is used up.
        samples: The larger budget.

    Returns:
        A clause; empty where training goes on exactly.
    """
    if find_schedule(config.schedule).follows_budget:
        return f"its learning rate followed the schedule {config.schedule}, which ended with its budget"
    if config.samples % config.effective_batch_size:
        return "its last optimizer step was cut at its budget, which is no multiple of its effective batch size"
    strategy = DATA_STRATEGIES.get(config.data_strategy)
    if strategy is None or strategy.follows_budget:
        return f"the data strategy {config.data_strategy} lays its data out over the budget"
    if config.method in _BUDGETED:
        return f"the method {config.method} plans its course by the budget"
    longer = BatchPlan(samples, config.effective_batch_size, config.warmup_unit, config.warmup_amount)
    if longer.warmup_steps > config.samples // config.effective_batch_size:
        return "it would still be in the warm-up of the larger budget"
    return ""


def continued_record(
    parent: TrialEntry, samples: int, levels: Sequence[int], restart: bool, asked: str
) -> AddedTrialRecord:
    """Return the trial that trains a completed one on, as the journal holds it.

    Args:
        parent: The completed trial.
        samples: The larger budget, in samples from the parent's beginning.
        levels: Milestones of the sweep, in samples: the distance of the last two is kept.
        restart: Where training cannot go on exactly, start anew from the weights: warm-up, schedule, optimizer and data
            order begin again over the further samples.
        asked: Who asked, and when, as a clause.

    Raises:
        InputError: If it cannot go on exactly, and ``restart`` is not asked for.
    """
    config = parent.config
    why = inexact(config, samples)
    if why and not restart:
        raise InputError(
            "--samples",
            value=parent.name,
            rule=f"this trial cannot go on as if it had the larger budget: {why}",
            mend="--restart-schedule starts anew from its weights over the further samples",
        )
    spacing = levels[-1] - levels[-2] if len(levels) > 1 else levels[-1]
    if not why:
        origin = Origin(parent.trial_id, parent.name, parent.samples_seen, "training")
        longer = replace(config, samples=samples)
        trial_id, name = trial_fingerprint(longer), f"{parent.name} to {samples}"
        reached = milestones(config.samples, samples, spacing)
        how = "goes on with its optimizer, learning rate and data order as if the larger budget had been its own"
    else:
        origin = Origin(parent.trial_id, parent.name, parent.samples_seen, "weights")
        longer = replace(config, samples=samples - config.samples)
        trial_id = digest({"config": longer.as_dict(), "weights": parent.trial_id, "at": parent.samples_seen}, 10)
        name, reached = f"{parent.name} +{longer.samples}", milestones(0, longer.samples, spacing)
        how = f"starts anew from its weights over {longer.samples:,} samples, since {why}"
    reason = f"Trains {parent.name} ({parent.trial_id}) on to {samples:,} samples: {asked}. It {how}. Nobody judges it."
    evidence: dict[str, Scalar] = {"parent": parent.trial_id, "takes": origin.takes, "samples": samples}
    decision = Decision(
        trial_id, parent.samples_seen, Action.CONTINUE, Role.EXTENDED.value, parent.cohort, reason, evidence
    )
    return AddedTrialRecord(
        trial=trial_id,
        name=name,
        config=longer,
        role=Role.EXTENDED,
        origin=origin,
        levels=reached,
        decision=decision,
    )


def milestones(start: int, end: int, spacing: int) -> tuple[int, ...]:
    """Return levels from ``start`` (exclusive) to ``end``, ``spacing`` samples apart, wider where they were too many."""
    gap = max(spacing, math.ceil((end - start) / MOST_MILESTONES))
    return (*range(start + gap, end - gap // 2, gap), end)
