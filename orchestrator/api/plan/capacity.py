"""Whether the planned trials fit the memory of this machine, and their checkpoints the disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from orchestrator.api.plan.plan import check_memory, planned_trials
from orchestrator.api.plan.preflight import ValidationResult
from orchestrator.spec.sweep import SweepSpec
from orchestrator.storage.sweep_folder import check_storage

# Weights and two optimizer moments in float32: what a checkpoint holds of every trained parameter.
CHECKPOINT_BYTES_PER_PARAMETER = 12
_CHECKPOINT_OVER_WEIGHTS = 3


def check_capacity(validation: ValidationResult, where: str, known: Collection[str] = ()) -> None:
    """Raise unless the planned trials fit the memory of this machine (local clusters) and their checkpoints the disk.

    Args:
        validation: The sweep.
        where: Name of the sweep file for messages.
        known: Trials of earlier sessions: they fitted, and what they need of the disk they have, or had room for.

    Raises:
        CapacityError: If the largest trial does not fit the memory.
        StorageError: If the disk cannot hold a checkpoint of every trial.
    """
    planned, slots, available = planned_trials(validation)
    trials = [trial for trial in planned if trial.trial_id not in known]
    if validation.cluster.about.on_this_machine:
        check_memory(validation.spec, trials, available, slots, where)
    trained = [trial.estimate.trainable_parameters for trial in trials if trial.estimate is not None]
    sizes = sorted((CHECKPOINT_BYTES_PER_PARAMETER * parameters for parameters in trained), reverse=True)
    winner = validation.spec.winner
    repeats = winner.repeats * sum(sizes[: winner.candidates] if winner.candidates > 1 else ())
    check_storage(Path(validation.spec.storage), sum(sizes) + repeats + _waiting_bytes(validation.spec, sizes))


def _waiting_bytes(spec: SweepSpec, sizes: Sequence[int]) -> int:
    """Return what weights that wait for detached evaluation sets may take beside the checkpoints, largest trials first."""
    if not any(entry.detached and entry.when == "milestones" for entry in spec.evaluation):
        return 0
    passed = len(spec.milestones) - 1  # those that a trial trains on from; its last checkpoint is counted already
    weights = [size // _CHECKPOINT_OVER_WEIGHTS for size in sizes for _ in range(passed)]
    return sum(weights[: spec.resources.detached_waiting])
