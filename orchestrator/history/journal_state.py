"""A sweep as its folder tells it from any process: entries, plan, whether it runs, and which trials train now."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from orchestrator.errors import StorageError
from orchestrator.history.journal_facts import is_complete, spent_before, standing_plan, sweep_content
from orchestrator.progress import Say, silent
from orchestrator.records import Decision, Outcome
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import SweepPlan
from orchestrator.storage.driver_presence import is_driven
from orchestrator.storage.journal import read_journal
from orchestrator.storage.journal_records.kinds import DecidedRecord
from orchestrator.storage.journal_records.sequence import JournalRecords
from orchestrator.storage.journal_records.sessions import NO_SESSION, SessionEndRecord, SessionRecord
from orchestrator.storage.journal_records.sweeps import SweepRecord
from orchestrator.storage.journal_records.trials import MilestoneRecord
from orchestrator.storage.plugin_files import load_plugins
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry, read_entries
from orchestrator.storage.trial_progress import read_progress

CLOCK_TOLERANCE_SECONDS = 5.0


@dataclass(frozen=True)
class JournalState:
    """What a journal and the files beside it say of a sweep; never writes.

    Attributes:
        status: ``running`` (a driver is alive), ``completed`` or ``interrupted``.
    """

    folder: SweepFolder
    records: JournalRecords
    status: str

    @cached_property
    def first(self) -> SweepRecord:
        """The record with which the sweep began."""
        return next(self.records.of(SweepRecord))

    @cached_property
    def session(self) -> SessionRecord:
        """The record with which the latest session began to train; `NO_SESSION` before the first."""
        return self.records.last(SessionRecord) or NO_SESSION

    @cached_property
    def spec(self) -> SweepSpec:
        """The sweep file; where it ran and was stored are defaults.

        Raises:
            StorageError: If it was written by a version whose files this one cannot read.
        """
        content = {name: value for name, value in sweep_content(self.records).items() if name != "record"}
        try:
            return SweepSpec.model_validate({**content, "storage": str(self.folder.storage)})
        except ValueError as error:  # pydantic's and ours
            lines = [line.strip() for line in str(error).splitlines()]
            raise StorageError(
                str(self.folder.root),
                rule=f"this version cannot read the sweep file in its journal ({' '.join(lines[1:3])})",
                mend="read it with the version that ran it",
            ) from error

    def load_plugins(self, say: Say = silent) -> None:
        """Load the plug-ins that the sweep was run with, as its folder keeps them: before anything is trained or scored.

        Raises:
            StorageError: If one is not there.
            PluginError: If one cannot be loaded here.
        """
        load_plugins(self.folder, self.spec.plugins, say)

    @property
    def compares(self) -> bool:
        """Whether trials are compared at rungs, and some go on."""
        return self.spec.stopping.rungs.enabled and not self.first.content.get("record", False)

    @cached_property
    def plan(self) -> SweepPlan:
        """What the trials share."""
        return standing_plan(self.records)

    @cached_property
    def trials(self) -> dict[str, TrialEntry]:
        """Every trial that was proposed, by id; without a driver none of them is running."""
        entries = read_entries(self.records)
        known = dict(self._latest_epochs())
        for entry in entries.values():
            if entry.outcome in (Outcome.RUNNING, Outcome.PENDING, Outcome.PAUSED):
                entry.outcome = self._outcome(entry, known.get(entry.trial_id, 0))
        return entries

    @property
    def running(self) -> list[TrialEntry]:
        """Trials that train now."""
        return [entry for entry in self.trials.values() if entry.outcome is Outcome.RUNNING]

    @cached_property
    def last_decision(self) -> Decision | None:
        """The latest decision."""
        told = (each.decision for each in reversed(self.records) if isinstance(each, DecidedRecord))
        return next((decision for decision in told if decision is not None), None)

    @property
    def stopping(self) -> bool:
        """A driver does not say that it is about to stop."""
        return False

    @property
    def slots(self) -> int:
        """Trials at once in the latest session."""
        return self.session.slots

    @property
    def elapsed_seconds(self) -> float:
        """Wall seconds of all sessions, the present one up to its last record."""
        return spent_before(self.records, self.records[-1].epoch + 1).wall_seconds

    def _latest_epochs(self) -> list[tuple[str, int]]:
        return [(record.trial, record.epoch) for record in self.records.of(MilestoneRecord)]

    def _outcome(self, entry: TrialEntry, epoch: int) -> Outcome:
        """Tell trials in training from those that wait: who trains is not written before its next milestone."""
        waiting = Outcome.PENDING if entry.outcome is Outcome.RUNNING else entry.outcome
        if self.status != "running":
            return waiting
        if entry.outcome is Outcome.RUNNING and epoch == self.session.epoch:
            return Outcome.RUNNING
        progress = read_progress(self.folder, entry.trial_id)
        begun = self.session.time - CLOCK_TOLERANCE_SECONDS
        ahead = progress.get("samples_seen", 0) > entry.samples_seen and progress.get("time", 0.0) >= begun
        return Outcome.RUNNING if ahead else waiting


def read_state(folder: SweepFolder, records: JournalRecords | None = None) -> JournalState:
    """Return the state of a sweep; ``records`` where the journal has been read already.

    Raises:
        StorageError: If the journal is damaged or holds no sweep.
    """
    found = read_journal(folder.journal) if records is None else records
    if found.first(SweepRecord) is None:
        raise StorageError(
            str(folder.root), rule="no sweep has begun in this folder", mend="check the name and --storage"
        )
    return JournalState(folder, found, _status(folder, found))


def _status(folder: SweepFolder, records: JournalRecords) -> str:
    """Return how it stands: the journal says how a session ended, the driver's sign whether one is under way."""
    if is_driven(folder):
        return "running"
    last = records.last(SessionRecord, SessionEndRecord)
    if not isinstance(last, SessionEndRecord):
        return "interrupted"
    return "interrupted" if last.status == "completed" and not is_complete(records) else last.status
