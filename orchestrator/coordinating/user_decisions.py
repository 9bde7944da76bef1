"""Decisions that users make on single trials, as records with their reason."""

from __future__ import annotations

import time
from collections.abc import Mapping

from orchestrator.records import Action, Decision, Origin, Role, Scalar
from orchestrator.storage.trial_entries import USER, TrialEntry


def asked_by(who: str, moment: float) -> str:
    """Return who asked and when, as a clause; ``moment`` in Unix seconds."""
    return f"{who} asked for it at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(moment))}"


def stop_decision(entry: TrialEntry, asked: str) -> Decision:
    """Return the stop of a trial that a user asked for."""
    where = f"at {entry.samples_seen:,} samples" if entry.samples_seen else "before its first milestone"
    reason = f"Stopped by hand {where}: {asked}. The search goes on as if this trial had never been proposed."
    if not entry.in_search:
        reason = f"Stopped by hand {where}: {asked}."
    return Decision(entry.trial_id, entry.samples_seen, Action.STOP, USER, entry.cohort, reason)


def resume_decision(entry: TrialEntry, asked: str) -> Decision:
    """Return the decision that trains a stopped trial on."""
    stop = entry.verdict
    assert stop is not None
    reason = (
        f"Resumed by hand: {asked}. {stop.rule} had stopped it at {entry.samples_seen:,} samples; it is trained to its "
        "end and judged by nobody."
    )
    evidence: dict[str, Scalar] = {"stop_rule": stop.rule, "stopped_at": entry.samples_seen}
    return Decision(
        entry.trial_id, entry.samples_seen, Action.CONTINUE, Role.RESUMED.value, entry.cohort, reason, evidence
    )


def origin_tags(origin: Origin | None) -> Mapping[str, str]:
    """Return the tags by which MLflow names the trial that another was made from."""
    if origin is None:
        return {}
    return {
        "origin.trial": origin.trial_id,
        "origin.name": origin.name,
        "origin.samples_seen": str(origin.samples_seen),
        "origin.takes": origin.takes,
    }
