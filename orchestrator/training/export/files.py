"""The files of an exported trial: weights, configuration, generation settings, tokenizer."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from orchestrator.errors import OrchestratorError
from orchestrator.training.export.check import DTYPES, adapter_dtype, stored_dtype
from orchestrator.training.methods.contract.method import Method
from orchestrator.training.model.load import find_model
from orchestrator.training.setup.parts import stop_tokens
from orchestrator.training.setup.session import TrainingSession

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Form = Literal["model", "adapter", "merged"]


class ExportError(OrchestratorError):
    """What was written does not compute what the trial computed, so it was thrown away."""


def write_weights(
    session: TrainingSession,
    method: Method,
    model: PreTrainedModel,
    folder: Path,
    form: Form,
    dtype: str,
    start: Path | None,
) -> torch.dtype:
    """Write weights and configuration; returns the type of the stored weights."""
    if form == "adapter":
        return _write_adapter(session, method, model, folder, dtype, start)
    if form == "merged":
        # In float32, on the CPU: a sum of small changes is lost in the eight bits of a bfloat16 weight.
        model = model.to("cpu").float()
    final: PreTrainedModel = method.finalize(model)
    wanted = _stored_dtype(session) if dtype == "auto" else DTYPES[dtype]
    final = final.to(wanted)
    _name_stop_tokens(session, final)
    final.save_pretrained(folder)
    return wanted


def _write_adapter(
    session: TrainingSession, method: Method, model: PreTrainedModel, folder: Path, dtype: str, start: Path | None
) -> torch.dtype:
    reference = base_reference(session)
    for config in model.peft_config.values():
        config.base_model_name_or_path = reference
    if dtype != "auto":
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(DTYPES[dtype])
    options: dict[str, str] = {} if start is None else {"path_initial_model_for_weight_conversion": str(start)}
    with told(method):
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
    base: PreTrainedModel = session.base
    told = getattr(base.config, "dtype", None)
    return told if isinstance(told, torch.dtype) else torch.float32


def _name_stop_tokens(session: TrainingSession, model: PreTrainedModel) -> None:
    """Let ``generate`` and servers end an answer where training ended it."""
    settings = getattr(model, "generation_config", None)
    if settings is not None:
        settings.eos_token_id = _stops(session, model)


def _stops(session: TrainingSession, model: PreTrainedModel) -> int | list[int]:
    stops = sorted(stop_tokens(session.tokens, model.config))
    return stops if len(stops) > 1 else stops[0]


def _write_generation_settings(session: TrainingSession, folder: Path) -> None:
    """Write an adapter's generation settings: those of its base, ended where training ended answers."""
    base: PreTrainedModel = session.base
    settings = copy.deepcopy(base.generation_config)
    settings.eos_token_id = _stops(session, base)
    settings.save_pretrained(folder)


def write_tokenizer(session: TrainingSession, folder: Path) -> None:
    """Write the tokenizer with the template that was trained on, whichever that was."""
    tokenizer = session.tokens.tokenizer
    tokenizer.chat_template = session.tokens.template.text
    tokenizer.save_pretrained(folder)


@contextmanager
def told(method: Method) -> Iterator[None]:
    """Turn peft's refusals to store an adapter into one clear error."""
    try:
        yield
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        told = f"peft cannot store this {method.name} adapter: {first[0].rstrip('.')}{or_merge(method)}"
        raise ExportError(told) from error


def or_merge(method: Method) -> str:
    """Return the end of a message that names the way out, where there is one."""
    info = getattr(method, "info", None)
    return "; with --merge it can be written as a whole model" if info is not None and info.merges else ""
