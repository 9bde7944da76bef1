"""``export``: a trained trial as a Hugging Face folder, with a card that says where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.api.export.choice import choose_trial, find_checkpoint
from orchestrator.api.export.own import check_own_options, find_own_checkpoint, write_own
from orchestrator.api.export.place import CAPSULE, check_place, drafted
from orchestrator.api.export.register import check_register, register_export
from orchestrator.history.find_trial import Sweep, rebased_setup, sweep_folder
from orchestrator.history.journal_state import read_state
from orchestrator.history.moved_paths import Whereabouts
from orchestrator.history.read_sweep import read_sweep
from orchestrator.integrations.checkpoints import Sealed
from orchestrator.records import as_recorded
from orchestrator.reporting.cards.model_card import CardFacts, model_card
from orchestrator.results.records import SweepHistory, TrialHistory, TrialResult
from orchestrator.spec.methods.catalogue import method_entry
from orchestrator.storage.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from orchestrator.training.export.write import Exported
    from orchestrator.training.setup.session import TrainingSession

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Written:
    """What `ExportResult` says of files that only the user's code can read."""

    form: str
    library: str
    dtype: str
    parameters: int
    plain_lora: bool
    converted: bool
    difference: float | None


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Args:
        folder: Where.
        trial_id: Which trial.
        name: Its name.
        form: ``model``, ``adapter``, ``merged``, or ``own``: what the user's own code saved; the next six fields then say
            nothing.
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
    """Write a sweep's winner, or another trial, as a Hugging Face folder; of training of the user's own what that saved.

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
    own = read_state(folder).spec.entrypoint is not None
    if own:
        check_own_options(merge, dtype, register)
    history = read_sweep(folder)
    chosen = choose_trial(history, trial)
    given = None if checkpoint is None else Path(checkpoint)
    if own:
        return _export_own(history, chosen, find_own_checkpoint(folder, chosen, given), place, force)
    weights = given or find_checkpoint(folder, chosen)
    check_place(place, force)
    if register is not None:
        check_register(folder, chosen.result, merge, register)
    with drafted(place) as draft:
        session = open_session(folder)
        exported = _write(session, chosen.result, weights, draft, merge, dtype, check)
        _describe(history, chosen, exported, session, draft)
    result = _result(chosen.result, exported, place)
    if register is None:
        return result
    model_id, version = register_export(folder, result.trial_id, place, register)
    return replace(result, model_id=model_id, model_version=version)


def _export_own(
    history: SweepHistory, trial: TrialHistory, checkpoint: Sealed, place: Path, force: bool
) -> ExportResult:
    """Write the checkpoint that the user's code saved, its card, and the same for programs."""
    check_place(place, force)
    with drafted(place) as draft:
        write_own(history, trial, checkpoint, draft)
        _write_capsule(history, trial.result, {"form": "own", "samples_seen": checkpoint.samples_seen}, draft)
    form = Written(form="own", library="", dtype="", parameters=0, plain_lora=False, converted=False, difference=None)
    return _result(trial.result, form, place)


def open_session(folder: SweepFolder) -> TrainingSession:
    """Return model, tokenizer and (when asked for) data of a sweep, read as it was run, from whatever folder."""
    # Not at the top: torch and transformers take seconds, and wrong input is to be told at once.
    from orchestrator.training.setup.session import TrainingSession

    state = read_state(folder)
    state.load_plugins()
    setup = rebased_setup(state.spec.trial_setup, Whereabouts.of(state))
    return TrainingSession(setup, folder.cache)


def _write(
    session: TrainingSession, trial: TrialResult, checkpoint: Path, draft: Path, merge: bool, dtype: Dtype, check: bool
) -> Exported:
    from orchestrator.training.export.write import write_trained

    return write_trained(session, trial.config, checkpoint, draft, merge=merge, dtype=dtype, check=check)


def _describe(
    history: SweepHistory, trial: TrialHistory, exported: Exported, session: TrainingSession, draft: Path
) -> None:
    """Write the card, and the same for programs."""
    from orchestrator.training.export.check import lora_rank
    from orchestrator.training.export.write import base_reference

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
        needs_task_ids=method_entry(trial.result.config.method).needs_task_ids,
    )
    (draft / "README.md").write_text(model_card(history, trial, facts), encoding="utf-8")
    _write_capsule(history, trial.result, asdict(facts), draft)


def _write_capsule(history: SweepHistory, trial: TrialResult, facts: Mapping[str, object], draft: Path) -> None:
    capsule = json.dumps(_capsule(history, trial, facts), indent=2, default=str)
    (draft / CAPSULE).write_text(capsule + "\n", encoding="utf-8")


def _capsule(history: SweepHistory, trial: TrialResult, facts: Mapping[str, object]) -> dict[str, object]:
    return {
        "sweep": history.result.name,
        "sweep_id": history.result.sweep_id,
        "trial": asdict(trial, dict_factory=as_recorded),
        "objective": {"label": history.result.objective, "mode": history.result.mode},
        "base_scores": dict(history.result.base_scores),
        "inputs": dict(history.inputs),
        "environment": dict(history.environment),
        "sweep_file": dict(history.content),
        "files": dict(facts),
    }


def _result(trial: TrialResult, exported: Exported | Written, place: Path) -> ExportResult:
    files = sorted(file for file in place.rglob("*") if file.is_file())
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
        files=tuple(str(file.relative_to(place)) for file in files),
        bytes=sum(file.stat().st_size for file in files),
    )
