"""A trained trial in Hugging Face form: a whole model, a peft adapter, or an adapter merged into its base.

What is written is read back with plain transformers or peft, on an untouched base, and must compute what the trial
computed. Adapters that start from parts of the base's own weights (pissa, olora, corda, lora_ga) change the base in
place; they are stored as the equal lora of twice the rank, which needs no changed base and which any server can load.
"""

from __future__ import annotations

import gc
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from orchestrator.errors import CheckpointError, SpecError
from orchestrator.records import TrialConfig
from orchestrator.training.export.check import (
    Probe,
    is_plain_lora,
    make_probe,
    probe_logits,
    read_back,
    relative_difference,
    stored_parameters,
    tolerance,
)
from orchestrator.training.export.files import (
    ExportError,
    Form,
    base_reference,
    or_merge,
    told,
    write_tokenizer,
    write_weights,
)
from orchestrator.training.loop.checkpoints import load_checkpoint
from orchestrator.training.methods.contract.method import Method
from orchestrator.training.setup.session import TrainingSession

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ExportError", "Exported", "base_reference", "export_form", "write_trained"]

CONVERTED_STARTS = ("pissa", "olora", "corda", "lora_ga")
"""Ways to initialise a lora that take the adapter's start out of the base's weights."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        form: ``model`` (whole, for methods that train the model's own weights), ``adapter`` or ``merged``.
        dtype: Type of the stored weights.
        parameters: Stored numbers.
        library: What loads it: ``transformers`` or ``peft``.
        plain_lora: Whether an adapter is a lora of two factors per matrix, as servers such as vLLM take.
        converted: Whether an adapter was rewritten as a lora of twice the rank.
        difference: Largest difference of logits after reading it back, relative to the largest logit; None unchecked.
    """

    form: Form
    dtype: str
    parameters: int
    library: str
    plain_lora: bool
    converted: bool
    difference: float | None


def export_form(method: Method, merge: bool) -> Form:
    """Return in which form a method's result is written.

    Raises:
        SpecError: If it is to be merged and cannot be.
    """
    info = getattr(method, "info", None)
    if info is None:
        return "model"
    if not merge:
        return "adapter"
    if not info.merges or method.options.get("lora_bias"):
        raise SpecError(
            "--merge",
            value=method.name,
            rule="what this method trains does not fold into plain weights",
            mend="leave --merge out; the adapter is loaded with peft beside its base model",
        )
    return "merged"


def write_trained(
    session: TrainingSession,
    config: TrialConfig,
    checkpoint: Path,
    folder: Path,
    *,
    merge: bool = False,
    dtype: str = "auto",
    check: bool = True,
) -> Exported:
    """Write a trained trial to an empty folder.

    Args:
        session: Model and tokenizer of its sweep.
        config: The trial's configuration.
        checkpoint: Its checkpoint folder.
        folder: Where to write; exists and is empty.
        merge: Fold an adapter into the base's weights.
        dtype: ``float32``, ``bfloat16``, ``float16``, or ``auto``: whole models as the base is stored, adapters as
            they were trained.
        check: Read it back and compare.

    Raises:
        SpecError: If the method cannot be merged.
        CheckpointError: If the checkpoint is missing, damaged, or of another configuration.
        ExportError: If peft cannot store the adapter, or what was read back computes something else.
    """
    with tempfile.TemporaryDirectory() as start, _quiet():
        method, model, converted = _restored(session, config, checkpoint, Path(start), merge)
        form = export_form(method, merge)
        probe = make_probe(session)
        expected = probe_logits(session, model, probe, method) if check else None
        stored = write_weights(session, method, model, folder, form, dtype, Path(start) if converted else None)
    del model
    gc.collect()
    write_tokenizer(session, folder)
    difference = None if expected is None else _check(session, method, folder, form, probe, expected, stored)
    return Exported(
        form=form,
        dtype=str(stored).removeprefix("torch."),
        parameters=stored_parameters(folder),
        library="peft" if form == "adapter" else "transformers",
        plain_lora=form == "adapter" and is_plain_lora(folder),
        converted=converted,
        difference=difference,
    )


def _restored(
    session: TrainingSession, config: TrialConfig, checkpoint: Path, start: Path, merge: bool
) -> tuple[Method, PreTrainedModel, bool]:
    """Return method, trained model, and whether its adapter must be rewritten (its start then lies in ``start``)."""
    found = load_checkpoint(checkpoint)
    if TrialConfig.from_dict(found.state["config"]) != config:
        raise CheckpointError(f"checkpoint {checkpoint} is of another configuration")
    method, wrapped = session.wrapped(config)
    model: PreTrainedModel = wrapped
    export_form(method, merge)
    converted = not merge and _takes_from_base(model)
    if converted:
        with told(method):
            model.save_pretrained(start)
    method.load_trainable_state(model, found.weights)
    return method, model.eval(), converted


def _takes_from_base(model: PreTrainedModel) -> bool:
    configs = getattr(model, "peft_config", {})
    words = [str(getattr(config, "init_lora_weights", "")).lower() for config in configs.values()]
    return any(word.startswith(CONVERTED_STARTS) for word in words)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep peft's advice off the terminal: what it warns of (a changed base) is what is taken care of here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _check(
    session: TrainingSession,
    method: Method,
    folder: Path,
    form: Form,
    probe: Probe,
    expected: Tensor,
    stored: torch.dtype,
) -> float:
    """Read the folder back and return by how much it differs.

    Raises:
        ExportError: If by more than rounding explains.
    """
    is_adapter = form == "adapter"
    with told(method):
        loaded = read_back(session, folder, is_adapter)
        found = probe_logits(session, loaded, probe, method if is_adapter else None)
    difference, limit = relative_difference(found, expected), tolerance(session, stored)
    if difference <= limit:
        return difference
    raise ExportError(
        f"the exported {method.name} {form} does not compute what the trial did (logits differ by {difference:.2g} of "
        f"their size, {limit:g} is rounding), so it was thrown away{or_merge(method) if is_adapter else ''}"
    )
