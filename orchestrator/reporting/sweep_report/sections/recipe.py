"""The recommended recipe, to copy."""

from __future__ import annotations

from orchestrator.records import Outcome
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts
from orchestrator.reporting.sweep_report.facts.sweep_files import recipe, sweep_yaml
from orchestrator.reporting.sweep_report.layout.blocks import Block, Code, Mono, Section, Strong, note
from orchestrator.reporting.text.origins import beyond_recipe


def recipe_section(facts: SweepFacts) -> Section | None:
    """Return the recipe of the winner (or of the trial that leads so far) as a sweep file of one trial."""
    best = facts.best
    if best is None:
        return None
    done = best.result.outcome is Outcome.COMPLETED
    blocks: list[Block] = [
        note(
            "A sweep file of this one trial: save it as ",
            Mono("recipe.yaml"),
            " and train it with ",
            Mono("orchestrate run recipe.yaml"),
            ". Fields that are not written have their defaults.",
        )
    ]
    beyond = beyond_recipe(best.result.origin)
    if beyond:
        blocks.insert(0, note(Strong(beyond)))
    blocks.append(Code(sweep_yaml(recipe(facts.spec, best.result.config)), "recipe.yaml"))
    checkpoint = next((each.checkpoint for each in reversed(best.milestones) if each.checkpoint), None)
    if done and checkpoint:
        blocks.append(note("Its trained weights: ", Mono(checkpoint), " in the storage folder."))
    return Section("recipe", "Recommended recipe" if done else "Leading recipe so far", blocks)
