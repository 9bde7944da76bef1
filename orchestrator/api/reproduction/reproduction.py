"""``reproduce``: the paper's experiments at a scale that fits, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.api.reproduction.checks import check_data, check_inputs, check_places
from orchestrator.api.reproduction.options import check_options, checked_findings, checked_scale, untestable
from orchestrator.api.reproduction.report import track_findings, write_findings
from orchestrator.api.reproduction.subject import (
    Bases,
    check_models,
    make_bases,
    model_title,
    own_subject,
    subject_label,
)
from orchestrator.api.reproduction.sweeps import (
    design_of,
    find_baseline,
    run_designs,
    states_of,
    suite_runs,
    suite_spec,
    suite_specs,
)
from orchestrator.errors import InputError
from orchestrator.progress import Say, silent
from orchestrator.reporting.findings.analysis.analyse import analyse
from orchestrator.reporting.findings.analysis.outcome import FindingOutcome, not_tested, without_verdict
from orchestrator.reporting.findings.pages.facts import FindingsFacts
from orchestrator.reporting.findings.registration.registration import Finding, registration, registration_digest
from orchestrator.reporting.findings.registration.render import TESTBED_BASELINE, Subject, sweep_name
from orchestrator.reporting.findings.registration.scaling import PAPER, PAPER_BASELINE, Scale
from orchestrator.reporting.findings.registration.suite import needed_designs
from orchestrator.results.records import SweepView
from orchestrator.spec.sweep import SweepSpec


@dataclass(frozen=True)
class Reproduction:
    """What a reproduction found.

    Args:
        facts: Verdicts, effects, and the sweeps they rest on.
        page: The report as an HTML page; None where ``out`` asked for Markdown alone.
        markdown: The report as Markdown; None where ``out`` asked for a page alone.
        run_id: Its MLflow run; empty without tracking.
        interrupted: Whether sweeps are left to run; the same command goes on.
    """

    facts: FindingsFacts
    page: Path | None
    markdown: Path | None
    run_id: str
    interrupted: bool

    @property
    def outcomes(self) -> Sequence[FindingOutcome]:
        """One per finding that was asked for."""
        return self.facts.outcomes

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, the object that ``--json`` prints."""
        places = {"page": self.page, "markdown": self.markdown}
        files = {name: None if place is None else str(place) for name, place in places.items()} | {
            "run_id": self.run_id
        }
        return {**self.facts.as_dict(), **files, "interrupted": self.interrupted}


def reproduce(
    scale: str = "mini",
    *,
    models: Sequence[str] = (),
    data: str = "",
    general_text: str = "",
    findings: Sequence[str] = (),
    seeds: int | None = None,
    baseline_rate: float | None = None,
    storage: Path | str | None = None,
    out: Path | str | None = None,
    tracking_uri: str | None = None,
    report_only: bool = False,
    ray_address: str | None = None,
    observer: Callable[[SweepView], None] | None = None,
    say: Say = silent,
) -> Reproduction:
    """Run the sweeps that the findings of arXiv 2412.13337 rest on, as far as they are missing, and judge the findings.

    Sweeps that are in the storage already are taken as they are; interrupted ones go on.

    Args:
        scale: ``mini`` (two CPU cores), ``gpu`` (one GPU; needs ``models`` and ``data``), ``paper`` (the sweep files of
            search_spaces/secret_recipe), or ``smoke`` (minutes; only shows that everything works).
        models: Base model; a second one makes F7 testable. Empty: the test bed's two.
        data: Training data of the user's own; empty: the test bed's. Knowledge and skills are then not scored.
        general_text: Text by which forgetting is measured on data of the user's own.
        findings: Ids such as ``F1``; empty: all.
        seeds: Seeds of each configuration, instead of the design's.
        baseline_rate: The learning rate that stands for the paper's 2e-5; default: the test bed's known one, else
            found by a sweep over a ladder of rates.
        storage: Storage folder; default: that of sweep files.
        out: A folder for page, Markdown and pictures, or one file that ends in .html or .md; default: in the storage.
        tracking_uri: Where MLflow keeps runs; default: in the storage.
        report_only: Train nothing; judge what is there.
        ray_address: Join this Ray cluster.
        observer: Receives snapshots of the running sweep.
        say: Receives progress texts.

    Raises:
        InputError: If something is wrong; then nothing was started or written.
    """
    chosen_scale = checked_scale(scale, models, data)
    chosen = checked_findings(findings, seeds, models, data)
    check_options(chosen_scale, data, general_text, baseline_rate)
    place = Path(storage or SweepSpec.model_fields["storage"].default).resolve()
    check_places(place, out, tracking_uri, ray_address, report_only)
    check_models(models)
    check_data(data, general_text)
    skipped = {finding.id: why for finding in chosen if (why := untestable(finding, models, data))}
    names = needed_designs([finding for finding in chosen if finding.id not in skipped])
    work = _Work(chosen_scale, place, str(storage or ""), seeds, tracking_uri, ray_address, observer, say)
    bases = make_bases(
        models, not data and chosen_scale != PAPER, chosen_scale, place, "grid_second" in names, report_only, say
    )
    subject, how = _subject(work, bases, data, general_text, baseline_rate, report_only)
    specs = suite_specs(names, chosen_scale, subject, bases, place, seeds, tracking_uri)
    if chosen_scale == PAPER and not report_only:
        check_inputs(specs)
    interrupted = False if report_only else not run_designs(specs, ray_address, observer, say)
    facts = _facts(work, chosen, skipped, specs, subject, bases, how, data)
    folder = place / sweep_name(chosen_scale, "findings", subject.label)
    files = write_findings(facts, Path(out) if out is not None else folder)
    run_id = track_findings(facts, files, folder.name, folder, tracking_uri, say)
    return Reproduction(facts, files.page, files.markdown, run_id, interrupted)


@dataclass(frozen=True)
class _Work:
    """What all steps of a reproduction share; ``named`` is the storage as the user gave it."""

    scale: Scale
    storage: Path
    named: str
    seeds: int | None
    tracking_uri: str | None
    ray_address: str | None
    observer: Callable[[SweepView], None] | None
    say: Say


def _subject(
    work: _Work, bases: Bases, data: str, general_text: str, baseline_rate: float | None, report_only: bool
) -> tuple[Subject, str]:
    """Return what is trained on what, with its baseline rate and how that was found."""
    if work.scale == PAPER:
        return Subject(model=bases.first, baseline=PAPER_BASELINE, train="the paper's data"), "the paper's own"
    rate = baseline_rate if baseline_rate is not None else TESTBED_BASELINE
    subject = (
        own_subject(bases.first, rate, data, general_text, work.scale, work.storage)
        if data
        else Subject(model=bases.first, baseline=rate, label=_label(bases, data))
    )
    if baseline_rate is not None:
        return subject, "given by the user"
    if bases.first == "testbed" and not data:
        return subject, "found by search_spaces/secret_recipe_mini/baseline.yaml"
    spec = suite_spec("baseline", work.scale, subject, bases, work.storage, None, work.tracking_uri)
    found = find_baseline(spec, report_only, work.ray_address, work.observer, work.say)
    if found is None:
        raise InputError(
            "reproduce",
            value=spec.name,
            rule="the sweep that finds the base's baseline learning rate is not there or not finished",
            mend="run the command without --report-only, or give --baseline-rate",
        )
    return replace(subject, baseline=found), f"the best of the ladder in sweep {spec.name}"


def _label(bases: Bases, data: str) -> str:
    return "" if bases.first == "testbed" and not data else subject_label(bases.first, data)


def _facts(
    work: _Work,
    chosen: Sequence[Finding],
    skipped: dict[str, str],
    specs: dict[str, SweepSpec],
    subject: Subject,
    bases: Bases,
    how: str,
    data: str,
) -> FindingsFacts:
    shared = registration()
    states = states_of(specs)
    runs = suite_runs(specs, states, work.scale, subject.baseline)
    by_benchmarks = subject.is_testbed or work.scale == PAPER
    there: dict[str, bool] = {}
    for state in states:
        there[design_of(state.design)] = there.get(design_of(state.design), True) and state.complete
    outcomes = [
        not_tested(finding, skipped[finding.id], by_benchmarks)
        if finding.id in skipped
        else _believed(analyse(finding, runs, there, shared, by_benchmarks), work.scale)
        for finding in chosen
    ]
    return FindingsFacts(
        scale=work.scale.name,
        models=[model_title(path) for path in (bases.first, bases.second) if path],
        data=data or ("the paper's data" if work.scale == PAPER else "the test bed"),
        testbed=subject.is_testbed,
        baseline=subject.baseline,
        baseline_from=how,
        sweeps=states,
        outcomes=outcomes,
        runs=runs,
        digest=registration_digest(),
        notes=_notes(work, subject),
        command=_command(work, chosen, bases, subject, data),
        written=time.time(),
    )


def _believed(outcome: FindingOutcome, scale: Scale) -> FindingOutcome:
    """Take the verdict away where runs are too short for one."""
    if scale.name != "smoke" or outcome.verdict is None:
        return outcome
    return without_verdict(
        outcome, "scale smoke is far too small for a verdict; its numbers only show that everything works"
    )


def _notes(work: _Work, subject: Subject) -> list[str]:
    notes = []
    if work.scale.name == "smoke":
        notes.append(
            "Scale smoke only shows that everything works: its runs are far too short for any verdict to mean something."
        )
    if not subject.is_testbed:
        notes.append(
            "Knowledge and skills are scored on the test bed alone; on data of your own the verdicts rest on the held-out loss."
        )
        if not subject.general_text:
            notes.append("Forgetting was not measured: name a text with --general-text.")
    return notes


def _command(work: _Work, chosen: Sequence[Finding], bases: Bases, subject: Subject, data: str) -> str:
    parts = ["orchestrate reproduce secret-recipe", f"--scale {work.scale.name}"]
    if not subject.is_testbed or bases.first != "testbed":
        parts += [f"--model {path}" for path in (bases.first, bases.second) if path]
    parts += [f"--data {data}"] if data else []
    parts += [f"--general-text {subject.general_text}"] if subject.general_text else []
    parts += (
        [f"--findings {','.join(finding.id for finding in chosen)}"]
        if len(chosen) < len(registration().findings)
        else []
    )
    parts += [f"--seeds {work.seeds}"] if work.seeds is not None else []
    parts += [f"--storage {work.named}"] if work.named else []
    return " ".join(parts)
