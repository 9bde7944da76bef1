"""What follows the search: which audits and repeats a sweep file asks for, and what they said."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from orchestrator.coordinating.audits_and_repeats import (
    AuditsAndRepeats,
    recipe_name,
    recipe_of,
    repeat_standing,
    trained_whole,
)
from orchestrator.decisions.final import audit, repeats
from orchestrator.decisions.final.audit import AuditDraw, AuditFigures, Rate, is_audited
from orchestrator.decisions.final.repeats import Candidate, RepeatRule, Standing
from orchestrator.decisions.objective import WORST, Key, Objective
from orchestrator.history.objective import make_objective
from orchestrator.records import Outcome, Role
from orchestrator.reporting.text.verdicts import audit_sentence, unaudited_sentence, untested_sentence, verdict_sentence
from orchestrator.results.records import AuditResult, MeasuredShare, RecipeResult, WinnerVerdict
from orchestrator.spec.sweep import SweepSpec
from orchestrator.storage.trial_entries import TrialEntry

Place = Literal["best", "tied", "behind"]
_REASONS = {"best": "recommended", "tied": "not told apart from the recommended one"}


def make_audits_and_repeats(spec: SweepSpec) -> AuditsAndRepeats:
    """Return which audits and repeats the sweep file asks for."""
    return AuditsAndRepeats(make_objective(spec), make_draw(spec), make_repeat_rule(spec))


def make_draw(spec: SweepSpec) -> AuditDraw:
    """Return the draw of stopped trials; its start follows from the sweep's name and the searcher's seed."""
    return AuditDraw.seeded(spec.stopping.audit, spec.name, spec.searcher.seed)


def make_repeat_rule(spec: SweepSpec) -> RepeatRule:
    """Return how the best recipes are repeated."""
    return RepeatRule(spec.winner.candidates, spec.winner.repeats, spec.winner.confidence)


# -- audit -------------------------------------------------------------------------------------------


def audit_result(spec: SweepSpec, entries: Collection[TrialEntry]) -> AuditResult | None:
    """Return what the audit says so far; None where the file asks for none and none was begun."""
    audited = [entry for entry in entries if entry.role is Role.AUDIT]
    if not spec.stopping.audit and not audited:
        return None
    objective = make_objective(spec)
    stopped = sum(_stopped_by_comparison(entry) for entry in entries)
    drawn = max(make_draw(spec).count(stopped), len(audited))
    ended = [entry for entry in audited if entry.outcome in (Outcome.COMPLETED, Outcome.DIVERGED)]
    others = [entry for entry in entries if entry.role is Role.SEARCH and entry.outcome is Outcome.COMPLETED]
    best = min(others, key=lambda entry: (_key(objective, entry), entry.trial_id), default=None)
    figures = audit.measure(
        [_key(objective, entry) for entry in ended],
        [_key(objective, entry) for entry in others],
        stopped,
        sum(entry.role.proposed for entry in entries),
        spec.stopping.forecast.tolerance,
        spec.stopping.forecast.miss if spec.stopping.forecast.enabled else None,
    )
    against = "" if best is None else best.name
    if figures is None:
        sentence = unaudited_sentence(stopped, drawn, len(ended), against)
    else:
        sentence = audit_sentence(figures, against, stopped, objective.label)
    failed = sum(entry.outcome is Outcome.FAILED for entry in audited)
    samples = sum(entry.samples_seen - (entry.stopped_at or 0) for entry in audited)
    return _audit_result(spec.stopping.audit, figures, (stopped, drawn, len(ended), failed, samples), against, sentence)


def _audit_result(
    share: float, figures: AuditFigures | None, counts: tuple[int, int, int, int, int], against: str, sentence: str
) -> AuditResult:
    stopped, drawn, ended, failed, samples = counts
    low, high = (None, None) if figures is None or figures.interval is None else figures.interval
    return AuditResult(
        share=share,
        stopped=stopped,
        drawn=drawn,
        ended=ended,
        failed=failed,
        against=against,
        beat_best=None if figures is None else _measured(figures.beat_best),
        best_tenth=None if figures is None else _measured(figures.best_tenth),
        places=0 if figures is None else figures.places,
        regret=None if figures is None else figures.regret,
        regret_low=low,
        regret_high=high,
        tolerated=None if figures is None else figures.tolerated,
        verdict="unknown" if figures is None else figures.verdict,
        samples=samples,
        sentence=sentence,
    )


def _measured(rate: Rate) -> MeasuredShare:
    return MeasuredShare(rate.count, rate.total, rate.value, rate.low, rate.high)


def _stopped_by_comparison(entry: TrialEntry) -> bool:
    if entry.stop is not None:
        return is_audited(entry.stop.rule)
    return entry.outcome is Outcome.STOPPED and entry.verdict is not None and is_audited(entry.verdict.rule)


def _key(objective: Objective, entry: TrialEntry) -> Key:
    return objective.key(entry.scores) if entry.outcome is Outcome.COMPLETED else WORST


# -- winner ------------------------------------------------------------------------------------------


def winner_verdict(spec: SweepSpec, entries: Collection[TrialEntry]) -> WinnerVerdict | None:
    """Return whether the winner is better or only luckier; None where the file asks for no repeats."""
    if not spec.winner.repeats:
        return None
    rule, objective = make_repeat_rule(spec), make_objective(spec)
    stand = repeat_standing(entries, rule, objective)
    open_search = any(not entry.outcome.is_final for entry in entries if entry.role is not Role.REPEAT)
    repeated = [entry for entry in entries if entry.role is Role.REPEAT]
    rows: tuple[RecipeResult, ...] = ()
    if stand.verdict == "not tested":
        sentence = untested_sentence(
            spec.winner.candidates, len(stand.candidates), open_search, sum(e.outcome.is_final for e in repeated)
        )
    else:
        rows = _recipes(stand, objective, _by_recipe(entries))
        tested = any(each.behind and not each.broke for each in stand.candidates)
        sound = any(not each.broke for each in stand.left)
        sentence = verdict_sentence(stand.verdict, rows, objective.label, rule.confidence, stand.rounds, tested, sound)
    return WinnerVerdict(
        verdict=stand.verdict,
        confidence=rule.confidence,
        recipes=rows,
        rounds=stand.rounds,
        repeats=len(repeated),
        samples=sum(entry.samples_seen for entry in repeated),
        sentence=sentence,
    )


def _by_recipe(entries: Iterable[TrialEntry]) -> dict[str, list[TrialEntry]]:
    """Return the completed trials of every recipe, those of the search first."""
    found: dict[str, list[TrialEntry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.role is Role.REPEAT):
        if entry.outcome is Outcome.COMPLETED and trained_whole(entry):
            found.setdefault(recipe_of(entry.config), []).append(entry)
    return found


def _recipes(
    stand: Standing, objective: Objective, trials: Mapping[str, Sequence[TrialEntry]]
) -> tuple[RecipeResult, ...]:
    """Return the candidates: the recommended one, those tied with it, then those behind, by their means."""
    cost = {
        each.recipe: statistics.fmean(entry.training_seconds for entry in trials[each.recipe])
        for each in stand.candidates
    }
    chosen = repeats.recommended(stand.left, cost)
    left = {each.recipe for each in stand.left}

    def order(each: Candidate) -> tuple[bool, bool, float, Key]:
        return (each is not chosen, each.recipe not in left, each.mean, each.search_key)

    def row(each: Candidate) -> RecipeResult:
        place: Place = "best" if each is chosen else "tied" if each.recipe in left else "behind"
        return _recipe(each, place, objective, trials[each.recipe], cost[each.recipe])

    return tuple(map(row, sorted(stand.candidates, key=order)))


def _recipe(
    each: Candidate, place: Place, objective: Objective, trials: Sequence[TrialEntry], seconds: float
) -> RecipeResult:
    best = min(trials, key=lambda entry: (objective.key(entry.scores), entry.trial_id))
    return RecipeResult(
        name=recipe_name(trials[0]),
        trial_id=best.trial_id,
        trial_ids=tuple(entry.trial_id for entry in trials),
        search_value=objective.value_of(each.search_key),
        seeds=len(each.values),
        mean=objective.value_of((0.0, each.mean)) if each.values else None,
        standard_error=each.standard_error,
        training_seconds=seconds,
        place=place,
        reason=each.behind or _REASONS.get(place, ""),
    )
