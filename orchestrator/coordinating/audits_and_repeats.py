"""Trials beside the search: audits of stopped trials, and repeats of the best recipes with new seeds.

They leave the search as it is: the engine and the searcher never hear of them, nobody stops them but the divergence
rule, and they take slots that the search cannot use any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.decisions.final import audit, repeats
from orchestrator.decisions.final.audit import AuditDraw, is_audited
from orchestrator.decisions.final.repeats import RepeatRule, Run, Standing
from orchestrator.decisions.objective import Objective
from orchestrator.decisions.rules.divergence import RULE as DIVERGENCE
from orchestrator.records import Action, Decision, Milestone, Outcome, Role, Scalar, TrialConfig, TrialState
from orchestrator.spec.trial.identity import digest, trial_fingerprint
from orchestrator.storage.trial_entries import TrialEntry


@dataclass
class AuditsAndRepeats:
    """Which audits and repeats are due.

    Args:
        objective: What best means.
        draw: Draws stopped trials for the audit.
        rule: How the best recipes are repeated.
        due: Trials to be trained, in this order: audits and repeats that a killed session began, then new ones.
    """

    objective: Objective
    draw: AuditDraw = field(default_factory=lambda: AuditDraw(0.0, 0.0))
    rule: RepeatRule = field(default_factory=RepeatRule)
    due: deque[str] = field(default_factory=deque)
    _stops: int = 0

    def note_stop(self, decision: Decision) -> None:
        """Take a stop of the search in; it is due for an audit if it is drawn. Must be told of all, in their order."""
        if is_audited(decision.rule):
            if self.draw.takes(self._stops):
                self.due.append(decision.trial_id)
            self._stops += 1

    def begun(self, trial_id: str) -> None:
        """An earlier session has begun this audit; it is due no more, whatever the present share draws."""
        if trial_id in self.due:
            self.due.remove(trial_id)

    def next_repeats(self, trials: Mapping[str, TrialEntry]) -> list[tuple[TrialConfig, Decision]]:
        """Return the repeats that the comparison lacks now, each with the reason for it.

        Args:
            trials: All trials, none of the search or the audit being open any more.
        """
        if not self.rule.enabled:
            return []
        stand = repeat_standing(trials.values(), self.rule, self.objective)
        searched = _searched(list(trials.values()), _first_seed(trials.values()))
        originals = {recipe_of(entry.config): entry for entry in reversed(searched)}
        taken = _seeds_by_recipe(searched)
        found: list[tuple[TrialConfig, Decision]] = []
        for recipe, seed in stand.wanted:
            config = replace(originals[recipe].config, seed=_free_seed(taken[recipe], seed, self.rule.repeats))
            if trial_fingerprint(config) not in trials:
                found.append((config, _repeat_start(config, originals[recipe], stand, self.rule)))
        return found

    def audit_start(self, entry: TrialEntry) -> Decision:
        """Return the decision that trains a stopped trial on."""
        stop = entry.verdict
        assert stop is not None
        reason = (
            f"Trained on to its end for the audit, to see whether it was right that {stop.rule} stopped it at "
            f"{entry.samples_seen:,} samples; drawn at random ({self.draw.share:g} of the stopped trials)."
        )
        evidence: dict[str, Scalar] = {
            "share": self.draw.share,
            "stop_rule": stop.rule,
            "stopped_at": entry.samples_seen,
        }
        return Decision(entry.trial_id, entry.samples_seen, Action.CONTINUE, audit.RULE, entry.cohort, reason, evidence)

    def after_milestone(self, entry: TrialEntry, milestone: Milestone, halted: Decision | None) -> Decision:
        """Return the decision on a trial beside the search at a milestone: it goes on, unless it diverged."""
        rule = entry.role.value
        if milestone.state is TrialState.DIVERGED:
            if halted is not None:
                return replace(halted, cohort=entry.cohort)
            reason = f"Diverged before {milestone.samples_seen:,} samples; the worker gave no details."
            return Decision(entry.trial_id, milestone.samples_seen, Action.STOP, DIVERGENCE, entry.cohort, reason)
        done = milestone.state is TrialState.COMPLETED
        reason = self._end_reason(entry, milestone) if done else f"Goes on: nobody judges {_PLURAL[entry.role]}."
        evidence: dict[str, Scalar] = {"milestone": milestone.index, "level": milestone.level}
        evidence |= {name: milestone.scores[name] for name in self.objective.weights if name in milestone.scores}
        return Decision(entry.trial_id, milestone.samples_seen, Action.CONTINUE, rule, entry.cohort, reason, evidence)

    def _end_reason(self, entry: TrialEntry, milestone: Milestone) -> str:
        ended = f"{self.objective.label} {self.objective.value(milestone.scores):.4g}"
        if entry.role is Role.REPEAT:
            return f"Repeat done: {ended} with seed {entry.config.seed}."
        if entry.stop is None:
            return f"Completed: {ended} at its end."
        done = "Audit done" if entry.role is Role.AUDIT else "Completed"
        return f"{done}: {ended} at its end; {entry.stop.rule} had stopped it at {entry.stopped_at:,} samples."


_PLURAL = {
    Role.AUDIT: "audited trials",
    Role.REPEAT: "repeats",
    Role.RESUMED: "trials that were resumed by hand",
    Role.CLONE: "clones",
    Role.EXTENDED: "extended trials",
}


def recipe_of(config: TrialConfig) -> str:
    """Return what a configuration shares with its repeats: a digest of all but its seed."""
    return digest({name: value for name, value in config.as_dict().items() if name != "seed"})


def recipe_name(entry: TrialEntry) -> str:
    """Return a trial's name without its seed."""
    return entry.name.removesuffix(f" s{entry.config.seed}")


def repeat_standing(entries: Iterable[TrialEntry], rule: RepeatRule, objective: Objective) -> Standing:
    """Return how the comparison of the best recipes stands, by the trials so far.

    A trial counts once: as one of those by which its recipe is chosen, or as one of its repeats.
    """
    known = list(entries)
    first = _first_seed(known)
    searched = _searched(known, first)
    taken = _seeds_by_recipe(searched)
    # A clone with a seed of the rounds is what a repeat would be, and is not trained again.
    others = {e.trial_id for e in searched}
    ended = {
        (recipe_of(e.config), e.config.seed): e
        for e in known
        if e.role in (Role.REPEAT, Role.CLONE) and trained_whole(e) and e.outcome.is_final and e.trial_id not in others
    }
    repeated = [
        replace(_run(ended[recipe, own]), seed=seed)
        for recipe, seeds in taken.items()
        for seed in range(first, first + rule.repeats)
        if (recipe, own := _free_seed(seeds, seed, rule.repeats)) in ended
    ]
    completed = [_run(entry) for entry in searched if entry.outcome is Outcome.COMPLETED]
    return repeats.standing(rule, objective, completed, repeated, first)


def _first_seed(entries: Iterable[TrialEntry]) -> int:
    """Return the seed of the first round: no trial that the searcher proposed has it or a later one."""
    return 1 + max((entry.config.seed for entry in entries if entry.role.proposed), default=0)


def _searched(entries: Sequence[TrialEntry], first_seed: int) -> list[TrialEntry]:
    """Return the trials by which recipes are chosen.

    A clone with a seed of the rounds stands for a repeat, unless its recipe has no other trial.
    """
    able = [entry for entry in entries if chosen_from(entry)]
    early = [entry for entry in able if entry.role is not Role.CLONE or entry.config.seed < first_seed]
    known = {recipe_of(entry.config) for entry in early}
    return [*early, *(entry for entry in able if recipe_of(entry.config) not in known)]


def _seeds_by_recipe(entries: Iterable[TrialEntry]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for entry in entries:
        found.setdefault(recipe_of(entry.config), set()).add(entry.config.seed)
    return found


def _free_seed(taken: Collection[int], seed: int, rounds: int) -> int:
    """Return the seed with which a recipe is trained in a round: another one where a trial that chose it has that seed."""
    while seed in taken:
        seed += rounds
    return seed


def trained_whole(entry: TrialEntry) -> bool:
    """Whether a trial was trained from the base model, so that its configuration alone says how it came about."""
    return entry.origin is None or entry.origin.takes == "configuration"


def chosen_from(entry: TrialEntry) -> bool:
    """Whether a trial may make its recipe a candidate for repeats."""
    return entry.role is not Role.REPEAT and trained_whole(entry)


def _run(entry: TrialEntry) -> Run:
    scores = entry.scores if entry.outcome is Outcome.COMPLETED else None
    return Run(recipe_of(entry.config), entry.config.seed, scores)


def _repeat_start(config: TrialConfig, original: TrialEntry, stand: Standing, rule: RepeatRule) -> Decision:
    number = stand.rounds + 1
    name = recipe_name(original)
    reason = (
        f"Repeats {name} with the new seed {config.seed} (round {number} of at most {rule.repeats}; "
        f"{len(stand.left)} candidates), to tell the winner from noise."
    )
    evidence: dict[str, Scalar] = {"round": number, "seed": config.seed, "recipe": name, "original": original.trial_id}
    return Decision(trial_fingerprint(config), 0, Action.CONTINUE, repeats.RULE, original.cohort, reason, evidence)
