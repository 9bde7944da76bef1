"""The driver's side of control: takes actions up on its turn, has the coordinator carry them out, and answers."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from orchestrator.coordinating.clones import clone_record, take_checkpoint
from orchestrator.coordinating.coordinator import Coordinator
from orchestrator.coordinating.user_decisions import asked_by
from orchestrator.errors import InputError, nearest
from orchestrator.records import Outcome
from orchestrator.spec.sweep import SweepSpec
from orchestrator.storage.journal import Journal
from orchestrator.storage.journal_records.users import ActionRecord, ActionState
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry
from orchestrator.storage.user_actions import KINDS, ControlAction, forget_action, waiting_actions
from orchestrator.tracking.tracker import AskedAction, Tracker

TURN_SECONDS = 1.0
MLFLOW = "a tag in MLflow"


@dataclass
class Controls:
    """Carries out what users ask of a sweep's trials.

    Args:
        coordinator: The sweep's state.
        journal: Keeps every action with its answer.
        folder: Where commands leave actions.
        tracker: Brings the actions that were set as tags, and takes their answers.
        say: Prints a line for the user.
        spec: The sweep, whose rules clones keep.
    """

    coordinator: Coordinator
    journal: Journal
    folder: SweepFolder
    tracker: Tracker
    say: Callable[[str], None]
    spec: SweepSpec
    _turned: float = float("-inf")
    _known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._known = {record.id for record in self.journal.records.of(ActionRecord)}

    def turn(self) -> None:
        """Take up what has come, at most once a second."""
        now = time.monotonic()
        if now - self._turned >= TURN_SECONDS:
            self._turned = now
            self.take_all()

    def take_all(self) -> None:
        """Take up everything that waits."""
        for action in waiting_actions(self.folder):
            # One that is in the journal was taken up by a driver that was killed before it could remove the file.
            if action.action_id not in self._known:
                self._take(action)
            forget_action(self.folder, action.action_id)
        for told in self.tracker.asked_actions():
            self._take_tag(told)

    # -- inside ----------------------------------------------------------------------------------

    def _take_tag(self, told: AskedAction) -> None:
        try:
            action = parse_tag(told)
        except InputError as error:
            answer = str(error)
            asked = {"trial": told.trial_id, "text": told.text, "who": MLFLOW}
            self.journal.append(ActionRecord(id="", asked=asked, state="refused", answer=answer))
            self.tracker.answer_action(told.trial_id, f"refused: {answer}")
            return
        state, answer = self._take(action)
        self.tracker.answer_action(told.trial_id, f"{'refused' if state == 'refused' else 'done'}: {answer}")

    def _take(self, action: ControlAction) -> tuple[ActionState, str]:
        """Carry an action out, journal it and say so; returns its state and the answer."""
        self._known.add(action.action_id)
        try:
            state, answer = self._carry_out(action)
        except InputError as error:
            state, answer = "refused", str(error)
            self.journal.append(action.record(state, answer))
        self.say(
            f"{action.kind} asked by {action.who}: {answer}"
            if state != "refused"
            else f"refused {action.kind}: {answer}"
        )
        return state, answer

    def _carry_out(self, action: ControlAction) -> tuple[ActionState, str]:
        entry = self.coordinator.trials.get(action.trial)
        if entry is None:
            raise InputError(
                "TRIAL",
                value=action.trial,
                rule="this sweep has no such trial",
                mend=nearest(action.trial, self.coordinator.trials),
            )
        check_action(action, entry, self.folder, self.spec)
        does = {"stop": self._stop, "resume": self._resume, "clone": self._clone}
        return does[action.kind](action, entry)

    def _stop(self, action: ControlAction, entry: TrialEntry) -> tuple[ActionState, str]:
        asked = asked_by(action.who, action.asked)
        if entry not in self.coordinator.running:
            answer = f"{entry.name} is stopped."
            self.coordinator.stop_by_user(entry.trial_id, asked, action.record("done", answer))
            return "done", answer
        answer = f"{entry.name} stops at its next milestone."
        if action.now:
            answer = f"{entry.name} stops within seconds; what it trained since {entry.samples_seen:,} samples is lost."
            sign = self.folder.stop_sign(entry.trial_id)
            sign.parent.mkdir(parents=True, exist_ok=True)
            sign.touch()
        self.coordinator.stop_by_user(entry.trial_id, asked, action.record("accepted", answer))
        return "accepted", answer

    def _resume(self, action: ControlAction, entry: TrialEntry) -> tuple[ActionState, str]:
        answer = f"{entry.name} is trained on from {entry.samples_seen:,} samples to its end as soon as a slot is free."
        if self.coordinator.is_drawn(entry.trial_id):
            answer += " It had been drawn for the audit, and counts for it."
        self.folder.stop_sign(entry.trial_id).unlink(missing_ok=True)
        asked = asked_by(action.who, action.asked)
        self.coordinator.resume_by_user(entry.trial_id, asked, action.record("done", answer))
        return "done", answer

    def _clone(self, action: ControlAction, parent: TrialEntry) -> tuple[ActionState, str]:
        coordinator, asked = self.coordinator, asked_by(action.who, action.asked)
        made = clone_record(self.spec, parent, action.changes, action.from_weights, asked, coordinator.trials)
        made = replace(made, decision=replace(made.decision, cohort=coordinator.cohort_of(made.config)))
        if action.from_weights:
            take_checkpoint(self.folder, parent, made.trial)
        answer = f"{made.name} ({made.trial}) is trained to its end as soon as a slot is free."
        coordinator.add_by_user(made, action.record("done", answer, made=made.trial))
        return "done", answer


def check_action(action: ControlAction, entry: TrialEntry, folder: SweepFolder, spec: SweepSpec) -> None:
    """Raise unless an action can be carried out on a trial as it stands.

    Raises:
        InputError: Says how the trial stands.
    """
    if action.kind == "stop":
        _check_stop(action, entry)
    elif action.kind == "resume":
        _check_resume(entry)
        if spec.entrypoint is None:  # training of your own goes on from what it saved itself, or from its start
            check_checkpoint(entry, folder)


def _check_stop(action: ControlAction, entry: TrialEntry) -> None:
    if entry.outcome.is_final:
        raise InputError("TRIAL", value=entry.name, rule=f"it has ended already ({standing(entry)})")
    if entry.stop_asked and not action.now:
        raise InputError(
            "TRIAL",
            value=entry.name,
            rule="it was asked to stop already, and does so at its next milestone",
            mend="add --now to stop it within seconds",
        )


def _check_resume(entry: TrialEntry) -> None:
    if not entry.outcome.is_final:
        rule = f"only a stopped trial can be resumed, and this one is {entry.outcome.value}"
        raise InputError("TRIAL", value=entry.name, rule=rule)
    if entry.outcome is not Outcome.STOPPED:
        rule = f"only a stopped trial can be resumed ({standing(entry)})"
        mend = "clone it with other values" if entry.outcome is Outcome.DIVERGED else ""
        raise InputError("TRIAL", value=entry.name, rule=rule, mend=mend)


def check_checkpoint(entry: TrialEntry, folder: SweepFolder) -> None:
    """Raise unless the checkpoint of a trial's last milestone is still there; one without a milestone needs none.

    Raises:
        InputError: Names the folder.
    """
    place = folder.checkpoint(entry.trial_id, entry.milestones - 1)
    if entry.milestones and not (place / "manifest.json").is_file():
        raise InputError("TRIAL", value=entry.name, rule=f"its checkpoint {place} is gone", mend="restore the folder")


def standing(entry: TrialEntry) -> str:
    """Return how a trial stands, in words."""
    by = f" by {entry.verdict.rule}" if entry.verdict is not None and entry.outcome is Outcome.STOPPED else ""
    return f"{entry.outcome.value}{by} at {entry.samples_seen:,} samples"


def parse_tag(told: AskedAction) -> ControlAction:
    """Read the text of a tag: ``stop``, ``stop now``, ``resume``, or ``clone [from-weights] FIELD=VALUE...``.

    Raises:
        InputError: If it is none of these.
    """
    where = "orchestrate.action"
    usage = "write stop, stop now, resume, or clone FIELD=VALUE ..."
    if not told.trial_id:
        raise InputError(where, value=told.text, rule="the tag counts on the run of a trial, not on the sweep's")
    try:
        words = shlex.split(told.text)
    except ValueError as error:
        raise InputError(where, value=told.text, rule=f"the text cannot be read ({error})", mend=usage) from None
    kind = next((each for each in KINDS if words and each == words[0].lower()), None)
    flags = [word.removeprefix("--") for word in words[1:] if "=" not in word]
    known = {"stop": {"now"}, "clone": {"from-weights"}}.get(kind or "", set())
    if kind is None or not set(flags) <= known:
        raise InputError(where, value=told.text, rule="there is no such action", mend=usage)
    changes = tuple(word for word in words[1:] if "=" in word)
    return ControlAction(kind, told.trial_id, MLFLOW, "now" in flags, changes, "from-weights" in flags)
