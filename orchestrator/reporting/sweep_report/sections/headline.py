"""The sentences that say everything in brief, and the few large figures below them."""

from __future__ import annotations

from orchestrator.records import Outcome
from orchestrator.reporting.sweep_report.facts.facts import OPEN, SweepFacts, counted, listed
from orchestrator.reporting.sweep_report.layout.blocks import Figure, Figures, Inline, Sentence, Strong
from orchestrator.reporting.sweep_report.sections.certainty import how_sure, recommended
from orchestrator.reporting.sweep_report.sections.edges import Edge
from orchestrator.reporting.sweep_report.sections.methods import with_error
from orchestrator.reporting.text.numbers import duration, number, share
from orchestrator.results.records import SweepResult, TrialResult
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.trial.identity import short_number

RECOMMENDATION = "Use "
"""How the sentence begins that names the recipe to use."""


def headline(facts: SweepFacts, edges: list[Edge]) -> list[Sentence]:
    """Return what was searched, what to use, how sure that is, what it cost, what stopping saved, what to mind."""
    sentences = [_searched(facts), _standing(facts), _use(facts)]
    if facts.winner is not None:
        sentences.append(how_sure(facts))
    sentences += [_cost(facts), _saved(facts), _audited(facts), _edge(edges)]
    return [sentence for sentence in sentences if sentence]


def figures(facts: SweepFacts) -> Figures:
    """Return the large figures: objective of the best trial, of the base model, trials, cost."""
    result, items = facts.result, []
    if facts.best is not None:
        best = facts.best.result
        value, error, told = _worth(facts, best)
        detail = ([] if error is None or error != error else [f"± {number(error, 2)}"]) + [told]
        items.append(Figure(facts.label, number(value), ", ".join(detail)))
        base = facts.value(result.base_scores)
        if base is not None:
            items.append(Figure("base model", number(base), f"{facts.label} before training"))
    trials = sum(result.counts.values())
    counts = [f"{count} {name}" for name, count in result.counts.items() if count]
    items.append(Figure("trials", f"{trials:,}", ", ".join(counts)))
    items.append(
        Figure(
            "samples trained",
            share(result.samples_trained, result.samples_exhaustive),
            f"{result.samples_trained:,} of {result.samples_exhaustive:,}",
        )
    )
    items.append(Figure("wall time", duration(result.wall_seconds), counted(result.slots, "slot")))
    return Figures(items)


def _worth(facts: SweepFacts, best: TrialResult) -> tuple[float | None, float | None, str]:
    """Return the best trial's objective, its standard error, and what it is; over new seeds where there are some."""
    recipe = recommended(facts)
    if recipe is not None:
        return recipe.mean, recipe.standard_error, f"mean of {counted(recipe.seeds, 'new seed')}"
    return best.objective, facts.error(best.standard_errors), "winner" if facts.winner else "leads so far"


def _searched(facts: SweepFacts) -> Sentence:
    spec, space = facts.spec, facts.space
    others = sorted(space.varied - {"learning_rate", "effective_batch_size"})
    dimensions = [
        counted(len(space.method), "method") + f" ({listed(list(space.method), 5)})",
        _sizes(facts),
        "learning rates" if "learning_rate" in space.varied else "one learning rate each",
    ]
    dimensions += [listed([name.removeprefix("option.").replace("_", " ") for name in others], 4)] if others else []
    return (
        Strong("Searched: "),
        f"{listed(dimensions)}, ",
        *_trained(spec),
        f"{counted(facts.result.samples_exhaustive // facts.budget, 'trial')} of up to {facts.budget:,} samples. "
        f"{facts.better.capitalize()} {facts.label} is better{_bounds(facts)}.",
    )


def _trained(spec: SweepSpec) -> Sentence:
    if spec.entrypoint is not None:
        return ("for ", Strong(spec.entrypoint.label), "; ")
    data = listed(list(spec.data.sources))
    return ("to fine-tune ", Strong(spec.model.path), f" on {data}; ")


def _sizes(facts: SweepFacts) -> str:
    sizes = sorted({trial.result.config.effective_batch_size for trial in facts.trials})
    if not sizes:
        return "effective batch sizes"
    return f"effective batch size {sizes[0]}" if len(sizes) == 1 else f"effective batch sizes {sizes[0]} to {sizes[-1]}"


def _bounds(facts: SweepFacts) -> str:
    bounds = [bound.label for bound in facts.objective.constraints]
    return f", as long as {listed(bounds)}" if bounds else ""


def _standing(facts: SweepFacts) -> Sentence:
    status, trials = facts.result.status, facts.trials
    ended = sum(trial.result.outcome.is_final for trial in trials)
    planned = sum(facts.result.counts.values())
    if status == "completed":
        return ()
    told = f"{ended} of {planned} trials have ended. All below is as of now and may change."
    if status == "interrupted":
        return (Strong("Interrupted: "), f"{told} The same command goes on from here.")
    since = duration(max(0.0, facts.now - facts.history.ended))
    return (
        Strong("Still running "),
        f"(last sign of life {since} ago; if its process was killed, the same command goes on): {told}",
    )


def _use(facts: SweepFacts) -> Sentence:
    best = facts.best
    if best is None:
        begun = sum(trial.result.outcome in OPEN and bool(trial.result.samples_seen) for trial in facts.trials)
        text = "no trial has reached a milestone with a score, so there is no recipe to recommend yet"
        return (Strong("Nothing to recommend yet: "), f"{text} ({counted(begun, 'trial')} under way).")
    value = with_error(best.result.objective, facts.error(best.result.standard_errors))
    base = facts.value(facts.result.base_scores)
    against = f"; the base model has {number(base)}" if base is not None else ""
    ends = f"{facts.label} {value}"
    repeated = recommended(facts)
    if repeated is not None:
        mean = with_error(repeated.mean, repeated.standard_error)
        ends = f"{facts.label} {mean} in the mean of {counted(repeated.seeds, 'new seed')} (this trial: {value})"
    recipe = f"{_recipe(best.result)}. It ends at {ends}{against}."
    if facts.winner is None:
        text = f"leads with {facts.label} {value} at {best.result.samples_seen:,} samples{against}; no trial has been trained to its end."
        return (Strong("No winner yet: "), Strong(best.result.name), " ", text)
    broken = facts.broken(best.result)
    spans: list[Inline] = [Strong(f"{RECOMMENDATION}{best.result.name}"), ": ", recipe]
    if broken:
        spans.append(f" It breaks {listed(broken)}, as all completed trials do.")
    return tuple(spans)


def _recipe(trial: TrialResult) -> str:
    config = trial.config
    return (
        f"method {config.method}, learning rate {short_number(config.learning_rate)}, "
        f"effective batch size {config.effective_batch_size}, {config.samples:,} samples"
    )


def _cost(facts: SweepFacts) -> Sentence:
    result = facts.result
    if not result.samples_trained:
        return ()
    return (
        Strong("Cost: "),
        f"{duration(result.wall_seconds)} on {counted(result.slots, 'slot')} ({duration(result.training_seconds)} of training and "
        f"{duration(result.evaluation_seconds)} of evaluation, {result.evaluation_share:.0%} of the slots' time), {result.samples_trained:,} samples{_beside(result)}.{_unscored(result)}",
    )


def _unscored(result: SweepResult) -> str:
    if not result.unscored:
        return ""
    return f" Detached evaluation sets left {counted(result.unscored, 'milestone')} unscored, as too many waited or weights were lost."


def _beside(result: SweepResult) -> str:
    """Return what of the samples was not for the search."""
    parts = [
        (result.audit.samples, "audit") if result.audit else (0, ""),
        (result.verdict.samples, "repeats") if result.verdict else (0, ""),
    ]
    told = [f"{samples:,} for the {name}" for samples, name in parts if samples]
    return f", of them {listed(told)}" if told else ""


def _saved(facts: SweepFacts) -> Sentence:
    early = [t.result for t in facts.trials if t.result.outcome in (Outcome.STOPPED, Outcome.DIVERGED)]
    if not early:
        return ()
    spared = sum(max(0, trial.config.samples - trial.samples_seen) for trial in early)
    seconds = sum(_spared_seconds(trial) for trial in early)
    whole = facts.result.samples_exhaustive
    return (
        Strong("Saved: "),
        f"{counted(len(early), 'trial')} ended early, which spared {spared:,} samples ({share(spared, whole)} of training every trial "
        f"to its end), about {duration(seconds)} of training at each trial's own speed.",
    )


def _spared_seconds(trial: TrialResult) -> float:
    if not trial.samples_seen:
        return 0.0
    return trial.training_seconds / trial.samples_seen * max(0, trial.config.samples - trial.samples_seen)


def _audited(facts: SweepFacts) -> Sentence:
    audit = facts.result.audit
    return (Strong("Was stopping right: "), audit.sentence) if audit is not None and audit.ended else ()


def _edge(edges: list[Edge]) -> Sentence:
    telling = [edge for edge in edges if edge.matters]
    if not telling:
        return ()
    methods: dict[str, list[str]] = {}
    for edge in telling:
        methods.setdefault(edge.title, []).append(edge.method)
    words = [f"{title} ({listed(names, 4)})" for title, names in methods.items()]
    return (
        Strong("Note: "),
        f"the best value of {listed(words, 4)} lies on the edge of the range that was tried, so better ones may lie beyond; "
        "Where to look next proposes a search.",
    )
