"""``extend``: a sweep that has ended goes on with more trials, a wider search space, or a larger budget for its best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from orchestrator.api.extend.entrypoints import found_entrypoint
from orchestrator.api.extend.request import NOTHING_MORE, ExtendRequest
from orchestrator.api.extend.trials import asked_actions, continued_trials
from orchestrator.api.plan.preflight import ValidationResult
from orchestrator.api.run.extension import Extension
from orchestrator.api.run.run import run_extended
from orchestrator.errors import InputError, SpecError, StorageError
from orchestrator.history.find_trial import Sweep, sweep_folder
from orchestrator.history.journal_facts import standing_plan
from orchestrator.history.journal_state import JournalState, read_state
from orchestrator.history.moved_paths import Whereabouts
from orchestrator.progress import Say, silent
from orchestrator.results.records import SweepResult, SweepView
from orchestrator.spec.loading import apply_override, load_sweep, parse_sweep, with_plugins
from orchestrator.spec.search_space.enumeration import count_configs, grid_configs
from orchestrator.spec.searchers import searcher_kind
from orchestrator.spec.sweep import SweepSpec, resolved
from orchestrator.spec.trial.identity import difference, trial_fingerprint
from orchestrator.storage.driver_presence import check_not_driven
from orchestrator.storage.journal_records.sequence import JournalRecords

MAY_CHANGE = ("search_space", "searcher", "budget.trials")


def extend_sweep(
    sweep: Sweep,
    request: ExtendRequest = NOTHING_MORE,
    *,
    storage: Path | str | None = None,
    ray_address: str | None = None,
    observer: Callable[[SweepView], None] | None = None,
    say: Say = silent,
) -> SweepResult:
    """Train what a sweep is extended by: in the same folder, journal and MLflow runs; nothing is trained twice.

    Args:
        sweep: Name, folder, or what `find_sweep` returned.
        request: What to train besides.
        storage: Where a name is looked up.
        ray_address: Join this Ray cluster instead of starting one.
        observer: Receives snapshots about twice a second.
        say: Receives progress texts.

    Returns:
        The result of the whole sweep, old and new trials.

    Raises:
        InputError: If something is wrong (another model or data, an exhausted search space, a trial that cannot be
            trained on, a sweep that is being run); then nothing was started or written.
        SweepInterruptedError: If the storage failed or another driver took over; the sweep resumes.
    """
    folder = sweep_folder(sweep, storage)
    check_not_driven(folder, "SWEEP")
    state = read_state(folder)
    _check_request(request)
    spec = _extended_spec(state, request, say)
    total, spec = _planned(state, spec, request, say)
    actions = asked_actions(state, request)

    def extend(validation: ValidationResult, records: JournalRecords) -> Extension:
        rows = 0 if validation.setup is None else validation.setup.train.rows
        plan = replace(standing_plan(records), trials=total)
        return Extension(plan, tuple(continued_trials(state, plan, request, rows)), actions)

    return run_extended(
        spec,
        extend,
        setup_from=Whereabouts.of(state) if request.file is None else None,
        ray_address=ray_address,
        record=bool(state.first.content.get("record")),
        where="SWEEP",
        observer=observer,
        say=say,
    )


def _check_request(request: ExtendRequest) -> None:
    if request.best is not None and (request.samples is None) == (request.epochs is None):
        raise InputError(
            "--best", value=request.best, rule="needs exactly one of --samples and --epochs, the larger budget"
        )
    if request.best is None and (request.samples is not None or request.epochs is not None):
        raise InputError(
            "--samples",
            value=request.samples or request.epochs,
            rule="goes with --best",
            mend="e.g. --best 3 --samples 8192",
        )
    if request.file is not None and request.changes:
        raise InputError(
            "--file", value=str(request.file), rule="excludes --set", mend="write the change into the file"
        )
    if request.clone is None and (request.clone_changes or request.from_weights):
        given = ", ".join(request.clone_changes) or "--from-weights"
        raise InputError(
            "--set",
            value=given,
            rule="this changes a clone, and none is asked for",
            mend="add --clone TRIAL, or write search_space.FIELD=... to change the search space",
        )


# -- the sweep as it is to be ------------------------------------------------------------------------


def _extended_spec(state: JournalState, request: ExtendRequest, say: Say) -> SweepSpec:
    state.load_plugins(say)
    values = _standing_values(state, with_code=request.file is None)
    where, changes = "--set", list(request.changes)
    if request.file is not None:
        where, given = str(request.file), dict(resolved(load_sweep(request.file, say=say)))
        values = {**given, "storage": values["storage"]}
    if request.audit is not None:
        changes.append(f"stopping.audit={request.audit}")
    if request.repeats is not None:
        changes.append(f"winner.repeats={request.repeats}")
    for text in changes:
        apply_override(values, text)
    spec = parse_sweep(with_plugins(values, Path.cwd(), where, say, state.spec.plugins), where)
    if spec.name != state.folder.name:
        raise StorageError(
            "SWEEP",
            "name",
            spec.name,
            f"the sweep's folder has another name ({state.folder.root})",
            "rename the folder, or the file's sweep",
        )
    _check_content(state, spec, where)
    return spec


def _standing_values(state: JournalState, with_code: bool) -> dict[str, object]:
    """Return the sweep file as it stands, with where it ran last."""
    values, session = dict(resolved(state.spec)), state.session
    values["storage"] = str(state.folder.storage)
    if session.resources:
        values["resources"] = session.resources
    if session.cluster:
        values["cluster"] = session.cluster
    tracking = session.tracking
    own = str(state.folder.storage.resolve())
    if tracking is None:
        values["tracking"] = {"enabled": False}
    elif tracking and not tracking["uri"].startswith("sqlite:"):
        values["tracking"] = {"uri": tracking["uri"], "experiment": tracking["experiment"]}
    elif tracking:
        default = tracking["uri"].endswith("/mlflow.db")
        values["tracking"] = {
            "uri": None if default or own in tracking["uri"] else tracking["uri"],
            "experiment": tracking["experiment"],
        }
    if with_code and values.get("entrypoint") is not None:
        values["entrypoint"] = asdict(found_entrypoint(state)[0])
    return values


def _check_content(state: JournalState, spec: SweepSpec, where: str) -> None:
    """Raise unless only what may change differs from the sweep as it stands."""
    lines = difference(state.spec.content(), spec.content())
    wrong = [line for line in lines if not line.startswith(MAY_CHANGE)]
    if wrong:
        shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise StorageError(
            where,
            rule=f"an extension may change {', '.join(MAY_CHANGE)} only, else old and new trials could not be "
            f"compared ({shown})",
            mend="run it as a sweep of another name",
        )


def _planned(state: JournalState, spec: SweepSpec, request: ExtendRequest, say: Say) -> tuple[int, SweepSpec]:
    """Return how many trials of the search there are to be, old and new, and the sweep file that says so."""
    entries = state.trials
    proposed = sum(entry.role.proposed for entry in entries.values())
    base = proposed if state.status == "completed" else max(proposed, state.plan.trials)
    wanted = _more(state, spec, request, base)
    if not wanted:
        return state.plan.trials, spec
    fresh = _unknown(spec, state)
    if fresh is not None:
        left = fresh - (base - proposed)
        if left <= 0:
            raise SpecError(
                "--trials",
                "search_space",
                None,
                f"it is exhausted: all its {count_configs(spec.search_space) or 'grid'} configurations are in the sweep",
                "widen it: --set search_space.learning_rate=...",
            )
        if wanted > left:
            say(f"The search space holds {left} more configurations; all of them are added.")
        wanted = min(wanted, left)
    budget = spec.budget.model_copy(update={"trials": base + wanted})
    return base + wanted, spec.model_copy(update={"budget": budget})


def _more(state: JournalState, spec: SweepSpec, request: ExtendRequest, base: int) -> int:
    """Return how many more trials are asked for; of a changed grid all."""
    if request.trials is not None:
        return request.trials
    before, after = state.spec, spec
    if after.budget.trials != before.budget.trials and after.budget.trials is not None:
        if after.budget.trials <= base:
            raise SpecError(
                "--file" if request.file else "--set",
                "budget.trials",
                after.budget.trials,
                f"the sweep has {base} trials already",
                "say how many more: --trials N",
            )
        return after.budget.trials - base
    if (after.search_space, after.searcher) == (before.search_space, before.searcher):
        return 0
    if not searcher_kind(after.searcher.kind).enumerates:
        raise InputError(
            "--trials", rule="another search space needs the number of further trials", mend="add --trials N"
        )
    return len(grid_configs(after.search_space, state.plan.samples))


def _unknown(spec: SweepSpec, state: JournalState) -> int | None:
    """Return how many configurations of a finite search space the sweep does not have; None for an endless one."""
    if not searcher_kind(spec.searcher.kind).enumerates and count_configs(spec.search_space) is None:
        return None
    configs = grid_configs(spec.search_space, state.plan.samples)
    return sum(trial_fingerprint(config) not in state.trials for config in configs)
