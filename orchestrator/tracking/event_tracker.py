"""Tracker calls become events: the half of a tracker that knows what a run should look like, and no store."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from orchestrator.records import Decision, Outcome, Scalar, TrainingSignal
from orchestrator.tracking.events import SWEEP, Event, EventKind
from orchestrator.tracking.naming import (
    DIGEST_LIMIT,
    TAG_VALUE_LIMIT,
    clean_key,
    clean_params,
    clean_tags,
    cut,
    ending_name,
    ending_tags,
)
from orchestrator.tracking.series import Series, plain, signal_series
from orchestrator.tracking.tracker import ACTION_TAG, DatasetInfo, SweepInfo, SweepOutcome, TrackerHealth, TrialInfo
from orchestrator.tracking.views import EXPERIMENT_NOTE_LIMIT, experiment_tags

METRICS_PER_TRIAL = 15
"""Keys per trial besides scores: a person can look at that many charts. Training takes up to six of them."""
SCORES_PER_TRIAL = 64
"""Scores per trial: the user has asked for each of them, and benchmarks come in dozens."""
_OURS = ("system/", "forecast/")

_TRAINING_KEYS = 6
_STATUS = {
    Outcome.COMPLETED: "FINISHED",
    Outcome.STOPPED: "KILLED",
    Outcome.DIVERGED: "KILLED",
    Outcome.FAILED: "FAILED",
}
_SWEEP_STATUS = {
    SweepOutcome.COMPLETED: "FINISHED",
    SweepOutcome.INTERRUPTED: "KILLED",
    SweepOutcome.FAILED: "FAILED",
}


_FORECAST = {
    "expected_final": "forecast/expected",
    "expected_low": "forecast/low",
    "expected_high": "forecast/high",
    "probability_best": "forecast/probability_best",
}
"""What a decision by forecast leaves in its evidence, and the metric that draws it."""


class EventTracker:
    """Base of trackers. Subclasses replay old events (`_replay`).

    Args:
        emit: Takes every event on its way.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._lock, self._emit = threading.RLock(), emit
        self._known: set[str] = set()
        self._session = 1
        self._sweep_name = ""
        self._names: dict[str, str] = {}
        self._lengths: dict[str, tuple[int, int]] = {}
        self._trained: dict[str, int] = {}
        self._open: set[str] = set()
        self._ended: set[str] = set()
        self._begun_again: dict[str, int] = {}
        self._drawn: dict[str, set[str]] = {}
        self._undrawn: set[str] = set()
        self._decisions: list[Mapping[str, object]] = []
        self._last_tags: dict[str, dict[str, str]] = {}
        self._last_texts: dict[str, str] = {}

    # ---------------------------------------------------------------- the sweep
    def start_sweep(self, info: SweepInfo) -> None:
        """See `Tracker.start_sweep`."""
        self._sweep_name = info.name
        tags = {"orchestrate.sweep_id": info.sweep_id, "outcome": "running", **info.tags}
        shown = experiment_tags(info.objective, info.mode)
        self._open_run(SWEEP, info.name, info.params, tags, info.datasets, shown)
        if info.config_yaml:
            self.log_text_artifact("sweep.yaml", info.config_yaml)

    def log_sweep_metrics(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker.log_sweep_metrics`."""
        self._record_values(SWEEP, step, {clean_key(key): value for key, value in values.items()})

    def set_sweep_tags(self, tags: Mapping[str, str]) -> None:
        """See `Tracker.set_sweep_tags`."""
        self._record_tags(SWEEP, clean_tags(tags))

    def describe_sweep(self, markdown: str, headline: str = "") -> None:
        """See `Tracker.describe_sweep`."""
        name = f"{self._sweep_name} · {headline}" if headline else None
        # The experiment's page shows the first line of its description above the runs.
        told = f"**{self._sweep_name}** {headline}\n\n{markdown}" if headline else markdown
        shown = {"mlflow.note.content": cut(told, EXPERIMENT_NOTE_LIMIT)}
        tags = clean_tags({"mlflow.note.content": markdown} | ({"verdict": headline} if headline else {}))
        self._record_tags(SWEEP, tags, name, shown)

    def mark_winner(self, trial_id: str, reason: str) -> None:
        """See `Tracker.mark_winner`."""
        self._unmark(self._last_tags.get(SWEEP, {}).get("winner.trial", trial_id), trial_id)
        name = self._names.get(trial_id, trial_id)
        tags = {"winner": "true", "winner.reason": reason, "verdict": f"★ winner: {reason}"}
        self._record_tags(trial_id, clean_tags(tags), f"★ {name}")
        self._record_tags(SWEEP, clean_tags({"winner": name, "winner.trial": trial_id, "winner.reason": reason}))

    def _unmark(self, former: str, winner: str) -> None:
        """Take the star from a former winner (repeats of the best recipes may choose another)."""
        if former != winner:
            told = f"was the winner until the repeats; now {self._names.get(winner, winner)} is"
            self._record_tags(former, {"winner": "false", "verdict": told}, self._names.get(former, former))

    def log_text_artifact(self, path: str, text: str) -> None:
        """See `Tracker.log_text_artifact`."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self._lock:
            if self._last_texts.get(path) != digest:
                self._record(EventKind.TEXT, SWEEP, {"path": path, "text": text})

    def log_artifact(self, file: Path, folder: str = "") -> None:
        """See `Tracker.log_artifact`."""
        self._record(EventKind.FILE, SWEEP, {"folder": folder, "file": str(file.resolve())})

    def end_sweep(self, outcome: SweepOutcome) -> None:
        """See `Tracker.end_sweep`."""
        with self._lock:
            lines = [json.dumps(decision, ensure_ascii=False) for decision in self._decisions]
            self.log_text_artifact("decisions.jsonl", "".join(f"{line}\n" for line in lines))
            for trial_id in sorted(self._open - self._ended):
                cut_off = {"outcome": "interrupted", "verdict": "interrupted before its end"}
                self._close_run(trial_id, "KILLED", cut_off, f"close:{trial_id}:s{self._session}")
            tags = {"outcome": outcome.value}
            self._close_run(SWEEP, _SWEEP_STATUS[outcome], tags, f"close::s{self._session}")

    # ---------------------------------------------------------------- its trials
    def start_trial(self, info: TrialInfo) -> None:
        """See `Tracker.start_trial`."""
        with self._lock:
            again = info.begun_again
            if info.trial_id in self._ended and again <= self._begun_again.get(info.trial_id, 0):
                return
            self._names[info.trial_id] = info.name
            self._lengths[info.trial_id] = (info.total_samples, info.effective_batch_size)
            tags = {"orchestrate.trial_id": info.trial_id, "outcome": "running", "role": info.role.value, **info.tags}
            self._open_run(info.trial_id, info.name, info.params, tags, info.datasets, again=again)

    def log_signals(self, trial_id: str, signals: Sequence[TrainingSignal]) -> None:
        """See `Tracker.log_signals`."""
        with self._lock:
            seen = self._trained.get(trial_id, -1)
            fresh = [signal for signal in signals if signal.samples_seen > seen]
            if not fresh:
                return
            now = _now_ms()
            # A trial that was never announced still gets a series, kept whole.
            series = signal_series(fresh, now, *self._lengths.get(trial_id, (0, 1)))
            last = fresh[-1].samples_seen
            self._record(EventKind.METRICS, trial_id, {"series": series}, (f"signals:{trial_id}:{last}",), now)

    def log_scores(self, trial_id: str, samples_seen: int, scores: Mapping[str, float]) -> None:
        """See `Tracker.log_scores`."""
        self._record_values(trial_id, samples_seen, self._drawable(trial_id, scores))

    def log_system(self, trial_id: str, samples_seen: int, node: str, values: Mapping[str, float]) -> None:
        """See `Tracker.log_system`."""
        named = {f"system/{key.removeprefix('system/')}": value for key, value in values.items()}
        self._record_values(trial_id, samples_seen, self._drawable(trial_id, named))
        if node:
            self._record_tags(trial_id, _own_tags(node=node))

    def log_decision(self, decision: Decision) -> None:
        """See `Tracker.log_decision`."""
        told = f"{decision.action.value} at {decision.samples_seen} samples by {decision.rule}: {decision.reason}"
        tags = _own_tags(verdict=told, samples_seen=str(decision.samples_seen))
        body = {"tags": tags, "decision": asdict(decision)}
        key = f"decision:{decision.trial_id}:{decision.samples_seen}:{decision.rule}:{decision.action.value}"
        self._record(EventKind.TAGS, decision.trial_id, body, (key,))
        forecast = {metric: decision.evidence[name] for name, metric in _FORECAST.items() if name in decision.evidence}
        values = {metric: float(value) for metric, value in forecast.items() if isinstance(value, (int, float))}
        self._record_values(decision.trial_id, decision.samples_seen, self._drawable(decision.trial_id, values))

    def end_trial(
        self,
        trial_id: str,
        outcome: Outcome,
        samples_seen: int,
        *,
        decision: Decision | None = None,
        scores: Mapping[str, float] | None = None,
        failure: str = "",
    ) -> None:
        """See `Tracker.end_trial`."""
        _check_ending(trial_id, outcome, decision, failure)
        with self._lock:
            if trial_id in self._ended:
                return
            if scores:
                self.log_scores(trial_id, samples_seen, scores)
            tags = ending_tags(outcome, samples_seen, decision, failure)
            name = ending_name(self._names.get(trial_id, trial_id), outcome, samples_seen)
            self._close_run(trial_id, _STATUS[outcome], tags, self._ending_key(trial_id), name)

    def answer_action(self, trial_id: str, text: str) -> None:
        """See `Tracker.answer_action`; also the same answer as before is told, since the user's text stands in its place."""
        with self._lock:
            self._record(EventKind.TAGS, trial_id, {"tags": clean_tags({ACTION_TAG: text}), "experiment": {}})

    @property
    def health(self) -> TrackerHealth:
        """See `Tracker.health`."""
        return TrackerHealth(undrawn_metrics=tuple(sorted(self._undrawn)))

    # ---------------------------------------------------------------- events
    def _replay(self, events: Iterable[Event]) -> None:
        """Learn from the events of earlier sessions."""
        with self._lock:
            for event in events:
                self._remember(event)
                if event.kind is EventKind.OPEN and event.run == SWEEP:
                    self._session += 1

    def _open_run(
        self,
        run: str,
        name: str,
        params: Mapping[str, Scalar],
        tags: Mapping[str, str],
        datasets: Sequence[DatasetInfo],
        experiment: Mapping[str, str] | None = None,
        again: int = 0,
    ) -> None:
        body = {
            "name": cut(name, 250),
            "params": clean_params(params),
            "tags": clean_tags(tags),
            "datasets": [{**asdict(dataset), "digest": dataset.digest[:DIGEST_LIMIT]} for dataset in datasets],
            "experiment": dict(experiment or {}),
            "again": again,
        }
        self._record(EventKind.OPEN, run, body, (f"open:{run}:s{self._session}{_nth(again)}",))

    def _close_run(self, run: str, status: str, tags: Mapping[str, str], key: str, name: str | None = None) -> None:
        body: dict[str, object] = {"status": status, "tags": dict(tags)}
        if name is not None:
            body["name"] = cut(name, 250)
        self._record(EventKind.CLOSE, run, body, (key,))

    def _ending_key(self, run: str) -> str:
        """Return the key of the event that ends a trial's run; one that was begun again ends a second time."""
        return f"close:{run}{_nth(self._begun_again.get(run, 0))}"

    def _record_values(self, run: str, step: int, values: Mapping[str, float]) -> None:
        now = _now_ms()
        with self._lock:
            fresh = {key: value for key, value in values.items() if f"value:{run}:{step}:{key}" not in self._known}
            if fresh:
                series: dict[str, Series] = {key: ([step], [now], [plain(value)]) for key, value in fresh.items()}
                keys = tuple(f"value:{run}:{step}:{key}" for key in fresh)
                self._record(EventKind.METRICS, run, {"series": series}, keys, now)

    def _record_tags(
        self,
        run: str,
        tags: Mapping[str, str],
        name: str | None = None,
        experiment: Mapping[str, str] | None = None,
    ) -> None:
        with self._lock:
            last = self._last_tags.get(run, {})
            named = dict(tags) if name is None else {**tags, "mlflow.runName": name}
            if any(last.get(key) != value for key, value in named.items()):
                body: dict[str, object] = {"tags": dict(tags), "experiment": dict(experiment or {})}
                if name is not None:
                    body["name"] = cut(name, 250)
                self._record(EventKind.TAGS, run, body)

    def _record(
        self,
        kind: EventKind,
        run: str,
        body: Mapping[str, object],
        keys: tuple[str, ...] = (),
        when_ms: int | None = None,
    ) -> None:
        with self._lock:
            if keys and self._known.issuperset(keys):
                return
            event = Event(kind, run, _now_ms() if when_ms is None else when_ms, body, keys)
            self._remember(event)
            self._emit(event)

    def _remember(self, event: Event) -> None:
        """Update what is known; the same for a new event and for one of an earlier session."""
        self._known.update(event.keys)
        body, run = event.body, event.run
        if event.kind is EventKind.OPEN:
            self._names.setdefault(run, body["name"])
            self._open.update({run} - {SWEEP})
            if body.get("again", 0) > self._begun_again.get(run, 0):
                self._begun_again[run] = body["again"]
                self._ended.discard(run)
        elif event.kind is EventKind.METRICS:
            self._drawn.setdefault(run, set()).update(body["series"])
            if event.keys and event.keys[0].startswith("signals:"):
                self._trained[run] = int(event.keys[0].rpartition(":")[2])
        elif event.kind is EventKind.CLOSE and event.keys == (self._ending_key(run),):
            self._ended.add(run)
        elif event.kind is EventKind.TEXT:
            self._last_texts[body["path"]] = hashlib.sha256(body["text"].encode()).hexdigest()
        if "decision" in body:
            self._decisions.append(body["decision"])
        self._last_tags.setdefault(run, {}).update(body.get("tags", {}))
        if "name" in body:
            self._last_tags[run]["mlflow.runName"] = body["name"]
            if event.kind is EventKind.CLOSE:
                self._names[run] = body["name"]

    def _drawable(self, trial_id: str, values: Mapping[str, float]) -> dict[str, float]:
        """Drop metrics over the limits of keys per trial, first come first kept; `health` names them."""
        with self._lock:
            drawn = {key for key in self._drawn.get(trial_id, set()) if not key.startswith("train/")}
            own = {of_us: {key for key in drawn if key.startswith(_OURS) is of_us} for of_us in (True, False)}
            kept: dict[str, float] = {}
            for key, value in values.items():
                cleaned = clean_key(key)
                alike = own[cleaned.startswith(_OURS)]
                limit = METRICS_PER_TRIAL - _TRAINING_KEYS if cleaned.startswith(_OURS) else SCORES_PER_TRIAL
                if cleaned in alike or len(alike) < limit:
                    alike.add(cleaned)
                    kept[cleaned] = value
                else:
                    self._undrawn.add(cleaned)
            return kept


def _check_ending(trial_id: str, outcome: Outcome, decision: Decision | None, failure: str) -> None:
    if not outcome.is_final:
        raise ValueError(f"trial {trial_id} cannot end as {outcome.value!r}: the outcome must be final")
    if outcome in {Outcome.STOPPED, Outcome.DIVERGED} and decision is None:
        raise ValueError(f"trial {trial_id} ended as {outcome.value!r}: the decision that says why is missing")
    if outcome is Outcome.FAILED and not failure.strip():
        raise ValueError(f"trial {trial_id} ended as 'failed': the text that says why is missing")


def _own_tags(**tags: str) -> dict[str, str]:
    """Return tags whose keys are ours, and so need no cleaning; too long values are cut."""
    return {key: value if len(value) <= TAG_VALUE_LIMIT else cut(value) for key, value in tags.items()}


def _nth(again: int) -> str:
    return f":again{again}" if again else ""


def _now_ms() -> int:
    return int(time.time() * 1000)
