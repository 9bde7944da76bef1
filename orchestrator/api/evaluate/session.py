"""The model and data of ``evaluate``, loaded only where something has to be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.history.find_trial import rebased_setup
from orchestrator.history.journal_state import JournalState
from orchestrator.history.moved_paths import Whereabouts
from orchestrator.progress import Say
from orchestrator.settings.trial_setup import EvaluationSet, TrialSetup

if TYPE_CHECKING:
    from orchestrator.training.setup.session import TrainingSession


def setup_of(state: JournalState, asked: Sequence[EvaluationSet], own: bool) -> TrialSetup:
    """Return the setup of a sweep with the asked sets; paths of the sweep's own lead from where it was run.

    Raises:
        InputError: If a path of the sweep is gone.
    """
    placed = rebased_setup(
        replace(state.spec.trial_setup, evaluation=tuple(asked) if own else ()), Whereabouts.of(state)
    )
    return placed if own else replace(placed, evaluation=tuple(asked))


@dataclass(frozen=True)
class LazySession:
    """A training session that is opened when it is first needed: torch and transformers alone take seconds."""

    setup: TrialSetup
    cache: Path
    device: str
    threads: int | None
    say: Say

    def open(self) -> TrainingSession:
        """Read model and data, and check the sets, the first time it is called.

        Raises:
            InputError: If anything about them is wrong, or a judge does not answer.
        """
        return self._session

    @cached_property
    def _session(self) -> TrainingSession:
        from orchestrator.training.evaluations import scorers
        from orchestrator.training.setup.session import TrainingSession

        self.say("Reading model and data ...")
        session = TrainingSession(self.setup, self.cache, device=self.device, threads=self.threads)
        for entry in session.parts.sets:
            scorers.check(entry)
        return session
