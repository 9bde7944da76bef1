"""What the cards of exported trials have in common: scores, capsule, how to train it again; texts are escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.records import Outcome
from orchestrator.reporting.text.numbers import duration, number, with_error
from orchestrator.results.environment import package_versions
from orchestrator.results.records import SweepHistory, TrialHistory
from orchestrator.spec.sweep import SweepSpec

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")


def again_part(history: SweepHistory, trial: TrialHistory) -> list[str]:
    """Return how to train the same again."""
    return [
        "## Run it again\n",
        fenced(f"orchestrate rerun {history.result.name} {trial.result.trial_id} --storage STORAGE", "bash"),
        "This trains the recipe again and says whether data, code, packages and result are the same.\n",
    ]


def scores_table(history: SweepHistory, trial: TrialHistory) -> str:
    """Return the scores of a trial, beside those of its base model where they are known, as a table."""
    result, base = trial.result, history.result.base_scores
    known = [metric for metric in result.scores if metric in base]
    rows = [
        (
            code(metric),
            with_error(value, result.standard_errors.get(metric)),
            *([number(base.get(metric))] if known else []),
        )
        for metric, value in result.scores.items()
    ]
    return (
        _table(("metric", "this model", "base model") if known else ("metric", "this model"), rows)
        + "\nAfter ±: one standard error over the rows of the set.\n"
    )


def chosen_text(history: SweepHistory, trial: TrialHistory) -> str:
    """Return out of how many trials it was chosen, and by what."""
    sweep, result = history.result, trial.result
    count = sum(sweep.counts.values())
    winner = sweep.winner is not None and sweep.winner.trial_id == result.trial_id
    told = f"The winner of {count} trials" if winner else f"One of {count} trials"
    ended = (
        ""
        if result.outcome is Outcome.COMPLETED
        else f" It was not trained to its end: {result.outcome.value}. {result.reason}"
    )
    verdict = f" {sweep.verdict.sentence}" if winner and sweep.verdict is not None else ""
    return f"{told} by `{_no_ticks(sweep.objective)}` ({sweep.mode}), in {duration(sweep.wall_seconds)} of wall time.{plain_text(ended + verdict)}\n"


def capsule_table(history: SweepHistory, trial: TrialHistory, spec: SweepSpec) -> str:
    """Return what the result depends on besides the recipe, as a table."""
    return _table(("what", "value"), _capsule(history, trial, spec))


def _capsule(history: SweepHistory, trial: TrialHistory, spec: SweepSpec) -> list[tuple[str, str]]:
    """Return data, digests, seeds and what it ran on."""
    found = history.environment
    versions = ", ".join(f"{name} {version}" for name, version in package_versions(found).items())
    commit = (
        f"{found['git_commit']}{' with uncommitted changes' if found.get('git_dirty') else ''}"
        if found.get("git_commit")
        else ""
    )
    rows = [
        ("sweep", f"{history.result.name} (id {history.result.sweep_id})"),
        ("trial", f"{trial.result.trial_id} ({trial.result.name})"),
        *_subject(spec),
        *((f"digest of {name}", digest) for name, digest in (*history.inputs.items(), *spec.plugins.items())),
        ("seed", str(trial.result.config.seed)),
        ("began from", _origin(trial)),
        ("MLflow run", trial.result.run_id or ""),
        ("code", commit or str(found.get("code") or "")),
        ("python", str(found.get("python") or "")),
        ("packages", versions),
        ("trained", duration(trial.result.training_seconds)),
    ]
    return [(name, plain_text(value)) for name, value in rows if value]


def _subject(spec: SweepSpec) -> list[tuple[str, str]]:
    if spec.entrypoint is not None:
        return [("code of the trial", spec.entrypoint.label)]
    revision = f" at revision {spec.model.revision}" if spec.model.revision else ""
    return [("base model", spec.model.path + revision), ("training data", spec.data.label)]


def _origin(trial: TrialHistory) -> str:
    origin = trial.result.origin
    return "" if origin is None else f"the {origin.takes} of trial {origin.trial_id} ({origin.name})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def fenced(text: str, language: str) -> str:
    """Return a fenced block; the fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def plain_text(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Return a text as inline code, safe in a table."""
    return f"`{_no_ticks(text)}`"


def _no_ticks(text: str) -> str:
    return " ".join(text.replace("`", "'").replace("|", "/").split())
