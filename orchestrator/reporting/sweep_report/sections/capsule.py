"""What one needs to run the sweep again, and to trust that it is the same: data, model, code, packages, seeds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from orchestrator.reporting.sweep_report.facts.facts import SweepFacts, listed, moment
from orchestrator.reporting.sweep_report.facts.sweep_files import sweep_yaml
from orchestrator.reporting.sweep_report.layout.blocks import Block, Code, Column, Details, Mono, Section, Table, note
from orchestrator.results.environment import package_versions
from orchestrator.spec.sweep import SweepSpec


def capsule_section(facts: SweepFacts) -> Section:
    """Return digests, code, packages, seeds, milestones and the way to run the sweep again."""
    history, spec = facts.history, facts.spec
    seeds = sorted({trial.result.config.seed for trial in facts.history.trials})
    rows = [
        ["sweep", f"{facts.result.name} (id {facts.result.sweep_id})"],
        *_subject(spec),
        *([f"digest of {name}", digest] for name, digest in (*history.inputs.items(), *spec.plugins.items())),
        ["digest of the sweep file", spec.digest],
        ["seeds", f"trials {listed([str(seed) for seed in seeds])}; searcher {spec.searcher.seed}" + _split(spec)],
        ["searcher", spec.searcher.kind],
        ["milestones (samples)", ", ".join(f"{level:,}" for level in history.levels)],
        ["began, last record", f"{moment(history.began)}, {moment(history.ended)}"],
        ["storage", facts.result.storage],
        *_tracking(facts),
        *_environment(history.environment),
    ]
    command = f"orchestrate run {shlex.quote(f'{spec.name}.yaml')}"
    blocks: list[Block] = [
        Table([Column("what"), Column("value", wide=True)], rows),
        note(
            "To run the whole sweep again, save the file below and run ",
            Mono(command),
            " (with ",
            Mono("--fresh"),
            " where a sweep of this name is in the storage).",
        ),
        Details(f"{spec.name}.yaml", [Code(sweep_yaml(spec), f"{spec.name}.yaml")]),
    ]
    if not history.environment:
        blocks.append(
            note(
                "Code and package versions were not recorded by the version that ran this sweep; MLflow may hold them as tags of the parent run."
            )
        )
    return Section("capsule", "Data, environment, and how to run it again", blocks)


def _tracking(facts: SweepFacts) -> list[list[str]]:
    ids = facts.result.tracking
    if not ids.parent_run_id:
        return []
    where = f" in {ids.experiment}" if ids.experiment else ""
    return [["MLflow run", f"{ids.parent_run_id}{where}" + (f" at {ids.uri}" if ids.uri else "")]]


def _environment(found: Mapping[str, object]) -> list[list[str]]:
    commit = (
        f"{found['git_commit']}{', with uncommitted changes' if found.get('git_dirty') else ''}"
        if found.get("git_commit")
        else ""
    )
    machine = ", ".join(str(found[name]) for name in ("host", "machine") if found.get(name))
    versions = ", ".join(f"{name} {version}" for name, version in package_versions(found).items())
    rows = [
        ["git commit", commit],
        ["digest of the code", str(found.get("code") or "")],
        ["machine", machine],
        ["CPU cores", str(found.get("cpus") or "")],
        ["Python", str(found.get("python") or "")],
        ["packages", versions],
    ]
    return [row for row in rows if row[1]]


def _subject(spec: SweepSpec) -> list[list[str]]:
    """Return what was trained."""
    if spec.entrypoint is not None:
        return [["training code", spec.entrypoint.label]]
    model = spec.model.path + (f" at revision {spec.model.revision}" if spec.model.revision else "")
    return [
        ["base model", model],
        ["training data", listed(list(spec.data.sources))],
    ]


def _split(spec: SweepSpec) -> str:
    return "" if spec.entrypoint is not None else f"; held-out split {spec.data.split_seed}"
