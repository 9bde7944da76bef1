"""``run``: from a checked sweep to a result; resumes when the same sweep was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from orchestrator.api.plan.capacity import check_capacity
from orchestrator.api.plan.preflight import ValidationResult, validate_sweep
from orchestrator.api.run.extension import Extension, as_extended, rebased_spec, standing
from orchestrator.api.run.inputs import inputs_of
from orchestrator.api.run.session import Session
from orchestrator.api.run.session_start import SessionStart
from orchestrator.history.journal_facts import check_same_inputs, check_same_sweep, complete_capacity, set_aside
from orchestrator.history.moved_paths import Whereabouts
from orchestrator.progress import Say, silent
from orchestrator.results.records import SweepResult, SweepView
from orchestrator.spec.sweep import SweepSpec
from orchestrator.storage.driver_presence import check_not_driven
from orchestrator.storage.journal import read_journal
from orchestrator.storage.journal_records.sequence import JournalRecords
from orchestrator.storage.journal_records.trials import TrialRecord
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tuning.clusters.connect import connected


def run_sweep(
    spec: SweepSpec,
    *,
    ray_address: str | None = None,
    record: bool = False,
    fresh: bool = False,
    where: str = "sweep file",
    observer: Callable[[SweepView], None] | None = None,
    say: Say = silent,
) -> SweepResult:
    """Run a sweep, or resume it when the same sweep was interrupted.

    Args:
        spec: The sweep, from `load_sweep`.
        ray_address: Join this Ray cluster instead of the profile's.
        record: Stop nothing and keep all signals.
        fresh: Set an earlier sweep of this name aside (its folder is renamed) and start anew.
        where: Name of the sweep file for messages.
        observer: Receives snapshots about twice a second.
        say: Receives progress texts.

    Returns:
        The result, also of an interrupted session (``status``).

    Raises:
        InputError: If something is wrong; then nothing was started or written.
        SweepInterruptedError: If the storage failed or another driver took over; the sweep resumes.
    """
    folder = SweepFolder(Path(spec.storage), spec.name)
    check_not_driven(folder, where)
    if not fresh:
        check_same_sweep(folder, {**spec.content(), "record": record}, where)
        spec = as_extended(spec, read_journal(folder.journal))
    return run_extended(
        spec, standing, ray_address=ray_address, record=record, fresh=fresh, where=where, observer=observer, say=say
    )


def run_extended(
    spec: SweepSpec,
    extend: Callable[[ValidationResult, JournalRecords], Extension],
    *,
    setup_from: Whereabouts | None = None,
    ray_address: str | None = None,
    record: bool = False,
    fresh: bool = False,
    where: str = "sweep file",
    observer: Callable[[SweepView], None] | None = None,
    say: Say = silent,
) -> SweepResult:
    """Run a sweep whose file is known to be the one of its folder, with what extends it.

    Args:
        spec: The sweep as it is to be.
        extend: Called once model and data have been read, with the journal; says what is to be trained besides.
        setup_from: Where the paths of its file led when it was last run; None: they lead from this folder.
        ray_address: As `run_sweep`.
        record: As `run_sweep`.
        fresh: As `run_sweep`.
        where: As `run_sweep`.
        observer: As `run_sweep`.
        say: As `run_sweep`.

    Raises:
        InputError: If something is wrong; then nothing was started or written.
        SweepInterruptedError: If the storage failed or another driver took over; the sweep resumes.
    """
    started = time.monotonic()
    folder = SweepFolder(Path(spec.storage), spec.name)
    records = JournalRecords(folder.journal) if fresh else read_journal(folder.journal)
    placed = rebased_spec(spec, setup_from)
    validation = validate_sweep(placed, ray_address=ray_address, where=where, say=say, expected=False)
    extension = extend(validation, records)
    validation = replace(validation, plan=extension.plan)
    check_capacity(validation, where, {record.trial for record in records.of(TrialRecord)})
    inputs = inputs_of(validation)
    if not fresh:
        check_same_inputs(folder, inputs, where)
    content = {**spec.content(), "record": record}
    start = SessionStart(
        replace(validation, spec=spec), folder, content, inputs, record, started, say, extension, placed.trial_setup
    )
    asks = fresh or extension.asks(content, records)
    done = None if asks else complete_capacity(folder, spec.after_search)
    if done is not None:
        return Session(start, done, idle=True).run(observer)
    say(validation.cluster.about.greeting)
    with connected(validation.cluster, spec.resources, validation.plan.trials) as capacity:
        if fresh:  # only now: a cluster that cannot be joined leaves the earlier sweep where it is
            set_aside(folder)
        return Session(start, capacity).run(observer)
