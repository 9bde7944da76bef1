"""What must be said of a trial that was made from another one."""

from __future__ import annotations

from orchestrator.records import Origin


def beyond_recipe(origin: Origin | None) -> str:
    """Return the sentences that a trial's recipe does not bring its result about alone; empty where it does.

    A trial that trained on (`Origin.takes` is ``training``) equals one that had the larger budget from its start.
    """
    if origin is None or origin.takes != "weights":
        return ""
    return (
        f"This recipe alone does not bring the result about: the trial started from the weights that {origin.name} "
        f"({origin.trial_id}) had at {origin.samples_seen:,} samples, not from the base model. Train that one first, or "
        "use the trained weights as they are."
    )
