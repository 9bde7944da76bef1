"""``recommend``: a ready search space for a model, data and a budget, from guidance, published rules and past sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.api.recommend.past_sweeps import PastSweeps, stored_sweeps, tracked_past
from orchestrator.errors import InputError, StorageError, nearest
from orchestrator.reporting.recommendation.compose import recommend
from orchestrator.reporting.recommendation.recommendation import Recommendation
from orchestrator.reporting.recommendation.request import BudgetAsked, ObjectiveKind, Request, parse_budget
from orchestrator.settings.trial_setup import DataSettings, ModelSettings
from orchestrator.spec.loading import apply_override, parse_sweep
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import plan_sweep
from orchestrator.training.setup.estimates import machine_slots
from orchestrator.training.setup.sizes import (
    DataFacts,
    ModelFacts,
    read_data_facts,
    read_model_facts,
    seconds_per_sample,
)

OBJECTIVES: tuple[ObjectiveKind, ...] = ("loss", "downstream", "forgetting")
TESTBED_SOURCES = {"downstream": "testbed:knowledge", "forgetting": "testbed:biographies"}
"""What the built-in test bed is measured on, where nothing else is named."""

WHERE = "recommend"


def recommend_search_space(
    model: str,
    data: str,
    budget: str,
    *,
    objective: str = "loss",
    source: str = "",
    methods: Sequence[str] = (),
    samples: int | None = None,
    storage: Path | str | None = None,
    tracking_uri: str | None = None,
    overrides: Sequence[str] = (),
) -> Recommendation:
    """Recommend a search space; nothing is trained or written, and no weights are read.

    Args:
        model: Base model: a folder (its ``config.json`` is enough), a hub id, or ``testbed``.
        data: Training data, as ``data.train`` of a sweep file.
        budget: What the sweep may spend, repeats included: ``24-trials``, ``200k-samples`` or ``90-minutes``.
        objective: ``loss`` (held-out rows), ``downstream`` (right answers on another task), ``forgetting`` (the loss, and
            what general text loses).
        source: Rows of that task, or general text; the test bed has its own.
        methods: Methods to search; default: chosen by the budget and past sweeps.
        samples: Training budget of a trial in samples; default: chosen.
        storage: Folder of past sweeps; default: the one that sweep files have by default, if it exists.
        tracking_uri: MLflow server or store with further past sweeps.
        overrides: ``dotted.key=value`` texts; the user's own fields of the sweep file, kept as they are.

    Raises:
        InputError: If model, data, budget, objective, a method or an override cannot be used.
        StorageError: If the named storage folder does not exist.
        TrackingError: If the tracking store cannot be reached.
    """
    asked = parse_budget(budget)
    kind = _objective(objective)
    _check_storage(storage)
    settings = _settings(model, data, overrides)
    model_settings, data_settings = _typed(settings)
    model_facts = read_model_facts(model_settings)
    data_facts = read_data_facts(data_settings, model_settings)
    chosen = source or (TESTBED_SOURCES.get(kind, "") if data.startswith("testbed:") else "")
    past = _past(storage, tracking_uri)
    request = Request(
        model_facts,
        data_facts,
        asked,
        kind,
        settings,
        chosen,
        tuple(methods),
        samples,
        _samples_per_minute(asked, model_facts, data_facts),
    )
    found = recommend(request, past.sweeps, past.notes)
    _check(found, data_facts)
    return found


def write_recommendation(found: Recommendation, file: Path, force: bool = False) -> None:
    """Write a recommendation as a sweep file.

    Raises:
        StorageError: If the file exists (without ``force``) or cannot be written.
    """
    if file.is_dir():
        raise StorageError(
            "--out",
            value=str(file),
            rule="this is a folder, and a sweep file is to be written",
            mend=f"name a file in it, e.g. {file / 'mine.yaml'}",
        )
    if file.exists() and not force:
        raise StorageError(str(file), rule="this file exists", mend="name another, or replace it with --force")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found.yaml, encoding="utf-8")
    except (FileExistsError, NotADirectoryError) as error:
        raise StorageError(
            "--out", value=str(file), rule="a part of this path is a file, not a folder", mend="choose another place"
        ) from error
    except OSError as error:
        raise StorageError(str(file), rule=f"cannot be written: {error.strerror or error}") from error


def _objective(word: str) -> ObjectiveKind:
    kind = next((known for known in OBJECTIVES if known == word), None)
    if kind is None:
        raise InputError(
            "--objective", value=word, rule=f"must be one of {', '.join(OBJECTIVES)}", mend=nearest(word, OBJECTIVES)
        )
    return kind


def _check_storage(storage: Path | str | None) -> None:
    if storage is not None and not Path(storage).is_dir():
        raise StorageError(
            "--storage",
            value=str(storage),
            rule="there is no such folder of past sweeps",
            mend="leave it out where nothing was run yet",
        )


def _settings(model: str, data: str, overrides: Sequence[str]) -> dict[str, object]:
    settings: dict[str, object] = {"model": model, "data": {"train": data}}
    for text in overrides:
        apply_override(settings, text)
    return settings


def _typed(settings: dict[str, object]) -> tuple[ModelSettings, DataSettings]:
    """Return model and data as a sweep file with them would have them; other fields are checked with the whole."""
    least = {
        "name": WHERE,
        "model": settings["model"],
        "data": settings["data"],
        "search_space": {"method": "full", "effective_batch_size": 1},
    }
    spec = parse_sweep(least, WHERE)
    return spec.model, spec.data


def _past(storage: Path | str | None, tracking_uri: str | None) -> PastSweeps:
    stored = stored_sweeps(Path(storage or SweepSpec.model_fields["storage"].default))
    if tracking_uri is None:
        return stored
    tracked = tracked_past(tracking_uri, stored.run_ids)
    return PastSweeps((*stored.sweeps, *tracked.sweeps), (*stored.notes, *tracked.notes))


def _samples_per_minute(budget: BudgetAsked, model: ModelFacts, data: DataFacts) -> float | None:
    if budget.unit != "minutes":
        return None
    return 60.0 * machine_slots(1, 0, None) / seconds_per_sample(model, data, threads=1)


def _check(found: Recommendation, data: DataFacts) -> None:
    """Check the whole as a sweep file, with the user's own fields laid over it."""
    spec = parse_sweep(dict(found.values), WHERE)
    held_out = spec.data.held_out
    kept = (
        data.rows
        if isinstance(held_out, str)
        else data.rows - round(held_out if held_out >= 1 else held_out * data.rows)
    )
    plan_sweep(spec, kept, WHERE)
