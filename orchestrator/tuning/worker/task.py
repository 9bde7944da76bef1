"""What a worker must know besides a trial's configuration."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.decisions.rules.rule import StepRule
from orchestrator.settings.trial_setup import EntrypointSettings, TrialSetup
from orchestrator.storage.sweep_folder import SweepFolder


@dataclass(frozen=True)
class WorkerTask:
    """The same for all trials of a sweep.

    ``entrypoint`` is the user's own training code, None where training is built in (``setup``); ``judged`` names the
    metrics that its milestones must report, ``varied`` the dimensions that a trial's name shows. ``keep_weights`` says that
    detached sets score every milestone, so its weights are kept until they have. ``step_rule`` checks every optimizer step.
    """

    setup: TrialSetup
    setup_digest: str
    folder: SweepFolder
    levels: tuple[int, ...]
    step_rule: StepRule | None
    threads: int
    device: str = "auto"
    keep_checkpoints: int = 1
    entrypoint: EntrypointSettings | None = None
    judged: tuple[str, ...] = ()
    varied: frozenset[str] = frozenset()
    keep_weights: bool = False
