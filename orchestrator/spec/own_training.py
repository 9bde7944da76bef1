"""What a sweep with an entrypoint may and may not say; the code itself is looked at later (`orchestrator.api`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import SpecError, nearest
from orchestrator.settings.trial_setup import EntrypointSettings
from orchestrator.spec.search_space.own_search_space import OwnValues
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.command_words import FIXED_NAMES, names_in

REPLACED = ("model", "data", "evaluation", "training")
"""Sections that say how built-in training goes; an entrypoint replaces them."""


def with_own_space(values: object) -> object:
    """Mark the search space of raw values that name an entrypoint, so that it may hold free hyperparameters.

    Raises:
        SpecError: If free hyperparameters stand in a sweep without an entrypoint.
    """
    if not isinstance(values, Mapping) or not isinstance(values.get("search_space"), Mapping):
        return values
    space = values["search_space"]
    if values.get("entrypoint") is not None:
        return {**values, "search_space": OwnValues(space)}
    if "params" in space:
        raise SpecError(
            "",
            "search_space.params",
            None,
            "free hyperparameters belong to training of your own",
            "name it with entrypoint, or put a method's hyperparameters under search_space.method",
        )
    return values


def check_own_training(
    entrypoint: EntrypointSettings, space: SearchSpace, samples: int | None, given: Collection[str]
) -> None:
    """Check a sweep with an entrypoint.

    Args:
        entrypoint: The user's code.
        space: What is searched.
        samples: The budget of one trial, if the file gives it in samples.
        given: Fields that the file gives.

    Raises:
        SpecError: Names the field.
    """
    _check_form(entrypoint)
    section = next((name for name in REPLACED if name in given), None)
    if section is not None:
        raise SpecError(
            "",
            section,
            None,
            "does not apply to a sweep with an entrypoint: its code brings its own",
            f"remove {section}, or remove entrypoint",
        )
    if samples is None:
        raise SpecError(
            "",
            "budget.samples",
            None,
            "a sweep with an entrypoint counts its budget in samples, as the size of the data is unknown",
            "give the samples that one trial trains on, over all epochs",
        )
    _check_words(entrypoint, space)


def _check_form(entrypoint: EntrypointSettings) -> None:
    if bool(entrypoint.function) == bool(entrypoint.command):
        raise SpecError(
            "", "entrypoint", None, "names exactly one of function and command", "e.g. entrypoint: my_script.py:train"
        )
    place, colon, name = entrypoint.function.rpartition(":")
    if entrypoint.function and not (colon and place and name.isidentifier()):
        raise SpecError(
            "",
            "entrypoint.function",
            entrypoint.function,
            "is FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION",
            "e.g. my_script.py:train",
        )


def _check_words(entrypoint: EntrypointSettings, space: SearchSpace) -> None:
    """Check that every name in braces has a value in trials of every method."""
    for method in space.method:
        free = [name.removeprefix("option.") for name in space.dimensions(method) if name.startswith("option.")]
        known = (*free, *FIXED_NAMES)
        unknown = next((name for name in names_in(entrypoint.command) if name not in known), None)
        if unknown is not None:
            mend = nearest(unknown, known) or f"known: {', '.join(known)}; braces themselves are written {{{{ and }}}}"
            raise SpecError(
                "",
                "entrypoint.command",
                f"{{{unknown}}}",
                f"trials of method '{method}' have no value of this name",
                mend,
            )


def beside(entrypoint: EntrypointSettings, sweep_file: Path) -> EntrypointSettings:
    """Return an entrypoint whose folder is absolute; a relative one is meant from where the sweep file lies."""
    return replace(entrypoint, folder=str((sweep_file.resolve().parent / entrypoint.folder).resolve()))
