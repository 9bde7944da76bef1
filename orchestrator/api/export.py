"""``export``: a trained trial as a Hugging Face folder, with a card that says where it comes from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.api.journal_state import read_state
from orchestrator.api.places import Sweep, check_built_in, find_trial, rebased_setup, sweep_folder
from orchestrator.api.sweep_history import read_sweep, result_of
from orchestrator.api.tracked import find_runs
from orchestrator.errors import InputError, StorageError
from orchestrator.records import Outcome
from orchestrator.reporting.model_card import CardFacts, model_card
from orchestrator.results import SweepHistory, TrialHistory, TrialResult
from orchestrator.spec.catalogue import METHODS
from orchestrator.tracking.naming import config_params
from orchestrator.tracking.registry import check_store
from orchestrator.tuning.layout import SweepFolder

if TYPE_CHECKING:
    from orchestrator.training.export import Exported
    from orchestrator.training.session import TrainingSession

CAPSULE = "orchestrate.json"
_MODEL_FILES = frozenset({"config.json", "adapter_config.json", CAPSULE})
_NEEDS_TASK_IDS = frozenset({"poly", "multitask_prompt_tuning"})

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Args:
        folder: Where.
        trial_id: Which trial.
        name: Its name.
        form: ``model``, ``adapter`` or ``merged``.
        library: What loads it: ``transformers`` or ``peft``.
        dtype: Type of the stored weights.
        parameters: Stored numbers.
        plain_lora: Whether servers such as vLLM take the adapter as it is.
        converted: Whether the adapter was rewritten as a lora of twice the rank, which needs no changed base.
        difference: Relative difference of logits after reading it back; None where it was not checked.
        files: Names of the files.
        bytes: Their size.
        model_id: Id of the MLflow LoggedModel; empty unless it was registered.
        model_version: Version of the registered model; empty unless it was registered.
    """

    folder: str
    trial_id: str
    name: str
    form: str
    library: str
    dtype: str
    parameters: int
    plain_lora: bool
    converted: bool
    difference: float | None
    files: tuple[str, ...]
    bytes: int
    model_id: str = ""
    model_version: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def export_trial(
    sweep: Sweep,
    to: Path | str,
    *,
    storage: Path | str | None = None,
    trial: str | None = None,
    merge: bool = False,
    dtype: Dtype = "auto",
    force: bool = False,
    check: bool = True,
    register: str | None = None,
    checkpoint: Path | str | None = None,
) -> ExportResult:
    """Write a sweep's winner, or another trial, as a Hugging Face folder.

    Args:
        sweep: Name, folder, or what `find_sweep` returned; it may run still.
        to: Folder to write: must not exist, or be empty.
        storage: Where a name is looked up.
        trial: Id or name; default: the winner.
        merge: Fold an adapter into its base's weights.
        dtype: Type of the stored weights; ``auto``: whole models as the base is stored, adapters as trained.
        force: Replace an exported model that is in the folder.
        check: Read the files back with plain transformers or peft and compare what they compute.
        register: Also register it in MLflow under this name; whole models only.
        checkpoint: Checkpoint folder of the same trial, where the sweep's own is gone.

    Raises:
        InputError: If there is no such sweep or trial, nothing was trained to its end, the checkpoint is gone, the
            folder holds something, the method cannot be merged, or an adapter is to be registered.
        ExportError: If peft cannot store the adapter, or what was read back computes something else.
    """
    folder, place = sweep_folder(sweep, storage), Path(to)
    check_built_in(read_state(folder))
    history = read_sweep(folder)
    chosen = choose_trial(history, trial)
    weights = find_checkpoint(folder, chosen) if checkpoint is None else Path(checkpoint)
    _check_place(place, force)
    if register is not None:
        _check_register(folder, chosen.result, merge, register)
    draft = place.with_name(f".{place.name}.{os.getpid()}.draft")
    try:
        draft.mkdir(parents=True)
        session = open_session(folder)
        exported = _write(session, chosen.result, weights, draft, merge, dtype, check)
        _describe(history, chosen, exported, session, draft)
        _put_in_place(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    result = _result(chosen.result, exported, place)
    return result if register is None else _registered(folder, result, place, register)


def choose_trial(history: SweepHistory, word: str | None) -> TrialHistory:
    """Return the named trial, or the winner.

    Raises:
        InputError: If there is none.
    """
    result = history.result
    if word is not None:
        return history.trial(find_trial(result.trials, word).trial_id)
    if result.winner is not None:
        return history.trial(result.winner.trial_id)
    some = next((each.name for each in result.trials if each.samples_seen), "")
    mend = f"wait for the first, or name one that has begun, e.g. --trial '{some}'" if some else "wait for the first"
    raise InputError(
        result.storage, rule="no trial of this sweep was trained to its end, so there is no winner", mend=mend
    )


def find_checkpoint(folder: SweepFolder, trial: TrialHistory) -> Path:
    """Return the folder of a trial's latest checkpoint.

    Raises:
        StorageError: If it has none, or it is gone.
    """
    result = trial.result
    where = f"{folder.root}: trial {result.trial_id}"
    saved = [milestone.index for milestone in trial.milestones if milestone.checkpoint]
    if result.outcome is Outcome.DIVERGED:
        raise StorageError(where, value=result.name, rule="this trial diverged, and what it had learned before was not kept",
                           mend="choose another with --trial")  # fmt: skip
    if not saved:
        raise StorageError(where, value=result.name, rule="this trial has reached no milestone, so nothing of it is saved",
                           mend="wait for its first milestone, or choose another with --trial")  # fmt: skip
    place = folder.checkpoint(result.trial_id, saved[-1])
    if not place.is_dir():
        raise StorageError(where, value=str(place), rule="the checkpoint of this trial is gone",
                           mend=f"train it again: orchestrate rerun {folder.root} {result.trial_id} --keep DIR, then export with "
                           "--checkpoint DIR")  # fmt: skip
    return place


def open_session(folder: SweepFolder) -> TrainingSession:
    """Return model, tokenizer and (when asked for) data of a sweep, read as it was run, from whatever folder."""
    # Not at the top: torch and transformers take seconds, and wrong input is to be told at once.
    from orchestrator.training.session import TrainingSession

    state = read_state(folder)
    setup = rebased_setup(state.spec.trial_setup, state.session.get("folder", ""))
    return TrainingSession(setup, folder.cache)


def _write(
    session: TrainingSession, trial: TrialResult, checkpoint: Path, draft: Path, merge: bool, dtype: Dtype, check: bool
) -> Exported:
    from orchestrator.training.export import write_trained

    return write_trained(session, trial.config, checkpoint, draft, merge=merge, dtype=dtype, check=check)


def _describe(
    history: SweepHistory, trial: TrialHistory, exported: Exported, session: TrainingSession, draft: Path
) -> None:
    """Write the card, and the same for programs."""
    from orchestrator.training.export import base_reference
    from orchestrator.training.export_check import lora_rank

    base = base_reference(session)
    facts = CardFacts(
        form=exported.form,
        base=base,
        base_is_hub_id=not Path(base).is_dir(),
        dtype=exported.dtype,
        parameters=exported.parameters,
        plain_lora=exported.plain_lora,
        rank=lora_rank(draft) if exported.plain_lora else None,
        difference=exported.difference,
        needs_task_ids=trial.result.config.method in _NEEDS_TASK_IDS,
    )
    (draft / "README.md").write_text(model_card(history, trial, facts), encoding="utf-8")
    capsule = json.dumps(_capsule(history, trial.result, asdict(facts)), indent=2, default=str)
    (draft / CAPSULE).write_text(capsule + "\n", encoding="utf-8")


def _capsule(history: SweepHistory, trial: TrialResult, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sweep": history.result.name,
        "sweep_id": history.result.sweep_id,
        "trial": asdict(trial),
        "objective": {"label": history.result.objective, "mode": history.result.mode},
        "base_scores": dict(history.result.base_scores),
        "inputs": dict(history.inputs),
        "environment": dict(history.environment),
        "sweep_file": dict(history.content),
        "files": dict(facts),
    }


def _check_place(place: Path, force: bool) -> None:
    """Raise unless the folder is free, or holds an exported model that may be replaced."""
    if not place.exists():
        return
    if not place.is_dir():
        raise StorageError("--to", value=str(place), rule="this is a file", mend="choose a folder that does not exist")
    names = {entry.name for entry in place.iterdir()}
    if not names:
        return
    if not force:
        raise StorageError("--to", value=str(place), rule="this folder is not empty",
                           mend="choose another, or replace the model in it with --force")  # fmt: skip
    if not names & _MODEL_FILES:
        raise StorageError("--to", value=str(place), rule=f"this folder holds no model but {', '.join(sorted(names)[:3])}",
                           mend="choose another; --force replaces exported models only")  # fmt: skip


def _check_register(folder: SweepFolder, trial: TrialResult, merge: bool, register: str) -> None:
    """Raise unless MLflow can be given what is to be written; before anything is written."""
    runs = find_runs(read_state(folder))
    if trial.trial_id not in runs.run_ids:
        raise InputError("--register", value=register, rule="MLflow holds no run of this trial",
                         mend="leave --register out; the sweep was run without tracking, or not delivered yet")  # fmt: skip
    check_store(runs.uri)
    info = METHODS.get(trial.config.method)
    if not merge and info is not None and info.peft_config:
        mend = "add --merge" if info.merges else "leave --register out; this method does not merge"
        raise InputError("--register", value=register, rule="MLflow is given whole models only", mend=mend)


def _put_in_place(draft: Path, place: Path) -> None:
    """Move the finished folder to its place; what is replaced goes only once the new one stands."""
    mask = os.umask(0)
    os.umask(mask)
    for file in draft.iterdir():
        file.chmod(0o666 & ~mask)  # safetensors writes files that only their owner can read
    old = place.with_name(f".{place.name}.{os.getpid()}.old")
    if place.exists():
        place.rename(old)
    draft.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _result(trial: TrialResult, exported: Exported, place: Path) -> ExportResult:
    files = sorted(file for file in place.iterdir() if file.is_file())
    return ExportResult(
        folder=str(place),
        trial_id=trial.trial_id,
        name=trial.name,
        form=exported.form,
        library=exported.library,
        dtype=exported.dtype,
        parameters=exported.parameters,
        plain_lora=exported.plain_lora,
        converted=exported.converted,
        difference=exported.difference,
        files=tuple(file.name for file in files),
        bytes=sum(file.stat().st_size for file in files),
    )


def _registered(folder: SweepFolder, result: ExportResult, place: Path, name: str) -> ExportResult:
    """Register the exported folder; its files stay where they are whatever becomes of this."""
    from orchestrator.tracking.registry import register_model

    state = read_state(folder)
    runs = find_runs(state)
    trial = next(trial for trial in result_of(state).trials if trial.trial_id == result.trial_id)
    tags = {
        "sweep": state.folder.name,
        "orchestrate.sweep_id": str(state.first["sweep_id"]),
        "orchestrate.trial_id": trial.trial_id,
        **{f"digest.{name.replace(' ', '_')}": digest for name, digest in state.first["inputs"].items()},
    }
    made = register_model(
        runs.uri, place, name, experiment_id=runs.experiment_id, run_id=runs.run_ids[trial.trial_id],
        params=config_params(trial.config), tags=tags, scores=trial.scores,
        samples_seen=trial.samples_seen,
    )  # fmt: skip
    return replace(result, model_id=made.model_id, model_version=made.version)
