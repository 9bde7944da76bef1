"""The sweeps of a reproduction: made from their designs, run where they are missing, read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.api.reproduction.subject import Bases
from orchestrator.api.run.run import run_sweep
from orchestrator.history.journal_facts import check_same_sweep, is_complete
from orchestrator.history.read_sweep import read_sweep
from orchestrator.progress import Say
from orchestrator.records import Outcome
from orchestrator.reporting.findings.analysis.runs import Run, Runs, runs_of
from orchestrator.reporting.findings.pages.facts import SweepState
from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.reporting.findings.registration.render import Subject, sweep_values
from orchestrator.reporting.findings.registration.scaling import PAPER, Scale
from orchestrator.reporting.findings.registration.suite import SuiteProgress
from orchestrator.results.records import SweepView
from orchestrator.spec.loading import load_sweep, parse_sweep
from orchestrator.spec.search_space.enumeration import count_configs
from orchestrator.spec.sweep import SweepSpec
from orchestrator.storage.journal import read_journal
from orchestrator.storage.sweep_folder import SweepFolder

SIGNALS = ("grid", "noise")
"""Designs of which training signals are needed, besides scores."""

Observer = Callable[[SweepView], None] | None


def suite_spec(
    name: str, scale: Scale, subject: Subject, bases: Bases, storage: Path, seeds: int | None, tracking_uri: str | None
) -> SweepSpec:
    """Return the sweep of a design."""
    base = replace(subject, model=bases.of(designs()[name].base))
    values = sweep_values(name, scale, base, seeds) | {"storage": str(storage)}
    if tracking_uri is not None:
        values["tracking"] = {"uri": tracking_uri}
    return parse_sweep(values, f"design {name}")


def suite_specs(
    names: Sequence[str],
    scale: Scale,
    subject: Subject,
    bases: Bases,
    storage: Path,
    seeds: int | None,
    tracking_uri: str | None,
) -> dict[str, SweepSpec]:
    """Return the sweeps of designs by key: a design's name, or ``NAME N`` where several files make it up."""
    if scale != PAPER:
        return {name: suite_spec(name, scale, subject, bases, storage, seeds, tracking_uri) for name in names}
    specs: dict[str, SweepSpec] = {}
    for name in names:
        given = bases.of(designs()[name].base)
        overrides = [f"storage={json.dumps(str(storage))}"]
        overrides += [f"model.path={json.dumps(given)}"] if given else []
        overrides += [f"search_space.repeats={seeds}"] if seeds is not None else []
        overrides += [f"tracking.uri={json.dumps(tracking_uri)}"] if tracking_uri is not None else []
        for place, file in enumerate(designs()[name].paper, 1):
            specs[name if place == 1 else f"{name} {place}"] = load_sweep(file, overrides)
    return specs


def design_of(key: str) -> str:
    """Return the design that a key of `suite_specs` belongs to."""
    return key.partition(" ")[0]


def folder_of(spec: SweepSpec) -> SweepFolder:
    """Return where a sweep is kept."""
    return SweepFolder(Path(spec.storage), spec.name)


def run_designs(specs: Mapping[str, SweepSpec], ray_address: str | None, observer: Observer, say: Say) -> bool:
    """Run the sweeps that are missing or were interrupted, one after the other.

    Returns:
        Whether all are complete; False once one was interrupted (then the later ones were not begun).
    """
    whole = {name: _samples(spec) * planned_trials(spec) for name, spec in specs.items()}
    states = {state.design: state for state in states_of(specs)}
    done = {name: round(whole[name] * state.trials / max(1, state.planned)) for name, state in states.items()}
    progress = SuiteProgress(whole, sum(done.values()))
    for place, (name, spec) in enumerate(specs.items(), 1):
        if states[name].complete:
            say(f"Sweep {place} of {len(specs)}, {spec.name}: taken from the storage ({states[name].trials} trials).")
            continue
        say(
            f"Sweep {place} of {len(specs)}, {spec.name}: {designs()[design_of(name)].about} {progress.line(place).capitalize()}."
        )
        result = run_sweep(
            spec,
            ray_address=ray_address,
            where=f"design {name}",
            say=say,
            observer=_observed(observer, progress, place, done[name]),
        )
        if result.status != "completed":
            return False
        progress.seen(result.samples_trained - done[name])
        progress.finish()
    return True


def find_baseline(
    spec: SweepSpec, report_only: bool, ray_address: str | None, observer: Observer, say: Say
) -> float | None:
    """Return the rate of the ladder with the lowest validation loss; None while the sweep is not complete."""
    if not report_only and not _complete(spec):
        say(f"{spec.name}: finding the base's baseline learning rate.")
        run_sweep(spec, ray_address=ray_address, where="design baseline", observer=observer, say=say)
    if not _complete(spec):
        return None
    winner = read_sweep(folder_of(spec)).result.winner
    return None if winner is None else winner.config.learning_rate


def states_of(specs: Mapping[str, SweepSpec]) -> list[SweepState]:
    """Return how far each sweep is.

    Raises:
        StorageError: If the storage holds another sweep of one's name.
    """
    return [_state(name, spec) for name, spec in specs.items()]


def suite_runs(specs: Mapping[str, SweepSpec], states: Sequence[SweepState], scale: Scale, baseline: float) -> Runs:
    """Return all trials of the suite that were trained to their end."""
    found: list[Run] = []
    for state in states:
        if state.trials:
            history = read_sweep(folder_of(specs[state.design]), signals=design_of(state.design) in SIGNALS)
            found += runs_of(history, design_of(state.design), scale, baseline)
    return Runs(found)


def _state(name: str, spec: SweepSpec) -> SweepState:
    folder = folder_of(spec)
    planned = planned_trials(spec)
    if not folder.journal.is_file() or not read_journal(folder.journal):
        return SweepState(name, spec.name, planned)
    history = read_sweep(folder)
    # A sweep that was recorded by hand is as good as one that was run from here.
    recorded = bool(history.content.get("record"))
    check_same_sweep(folder, {**spec.content(), "record": recorded}, f"design {name}")
    result = history.result
    return SweepState(
        design=name,
        name=spec.name,
        planned=planned,
        trials=sum(trial.outcome in (Outcome.COMPLETED, Outcome.DIVERGED) for trial in result.trials),
        complete=_complete(spec),
        seconds=result.training_seconds + result.evaluation_seconds,
        evaluation_seconds=result.evaluation_seconds,
        run_id=result.tracking.parent_run_id,
    )


def planned_trials(spec: SweepSpec) -> int:
    """Return how many trials a suite's sweep has; all of them are grids."""
    return count_configs(spec.search_space) or 0


def _samples(spec: SweepSpec) -> int:
    return spec.budget.samples or round(PAPER.rows * (spec.budget.epochs or 1))


def _complete(spec: SweepSpec) -> bool:
    folder = folder_of(spec)
    return folder.journal.is_file() and is_complete(read_journal(folder.journal))


def _observed(observer: Observer, progress: SuiteProgress, place: int, before: int) -> Observer:
    if observer is None:
        return None

    def show(view: SweepView) -> None:
        progress.seen(view.samples_trained - before)
        observer(replace(view, name=f"{view.name} ({progress.line(place)})"))

    return show
