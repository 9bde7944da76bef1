"""What extends a sweep that has begun: more trials, another search space, trials that a user asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from orchestrator.api.plan.preflight import ValidationResult
from orchestrator.history.find_trial import rebased_setup
from orchestrator.history.journal_facts import standing_plan, standing_record
from orchestrator.history.moved_paths import Whereabouts
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.sweep import SweepSpec, resolved
from orchestrator.spec.sweep_plan import SweepPlan
from orchestrator.spec.trial.identity import digest
from orchestrator.storage.journal_records.sequence import JournalRecords
from orchestrator.storage.journal_records.sweeps import ExtendRecord
from orchestrator.storage.journal_records.users import AddedTrialRecord
from orchestrator.storage.user_actions import ControlAction


@dataclass(frozen=True)
class Extension:
    """What a session trains besides what its sweep holds already.

    Args:
        plan: The numbers that all trials share; its trials count those of the search, old and new.
        added: Trials to add, as the journal holds them.
        actions: What users ask of single trials.
    """

    plan: SweepPlan
    added: tuple[AddedTrialRecord, ...] = ()
    actions: tuple[ControlAction, ...] = ()

    def changes(self, content: Mapping[str, object], records: JournalRecords) -> bool:
        """Whether the sweep becomes another one than its journal says."""
        now = standing_record(records)
        return digest(now.content) != digest(content) or now.plan != self.plan

    def asks(self, content: Mapping[str, object], records: JournalRecords) -> bool:
        """Whether there is anything to do that a complete sweep has not done."""
        return bool(self.added or self.actions) or (bool(records) and self.changes(content, records))


def standing(validation: ValidationResult, records: JournalRecords) -> Extension:
    """Return that nothing is added: the sweep's own plan, or that of the file where it has not begun."""
    return Extension(standing_plan(records) if records else validation.plan)


def as_extended(spec: SweepSpec, records: JournalRecords) -> SweepSpec:
    """Return a sweep file with the search space, searcher and number of trials that its sweep was extended to."""
    if records.first(ExtendRecord) is None:
        return spec
    content, values = standing_record(records).content, dict(resolved(spec))
    values["budget"] = {**values["budget"], "trials": content["budget"]["trials"]}
    return parse_sweep({**values, "search_space": content["search_space"], "searcher": content["searcher"]})


def rebased_spec(spec: SweepSpec, whereabouts: Whereabouts | None) -> SweepSpec:
    """Return a sweep whose paths lead to where model and data are now (see `rebased_setup`); None changes nothing.

    Raises:
        InputError: If a path is gone.
    """
    if whereabouts is None or spec.entrypoint is not None:
        return spec
    setup = rebased_setup(spec.trial_setup, whereabouts)
    if asdict(setup) == asdict(spec.trial_setup):
        return spec
    changed = {
        "model": setup.model,
        "data": setup.data,
        "evaluation": list(setup.evaluation),
        "training": setup.training,
    }
    return spec.model_copy(update=changed)
