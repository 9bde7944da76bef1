"""The card of an exported checkpoint of training of the user's own: where it comes from, and how to get it again."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.reporting.cards.parts import again_part, capsule_table, chosen_text, fenced, plain_text, scores_table
from orchestrator.reporting.sweep_report.facts.sweep_files import recipe, sweep_yaml
from orchestrator.reporting.text.origins import beyond_recipe
from orchestrator.results.records import SweepHistory, TrialHistory
from orchestrator.spec.sweep import SweepSpec


def own_card(history: SweepHistory, trial: TrialHistory, samples_seen: int, files: Sequence[str]) -> str:
    """Return the card as Markdown.

    Args:
        history: The sweep.
        trial: Whose checkpoint it is.
        samples_seen: Position of the checkpoint.
        files: Names of what the code saved.
    """
    spec = SweepSpec.model_validate({key: value for key, value in history.content.items() if key != "record"})
    assert spec.entrypoint is not None
    config, beyond = trial.result.config, beyond_recipe(trial.result.origin)
    return "\n".join(
        part
        for part in [
            f"# {plain_text(f'{history.result.name}: {trial.result.name}')}\n",
            f"The checkpoint that {plain_text(spec.entrypoint.label)} saved at {samples_seen:,} of {config.samples:,} samples "
            f"({config.effective_batch_size} samples per optimizer step, learning rate {config.learning_rate:g}): "
            f"{plain_text(', '.join(files))}. The files are as that code wrote them, and it knows how to load them.\n",
            "## Scores\n",
            scores_table(history, trial),
            chosen_text(history, trial),
            "## Recipe\n",
            "The sweep file of this one trial; beside the code, `orchestrate run recipe.yaml` trains it.\n",
            f"{plain_text(beyond)}\n" if beyond else "",
            fenced(sweep_yaml(recipe(spec, config)), "yaml"),
            "## Code and environment\n",
            capsule_table(history, trial, spec),
            *([] if beyond else again_part(history, trial)),
        ]
        if part
    )
