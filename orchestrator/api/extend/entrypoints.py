"""The user's code of a sweep that is read back, also where it was moved or copied with the sweep's storage folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.errors import EntrypointError
from orchestrator.history.journal_facts import FILE, recorded_inputs
from orchestrator.history.journal_state import JournalState
from orchestrator.history.moved_paths import Whereabouts
from orchestrator.settings.trial_setup import EntrypointSettings
from orchestrator.tuning.own_training.inspect_entrypoint import EntrypointReport, inspect_entrypoint


def found_entrypoint(state: JournalState) -> tuple[EntrypointSettings, EntrypointReport]:
    """Return the entrypoint of a sweep with the folder in which its code is now, and what the code is.

    Where it can be found in several folders (the sweep was copied), the one counts whose files are those that the sweep
    was run with.

    Raises:
        EntrypointError: If it is nowhere; names the folders that were looked into.
    """
    given, where = _last_run(state), str(state.folder.root)
    places = list(dict.fromkeys(place.resolve() for place in Whereabouts.of(state).places(given.folder or ".")))
    known = recorded_inputs(state.records) or {}
    found: list[tuple[EntrypointSettings, EntrypointReport]] = []
    problems = []
    for place in dict.fromkeys([*places, Path.cwd()]):
        settings = replace(given, folder=str(place))
        try:
            report = inspect_entrypoint(settings, where)
        except EntrypointError as error:
            problems.append(f"{place} ({error.rule})")
            continue
        if {f"{FILE}{name}": value for name, value in report.files.items()} == known:
            return settings, report
        found.append((settings, report))
    if found:
        return found[0]
    raise EntrypointError(
        where,
        "entrypoint",
        given.label,
        f"its code is gone, or cannot be used: looked into {'; '.join(problems)}",
        "put it back, or run the command in the folder that holds it",
    )


def _last_run(state: JournalState) -> EntrypointSettings:
    """Return the entrypoint as the latest session ran it, its folder included."""
    told = state.session.entrypoint
    if told:
        return EntrypointSettings(**told)
    assert state.spec.entrypoint is not None
    return state.spec.entrypoint
