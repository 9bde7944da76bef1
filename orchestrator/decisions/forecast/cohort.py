"""A cohort whose trials are compared by forecast: all wait at a milestone until everybody has come, then the set is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.decisions.forecast.forecast import RULE, Forecast, ForecastOptions, Survey, forecast, survey
from orchestrator.decisions.forecast.observation import Observation
from orchestrator.decisions.objective import Key, is_judgeable
from orchestrator.decisions.rungs.cohort import News, RungSystem, Verdict
from orchestrator.decisions.rungs.rung import Entry
from orchestrator.decisions.trials import UNKNOWN_EPOCHS, TrialFacts

Forecasts = Mapping[str, Forecast]


class ForecastBook:
    """Keeps what was seen of a cohort's trials at each judged milestone, and forecasts from it.

    Args:
        rule: What the forecast is made by.
        levels: Samples seen at each judged milestone.
        budget: Samples of a whole trial.
        epochs: How often a whole trial sees each training row.
    """

    def __init__(
        self, rule: ForecastOptions, levels: Sequence[int], budget: int, epochs: float = UNKNOWN_EPOCHS
    ) -> None:
        self._rule, self._levels, self._budget, self._epochs = rule, levels, budget, epochs
        self._seen: dict[int, dict[str, tuple[TrialFacts, Key, Mapping[str, object]]]] = {}
        self._surveys: dict[int, Survey | None] = {}
        self._made: dict[int, Forecasts] = {}
        self._ends: dict[str, float] = {}

    def note(self, news: News) -> None:
        """Take in a trial's result at a rung, with its dynamics there."""
        self._seen.setdefault(news.rung, {})[news.facts.trial_id] = (news.facts, news.key, news.dynamics)
        self._outdated(news.rung)

    def finish(self, trial_id: str, key: Key) -> None:
        """Learn what has become of a trial that trained to its end; one that breaks a constraint teaches nothing."""
        if is_judgeable(key) and key[0] == 0:
            self._ends[trial_id] = key[1]
            self._made.clear()

    def drop(self, trial_id: str) -> None:
        """Take out a trial that does not count any more."""
        for rung, seen in self._seen.items():
            if seen.pop(trial_id, None) is not None:
                self._outdated(rung)
        if self._ends.pop(trial_id, None) is not None:
            self._made.clear()

    def at(self, rung: int) -> Forecasts:
        """Return the forecasts of all judgeable trials that have been seen at a rung so far."""
        if rung not in self._made:
            seen = self._survey(rung)
            self._made[rung] = {} if seen is None else forecast(seen, self._rule, self._ends)
        return self._made[rung]

    def samples_ahead(self, rung: int) -> int:
        """Return how many samples a trial trains from a rung to the next, or to its end."""
        return (*self._levels, self._budget)[rung + 1] - self._levels[rung]

    def _outdated(self, rung: int) -> None:
        self._made.pop(rung, None)
        self._surveys.pop(rung, None)

    def _survey(self, rung: int) -> Survey | None:
        if rung not in self._surveys:
            seen = self._seen.get(rung, {})
            observations = [
                self._observation(trial_id, rung) for trial_id in sorted(seen) if is_judgeable(seen[trial_id][1])
            ]
            began = max(len(self._seen.get(0, {})), len(observations))
            self._surveys[rung] = (
                survey(
                    self._penalised(observations, rung),
                    self._levels[: rung + 1],
                    self._budget,
                    self._rule.model,
                    len(observations) / began,
                    self._epochs,
                )
                if observations
                else None
            )
        return self._surveys[rung]

    def _observation(self, trial_id: str, rung: int) -> Observation:
        facts, _, dynamics = self._seen[rung][trial_id]
        course = self._course(trial_id, rung)
        return Observation(trial_id, facts.method, facts.learning_rate, facts.effective_batch_size, course, dynamics)

    def _course(self, trial_id: str, rung: int) -> tuple[float, ...]:
        """Objectives at the rungs up to this one; where a value is not finite (or was not seen) the next one stands for it."""
        values: list[float] = []
        for earlier in range(rung, -1, -1):
            seen = self._seen.get(earlier, {}).get(trial_id)
            value = seen[1][1] if seen is not None else math.inf
            values.append(value if math.isfinite(value) else values[-1])
        return tuple(reversed(values))

    def _penalised(self, observations: list[Observation], rung: int) -> list[Observation]:
        """Push trials that break a constraint behind all that keep them, by how much they break it."""
        violations = {each.trial_id: self._seen[rung][each.trial_id][1][0] for each in observations}
        if not any(violations.values()):
            return observations
        scores = [each.scores[-1] for each in observations]
        lowest, width = min(scores), max(max(scores) - min(scores), 1e-6)
        penalties = {trial_id: lowest + width * (2.0 + min(by, 10.0)) for trial_id, by in violations.items() if by}
        return [
            replace(each, scores=(penalties[each.trial_id],) * len(each.scores)) if each.trial_id in penalties else each
            for each in observations
        ]


class ForecastSystem(RungSystem):
    """Rungs whose verdicts come from a forecast over all that have arrived, once nobody can come any more.

    Args:
        name: The cohort.
        rungs: As `RungSystem`.
        quota: Best trials per method that go on until the method's best learning rate is bracketed.
        quota_rungs: At how many rungs, from the first, the quota holds.
        book: Forecasts.
    """

    rule = RULE
    waits_for_all = True

    def __init__(
        self,
        name: str,
        rungs: Sequence[tuple[int, int, float | None]],
        quota: int,
        quota_rungs: int,
        book: ForecastBook,
    ) -> None:
        super().__init__(name, rungs, quota)
        self._quota_rungs, self._book = quota_rungs, book

    def finish(self, trial_id: str, key: Key) -> None:
        """Learn what has become of a trial that trained to its end."""
        self._read_news().finish(trial_id, key)

    def drop(self, trial_id: str) -> None:
        """Take out a trial that does not count any more."""
        self._read_news().drop(trial_id)

    def forecasts(self, rung: int) -> Forecasts:
        """Return the forecasts of all judgeable trials that have arrived at a rung so far."""
        return self._read_news().at(rung)

    def idle_candidate(self, rung: int) -> tuple[float, Verdict] | None:
        """Return the waiting trial with the largest expected improvement, if the forecast of those that have come keeps it.

        What it is offered for is that improvement per sample to its next milestone, so that a free slot goes where a
        sample is worth most, over all rungs.
        """
        forecasts = self.forecasts(rung)
        waiting = [entry for entry in self.rungs[rung].waiting() if is_judgeable(entry.key)]
        if not waiting:
            return None
        best = min(waiting, key=lambda entry: (-forecasts[entry.trial_id].improvement, entry.place))
        if not forecasts[best.trial_id].keeps:
            return None
        worth = forecasts[best.trial_id].improvement / self._book.samples_ahead(rung)
        return (-worth, Verdict(best, True, "idle"))

    def _read_news(self) -> ForecastBook:
        for news in self.news:
            self._book.note(news)
        self.news.clear()
        return self._book

    def _verdict(self, rung: int, entry: Entry, outstanding: float) -> Verdict:
        if self.forecasts(rung)[entry.trial_id].keeps:
            return Verdict(entry, True, "forecast")
        if rung < self._quota_rungs and self.kept_by_quota(rung, entry):
            return Verdict(entry, True, "quota")
        return Verdict(entry, False, "forecast")

    def _verdicts(self, rung: int, outstanding: float, stops_only: bool) -> list[Verdict]:
        verdicts = (self.certain_for(rung, entry) for entry in self.rungs[rung].waiting())
        return [verdict for verdict in verdicts if verdict is not None and not (stops_only and verdict.promote)]
