"""Clones: a trial's configuration with some values changed, checked as a sweep file's would be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from orchestrator.errors import InputError, SpecError, nearest
from orchestrator.records import HYPERPARAMETERS, Action, Decision, Origin, Role, Scalar, TrialConfig
from orchestrator.spec.loading import apply_override, parse_sweep
from orchestrator.spec.search_space.domains import Fixed
from orchestrator.spec.sweep import SweepSpec, resolved
from orchestrator.spec.trial.dimensions import DIMENSIONS, OPTION, build_config, space_of_config
from orchestrator.spec.trial.identity import digest, trial_fingerprint, trial_name
from orchestrator.storage.journal_records.users import AddedTrialRecord
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry
from orchestrator.training.loop.links import link_or_copy

WHERE = "--set"
_SHARED = DIMENSIONS.keys() - {"learning_rate"}
_NAMES = sorted(_SHARED | {"method", "learning_rate"})


def clone_config(spec: SweepSpec, parent: TrialConfig, changes: Sequence[str]) -> TrialConfig:
    """Return a configuration with some values changed.

    Args:
        spec: The sweep; the configuration keeps all its rules, but need not lie in its search space.
        parent: What is changed.
        changes: ``field=value`` texts with the names of ``search_space`` and of the method's own hyperparameters.
            With another ``method`` the parent's own hyperparameters fall away.

    Raises:
        SpecError: If a field is unknown, or a value breaks a rule.
    """
    space = {**space_of_config(parent), "any_learning_rate": spec.search_space.any_learning_rate}
    for text in changes:
        _change(space, text)
    fixed = parse_sweep({**resolved(spec), "search_space": space, "searcher": "grid"}, WHERE).search_space
    method = next(iter(fixed.method))
    dimensions = fixed.dimensions(method)
    for name, domain in dimensions.items():
        if not isinstance(domain, Fixed):
            raise SpecError(
                WHERE,
                name.removeprefix("option."),
                domain.to_yaml(),
                "a clone has one value for every field",
                "give one value, or search a range with 'orchestrate extend'",
            )
    values = {name: domain.at(0.0) for name, domain in dimensions.items()}
    config = build_config(method, values, parent.samples)
    if config.effective_batch_size > config.samples:
        raise SpecError(
            WHERE,
            "effective_batch_size",
            config.effective_batch_size,
            f"one trial's budget ({config.samples} samples) must hold at least one effective batch",
        )
    return config


def _change(space: dict[str, Any], text: str) -> None:
    field, sign, _ = (part.strip() for part in text.partition("="))
    changed: dict[str, Any] = {}
    name = field.removeprefix("search_space.")
    method = next(iter(space["method"]))
    name = name.removeprefix("method.").removeprefix(f"{method}.").removeprefix("option.").removeprefix("params.")
    if not sign or not name:
        raise SpecError(WHERE, value=text, rule="an override is field=value", mend="e.g. --set learning_rate=1e-4")
    # Names of the user's own hyperparameters may have dots in them.
    apply_override(changed, f"value={text.partition('=')[2]}")
    value = changed["value"]
    if name in ("samples", "epochs"):
        raise SpecError(
            WHERE,
            name,
            value,
            "a clone has the budget of the sweep",
            "'orchestrate extend SWEEP --best N --samples M' trains on to a larger one",
        )
    if name == "method":
        space["method"] = {str(value): {"learning_rate": space["method"][method]["learning_rate"]}}
    elif name in _SHARED:
        space[name] = {"fixed": value} if name not in HYPERPARAMETERS and isinstance(value, Mapping) else value
    else:
        if name not in space["method"][method] and get_close_matches(name, _NAMES, 1, 0.8):
            raise SpecError(WHERE, name, value, "there is no field of this name", nearest(name, _NAMES))
        space["method"][method][name] = value


def clone_record(
    spec: SweepSpec,
    parent: TrialEntry,
    changes: Sequence[str],
    from_weights: bool,
    asked: str,
    known: Mapping[str, TrialEntry],
) -> AddedTrialRecord:
    """Return a clone as the journal holds it.

    Args:
        spec: The sweep.
        parent: The trial that is cloned.
        changes: As `clone_config`.
        from_weights: Start from the parent's newest weights.
        asked: Who asked, and when, as a clause.
        known: All trials.

    Raises:
        InputError: If a change is wrong, or the trial exists already.
    """
    config = clone_config(spec, parent.config, changes)
    takes = "weights" if from_weights else "configuration"
    origin = Origin(parent.trial_id, parent.name, parent.samples_seen if from_weights else 0, takes)
    trial_id = trial_fingerprint(config)
    name = trial_name(config, {*spec.search_space.varied, *_differing(parent.config, config)})
    if from_weights:
        _check_same_weights(spec, parent, config)
        trial_id = digest({"config": config.as_dict(), "weights": parent.trial_id, "at": parent.samples_seen}, 10)
        name = f"{name} from {parent.trial_id[:4]}"
    if trial_id in known:
        raise InputError(
            WHERE,
            value=", ".join(changes) or None,
            rule=f"this trial exists already: {known[trial_id].name} ({trial_id})",
            mend="change another value, or resume that trial if it was stopped",
        )
    return AddedTrialRecord(
        trial=trial_id,
        name=name,
        config=config,
        role=Role.CLONE,
        origin=origin,
        levels=(),
        decision=_clone_decision(trial_id, parent, changes, origin, asked),
    )


def _clone_decision(trial_id: str, parent: TrialEntry, changes: Sequence[str], origin: Origin, asked: str) -> Decision:
    changed = f" with {', '.join(changes)}" if changes else ""
    start = f" It starts from the weights that it had at {origin.samples_seen:,} samples; optimizer and data order are new, and samples count from 0."
    reason = (
        f"Clone of {parent.name} ({parent.trial_id}){changed}: {asked}.{start if origin.takes == 'weights' else ''} It is "
        "trained to its end and judged by nobody."
    )
    evidence: dict[str, Scalar] = {"parent": parent.trial_id, "takes": origin.takes, "changes": ", ".join(changes)}
    return Decision(trial_id, 0, Action.CONTINUE, Role.CLONE.value, "", reason, evidence)


def _check_same_weights(spec: SweepSpec, parent: TrialEntry, config: TrialConfig) -> None:
    if spec.entrypoint is not None:
        raise InputError(
            "--from-weights",
            rule="training of your own reads its checkpoints itself",
            mend="clone without --from-weights",
        )
    if not parent.milestones:
        raise InputError(
            "--from-weights",
            value=parent.name,
            rule="this trial has saved no weights yet",
            mend="wait for its first milestone, or clone without --from-weights",
        )
    if (config.method, dict(config.method_options)) != (parent.config.method, dict(parent.config.method_options)):
        raise InputError(
            "--from-weights",
            value=config.method,
            rule=f"the weights of {parent.name} fit its own method and options only",
            mend="change other fields, or clone without --from-weights",
        )


def _differing(before: TrialConfig, after: TrialConfig) -> set[str]:
    """Return the names of the dimensions in which two configurations differ."""
    own = {f"{OPTION}{k}" for k, value in after.method_options.items() if before.method_options.get(k) != value}
    return own | {name for name, each in DIMENSIONS.items() if each.taken(before) != each.taken(after)}


def take_checkpoint(folder: SweepFolder, parent: TrialEntry, trial_id: str) -> None:
    """Give a trial the newest checkpoint of another one to start from: that one may train on and delete it.

    Raises:
        InputError: If the checkpoint is gone.
    """
    source, place = folder.checkpoint(parent.trial_id, parent.milestones - 1), folder.start(trial_id)
    draft = place.with_name(f".{place.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(source, draft, copy_function=link_or_copy)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise InputError(
            "TRIAL",
            value=parent.name,
            rule=f"its checkpoint {source} cannot be taken ({error})",
            mend="try again, or clone without --from-weights",
        ) from error
    shutil.rmtree(place, ignore_errors=True)
    draft.replace(place)
