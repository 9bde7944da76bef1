"""What repeats and audit found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.decisions.final.audit import AuditFigures, Rate
from orchestrator.reporting.text.numbers import number
from orchestrator.results.records import RecipeResult, SweepResult


def certainty_lines(result: SweepResult) -> list[str]:
    """Return the sentences on winner and audit, headed; empty where the sweep asked for neither."""
    lines = [] if result.verdict is None else [f"Winner against noise  {result.verdict.sentence}"]
    return lines if result.audit is None else [*lines, f"Audit  {result.audit.sentence}"]


def certainty_tags(result: SweepResult) -> dict[str, str]:
    """Return the verdicts of winner and audit as tags of the sweep, each with its sentence."""
    tags: dict[str, str] = {}
    if result.verdict is not None:
        tags |= {"winner.verdict": result.verdict.verdict, "winner.sentence": result.verdict.sentence}
    if result.audit is not None:
        tags |= {"audit.verdict": result.audit.verdict, "audit.sentence": result.audit.sentence}
    return tags


def certainty_metrics(result: SweepResult) -> dict[str, float]:
    """Return the figures of winner and audit as metrics of the sweep; what is not known is left out."""
    values: dict[str, float | None] = {}
    if result.audit is not None:
        audit = result.audit
        values |= {
            "audit/stopped": audit.stopped,
            "audit/drawn": audit.drawn,
            "audit/ended": audit.ended,
            "audit/samples": audit.samples,
            "audit/regret": audit.regret,
            "audit/regret_low": audit.regret_low,
            "audit/regret_high": audit.regret_high,
        }
        for name, share in (("false_stops", audit.beat_best), ("best_tenth", audit.best_tenth)):
            if share is not None:
                values |= {
                    f"audit/{name}": share.rate,
                    f"audit/{name}_low": share.low,
                    f"audit/{name}_high": share.high,
                }
    if result.verdict is not None:
        verdict = result.verdict
        values |= {
            "winner/decided": float(verdict.verdict == "decided"),
            "winner/rounds": verdict.rounds,
            "winner/repeats": verdict.repeats,
            "winner/samples": verdict.samples,
            "winner/tied": sum(recipe.place == "tied" for recipe in verdict.recipes),
        }
        for recipe in verdict.recipes[:1]:
            values |= {
                "winner/mean": recipe.mean,
                "winner/standard_error": recipe.standard_error,
                "winner/seeds": recipe.seeds,
            }
    return {name: float(value) for name, value in values.items() if value is not None}


def verdict_sentence(
    verdict: str, recipes: Sequence[RecipeResult], label: str, confidence: float, rounds: int, tested: bool, sound: bool
) -> str:
    """Return what the repeats decided.

    Args:
        verdict: ``decided`` or ``tied``.
        recipes: Candidates, the recommended one first.
        label: The objective.
        confidence: Asked confidence, 0 to 1.
        rounds: Rounds of repeats that have ended.
        tested: Whether a comparison put a candidate out, and not only a repeat that went wrong.
        sound: Whether some candidate is left of which every repeat went well.
    """
    best, others = recipes[0], recipes[1:]
    asked = f"with {100 * confidence:g} % confidence"
    seeds = f"{rounds} new seed{'s' if rounds > 1 else ''}"
    if verdict == "decided":
        behind = "; ".join(f"{each.name} ({told(each)}): {each.reason}" for each in others)
        if not tested:
            return f"Decided after {seeds} without a test: only of {best.name} all repeats went well. Behind: {behind}."
        return f"Decided {asked} after {seeds}: {best.name} is best, {label} {told(best)}. Behind: {behind}."
    if not sound:
        return f"Tied: in every candidate that was left a repeat diverged, failed or broke a constraint; {best.name} is cheap."
    tied = [each for each in others if each.place == "tied"]
    names = " and ".join(f"{each.name} ({told(each)})" for each in (best, *tied))
    return f"Tied: after {seeds} {names} cannot be told apart by {label} {asked}. {best.name} is recommended: {_why_cheap(best, tied)}."


def _why_cheap(best: RecipeResult, tied: Sequence[RecipeResult]) -> str:
    seconds = f"{number(best.training_seconds, 3)} s of training a trial"
    dearest = max((each.training_seconds for each in tied), default=0.0)
    if min((each.training_seconds for each in tied), default=0.0) > 1.1 * best.training_seconds:
        return f"it is the cheapest, {seconds} against {number(dearest, 3)} s at most"
    return f"of about equally cheap ones it has the best mean ({seconds})"


def told(recipe: RecipeResult) -> str:
    """Return a recipe's mean with its standard error."""
    if recipe.standard_error is None:
        return number(recipe.mean)
    return f"{number(recipe.mean)} ± {number(recipe.standard_error, 2)}"


def untested_sentence(wanted: int, candidates: int, searching: bool, repeated: int) -> str:
    """Return why the candidates were not compared.

    Args:
        wanted: ``winner.candidates``.
        candidates: Recipes that completed and keep the constraints, at most ``wanted``.
        searching: Whether search or audit go on.
        repeated: Repeats that have ended.
    """
    if searching:
        return "Not tested yet: the search goes on."
    if wanted < 2:
        return "Not tested: winner.candidates is 1, so nothing is repeated."
    if candidates < 2:
        found = "only one recipe" if candidates else "no recipe"
        mend = (
            " (a lower stopping.forecast.miss, or a lower reduction_factor, lets more complete)" if candidates else ""
        )
        return f"Not tested: {found} completed and keeps the constraints{mend}."
    return f"Not tested yet: {repeated} repeats of {candidates} candidates have ended, more are to come."


def unaudited_sentence(stopped: int, drawn: int, ended: int, against: str) -> str:
    """Return why the audit says nothing.

    Args:
        stopped: Trials stopped by comparison.
        drawn: Those drawn for the audit.
        ended: Those of them that were trained to their end.
        against: The best trial that was not audited; empty where there is none.
    """
    if not stopped:
        return "No trial was stopped by comparison, so there is nothing to audit."
    if not drawn:
        return (
            f"None of {stopped} stopped trials was drawn; a higher stopping.audit draws more when the sweep runs again."
        )
    if ended and not against:
        return f"{ended} audited trials have ended, but no other trial has completed to compare them with."
    return f"None of the {drawn} trials drawn from {stopped} stopped ones has been trained to its end yet."


def audit_sentence(figures: AuditFigures, against: str, stopped: int, label: str) -> str:
    """Return what the audit found, for a person.

    Args:
        figures: From `measure`.
        against: Name of the best trial that was not audited.
        stopped: Trials stopped by comparison.
        label: The objective.
    """
    beat, tenth = figures.beat_best, figures.best_tenth
    text = (
        f"{_of(beat)} audited of {stopped} stopped trials {'ends' if beat.count == 1 else 'end'} better than {against}, the "
        f"best trial that was not audited (false stops {_interval(beat)}); {_of(tenth)} {'ends' if tenth.count == 1 else 'end'} "
        f"in the best tenth (best {figures.places}; {_interval(tenth)}). "
    )
    text += _regret(figures, label)
    return text + _judgement(figures)


def _regret(figures: AuditFigures, label: str) -> str:
    if not figures.regret:
        return "Stopping lost nothing that the audit could see. "
    band = "" if figures.interval is None else f" ({figures.interval[0]:.3g} to {figures.interval[1]:.3g})"
    return f"A stop lost {figures.regret:.3g} {label} in the mean{band}. "


def _judgement(figures: AuditFigures) -> str:
    tolerated = figures.tolerated
    if tolerated is None:
        return "No rate is tolerated by name (the forecast is off)."
    if figures.verdict == "too high":
        return (
            f"Too high: even the lower end is above the tolerated {percents(tolerated)}; lower stopping.forecast.miss."
        )
    if figures.verdict == "within":
        return f"That is within the tolerated {percents(tolerated)}."
    return f"Too few audited to tell whether that is more than the tolerated {percents(tolerated)}."


def _of(rate: Rate) -> str:
    return f"{rate.count} of {rate.total}"


def _interval(rate: Rate) -> str:
    return f"{percents(rate.value)}, 95 % interval {percents(rate.low)} to {percents(rate.high)}"


def percents(value: float) -> str:
    """Return a share in per cent with two digits."""
    return f"{100 * value:.2g} %" if value < 1 else "100 %"
