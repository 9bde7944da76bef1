"""What is known of a session before Ray is there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.api.plan.preflight import ValidationResult
from orchestrator.api.run.extension import Extension
from orchestrator.progress import Say
from orchestrator.settings.trial_setup import EntrypointSettings, TrialSetup
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import SweepPlan
from orchestrator.storage.sweep_folder import SweepFolder


@dataclass(frozen=True)
class SessionStart:
    """What is known before Ray is there.

    Args:
        validation: The sweep that passed all checks, with the plan that is to be trained.
        folder: Where it is kept.
        content: Its resolved file, by which a sweep is told from another.
        inputs: Digests of what trials read.
        record: Stop nothing and keep all signals.
        started: ``time.monotonic()`` at which the command began.
        say: Receives progress texts.
        extension: What is trained besides.
        trial_setup: What workers train with; its paths lead from the present folder.
    """

    validation: ValidationResult
    folder: SweepFolder
    content: dict[str, object]
    inputs: dict[str, str]
    record: bool
    started: float
    say: Say
    extension: Extension
    trial_setup: TrialSetup

    @property
    def spec(self) -> SweepSpec:
        """The sweep."""
        return self.validation.spec

    @property
    def plan(self) -> SweepPlan:
        """The numbers that all trials share."""
        return self.validation.plan

    @property
    def entrypoint(self) -> EntrypointSettings | None:
        """The entrypoint with the folder in which it was found, wherever workers are."""
        report, given = self.validation.entrypoint, self.spec.entrypoint
        return None if report is None or given is None else replace(given, folder=report.folder)
