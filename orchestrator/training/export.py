"""A trained trial in Hugging Face form: a whole model, a peft adapter, or an adapter merged into its base.

What is written is read back with plain transformers or peft, on an untouched base, and must compute what the trial
computed. Adapters that start from parts of the base's own weights (pissa, olora, corda, lora_ga) change the base in
place; they are stored as the equal lora of twice the rank, which needs no changed base and which any server can load.
"""

from __future__ import annotations

import copy
import gc
import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from orchestrator.errors import CheckpointError, OrchestratorError, SpecError
from orchestrator.records import TrialConfig
from orchestrator.training.checkpoints import load_checkpoint
from orchestrator.training.export_check import (
    DTYPES,
    Probe,
    adapter_dtype,
    is_plain_lora,
    make_probe,
    probe_logits,
    read_back,
    relative_difference,
    stored_dtype,
    stored_parameters,
    tolerance,
)
from orchestrator.training.methods.base import Method
from orchestrator.training.models import find_model
from orchestrator.training.session import TrainingSession
from orchestrator.training.setup_parts import stop_tokens

Form = Literal["model", "adapter", "merged"]
CONVERTED_STARTS = ("pissa", "olora", "corda", "lora_ga")
"""Ways to initialise a lora that take the adapter's start out of the base's weights."""


class ExportError(OrchestratorError):
    """What was written does not compute what the trial computed, so it was thrown away."""


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
        raise SpecError("--merge", value=method.name, rule="what this method trains does not fold into plain weights",
                        mend="leave --merge out; the adapter is loaded with peft beside its base model")  # fmt: skip
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
        stored = _write(session, method, model, folder, form, dtype, Path(start) if converted else None)
    del model
    gc.collect()
    _write_tokenizer(session, folder)
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


# -- reading -------------------------------------------------------------------------------------------


def _restored(
    session: TrainingSession, config: TrialConfig, checkpoint: Path, start: Path, merge: bool
) -> tuple[Method, Any, bool]:
    """Return method, trained model, and whether its adapter must be rewritten (its start then lies in ``start``)."""
    found = load_checkpoint(checkpoint)
    if TrialConfig.from_dict(found.state["config"]) != config:
        raise CheckpointError(f"checkpoint {checkpoint} is of another configuration")
    wrapped = session.wrapped(config)
    method, model = wrapped[0], cast(Any, wrapped[1])
    export_form(method, merge)
    converted = not merge and _takes_from_base(model)
    if converted:
        with _told(method):
            model.save_pretrained(start)
    method.load_trainable_state(model, found.weights)
    return method, model.eval(), converted


def _takes_from_base(model: Any) -> bool:
    configs = getattr(model, "peft_config", {})
    words = [str(getattr(config, "init_lora_weights", "")).lower() for config in configs.values()]
    return any(word.startswith(CONVERTED_STARTS) for word in words)


# -- writing -------------------------------------------------------------------------------------------


def _write(
    session: TrainingSession, method: Method, model: Any, folder: Path, form: Form, dtype: str, start: Path | None
) -> torch.dtype:
    """Write weights and configuration; returns the type of the stored weights."""
    if form == "adapter":
        return _write_adapter(session, method, model, folder, dtype, start)
    if form == "merged":
        # In float32, on the CPU: a sum of small changes is lost in the eight bits of a bfloat16 weight.
        model = model.to("cpu").float()
    final: Any = method.finalize(model)
    wanted = _stored_dtype(session) if dtype == "auto" else DTYPES[dtype]
    final = final.to(wanted)
    _name_stop_tokens(session, final)
    final.save_pretrained(folder)
    return wanted


def _write_adapter(
    session: TrainingSession, method: Method, model: Any, folder: Path, dtype: str, start: Path | None
) -> torch.dtype:
    reference = base_reference(session)
    for config in model.peft_config.values():
        config.base_model_name_or_path = reference
    if dtype != "auto":
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(DTYPES[dtype])
    options: dict[str, Any] = {} if start is None else {"path_initial_model_for_weight_conversion": str(start)}
    with _told(method):
        model.save_pretrained(folder, **options)
    (folder / "README.md").unlink(missing_ok=True)
    if start is not None:
        _forget_start(folder / "adapter_config.json")
    _write_generation_settings(session, folder)
    return adapter_dtype(folder)


def _forget_start(file: Path) -> None:
    """Take out of a rewritten adapter's configuration how its factors were started; peft would warn of it."""
    values = json.loads(file.read_text(encoding="utf-8"))
    values |= {name: None for name in ("corda_config", "eva_config", "lora_ga_config") if name in values}
    file.write_text(json.dumps(values, indent=2), encoding="utf-8")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep peft's advice off the terminal: what it warns of (a changed base) is what is taken care of here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def base_reference(session: TrainingSession) -> str:
    """Return what an adapter calls its base: a hub id, or the absolute path of a folder."""
    found = find_model(session.setup.model)
    return str(Path(found).resolve()) if Path(found).is_dir() else found


def _stored_dtype(session: TrainingSession) -> torch.dtype:
    """Return the type in which the base model's own weights are stored."""
    folder = Path(find_model(session.setup.model))
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if files:
        return stored_dtype(files[0])
    base: Any = session.base
    told = getattr(base.config, "dtype", None)
    return told if isinstance(told, torch.dtype) else torch.float32


def _name_stop_tokens(session: TrainingSession, model: Any) -> None:
    """Let ``generate`` and servers end an answer where training ended it."""
    settings = getattr(model, "generation_config", None)
    if settings is not None:
        settings.eos_token_id = _stops(session, model)


def _stops(session: TrainingSession, model: Any) -> int | list[int]:
    stops = sorted(stop_tokens(session.tokens, model.config))
    return stops if len(stops) > 1 else stops[0]


def _write_generation_settings(session: TrainingSession, folder: Path) -> None:
    """Write an adapter's generation settings: those of its base, ended where training ended answers."""
    base: Any = session.base
    settings = copy.deepcopy(base.generation_config)
    settings.eos_token_id = _stops(session, base)
    settings.save_pretrained(folder)


def _write_tokenizer(session: TrainingSession, folder: Path) -> None:
    """Write the tokenizer with the template that was trained on, whichever that was."""
    tokenizer = session.tokens.tokenizer
    tokenizer.chat_template = session.tokens.template.text
    tokenizer.save_pretrained(folder)


@contextmanager
def _told(method: Method) -> Iterator[None]:
    """Turn peft's refusals to store an adapter into one clear error."""
    try:
        yield
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        told = f"peft cannot store this {method.name} adapter: {first[0].rstrip('.')}{_or_merge(method)}"
        raise ExportError(told) from error


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
    with _told(method):
        loaded = read_back(session, folder, is_adapter)
        found = probe_logits(session, loaded, probe, method if is_adapter else None)
    difference, limit = relative_difference(found, expected), tolerance(session, stored)
    if difference <= limit:
        return difference
    raise ExportError(
        f"the exported {method.name} {form} does not compute what the trial did (logits differ by {difference:.2g} of "
        f"their size, {limit:g} is rounding), so it was thrown away{_or_merge(method) if is_adapter else ''}"
    )


def _or_merge(method: Method) -> str:
    info = getattr(method, "info", None)
    return "; with --merge it can be written as a whole model" if info is not None and info.merges else ""
