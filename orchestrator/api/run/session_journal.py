"""What a session writes into the journal of its sweep: what the sweep is, and where and with what it is trained."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from orchestrator.api.run.session_start import SessionStart
from orchestrator.history.journal_facts import FORMAT, after_search, recorded_inputs
from orchestrator.spec.trial.identity import digest
from orchestrator.storage.capacity import Capacity
from orchestrator.storage.journal import Journal
from orchestrator.storage.journal_records.sessions import SessionRecord
from orchestrator.storage.journal_records.sweeps import AfterSearchRecord, ExtendRecord, InputsRecord, SweepRecord
from orchestrator.storage.plugin_files import keep_plugins
from orchestrator.storage.user_actions import whoever
from orchestrator.tracking.mlflow.opening import default_tracking_uri
from orchestrator.tracking.provenance import environment


def open_journal(start: SessionStart, journal: Journal) -> str:
    """Write what the sweep is, where the journal does not say so yet; returns the sweep's id."""
    keep_plugins(start.folder, start.spec.plugin_codes)
    first = journal.records.first(SweepRecord)
    if first is None:
        sweep_id = digest({"content": start.content, "storage": str(start.folder.root.resolve()), "time": time.time()})
        journal.append(
            SweepRecord(sweep_id=sweep_id, content=start.content, format=FORMAT, inputs=start.inputs, plan=start.plan)
        )
    else:
        sweep_id = first.sweep_id
        if start.extension.changes(start.content, journal.records):
            journal.append(ExtendRecord(content=start.content, format=FORMAT, plan=start.plan, who=whoever()))
        if recorded_inputs(journal.records) != start.inputs:
            journal.append(InputsRecord(inputs=start.inputs))
    if after_search(journal.records) != start.spec.after_search:
        journal.append(AfterSearchRecord(**start.spec.after_search))
    return sweep_id


def session_record(start: SessionStart, capacity: Capacity) -> SessionRecord:
    """Where and with what this session trains: what `rerun` compares, and where `ui` and `watch` find the runs."""
    tracking, setup = start.spec.tracking, start.validation.setup
    uri = tracking.uri or default_tracking_uri(start.folder.storage)
    # What a plug-in keeps is not read back.
    in_store = tracking.enabled and tracking.tracker is None
    return SessionRecord(
        slots=capacity.slots,
        cpus=capacity.cpus,
        resources=start.spec.resources.model_dump(mode="json"),
        cluster=start.spec.cluster,
        environment=environment(),
        folder=str(Path.cwd()),
        storage=str(start.folder.storage.resolve()),
        entrypoint=None if start.entrypoint is None else asdict(start.entrypoint),
        evaluation={} if setup is None else {entry.name: entry.digest for entry in setup.evaluation},
        tracking={"uri": uri, "experiment": tracking.experiment or start.spec.name} if in_store else None,
    )
