"""Base models and tokenizers, loaded safely: safetensors only, and no code from a model repository unless asked.

The base stays on the CPU, untouched; every trial works on a copy of its own (`fresh_copy`).
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import safetensors
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from orchestrator.errors import ModelError
from orchestrator.settings.trial_setup import ModelSettings, TrainingSettings
from orchestrator.testbed.sources import base_model_path
from orchestrator.training.model import hub
from orchestrator.training.model.paths import looks_local, nearest_path
from orchestrator.training.model.protocols import ModelConfig, Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

T = TypeVar("T")
Options = dict[str, object]
"""Keyword arguments of ``from_pretrained``."""
Loaded = tuple["PreTrainedModel", Mapping[str, Collection[str]]]
"""A model, and what was found of its weights (``missing_keys``, ...)."""
TESTBED = "testbed"
_LENGTH_FIELDS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length")
_SAMPLED_BYTES = 1 << 20


def find_model(settings: ModelSettings) -> str:
    """Return the folder or hub id of the base model.

    Raises:
        ModelError: If there is no such folder, or it holds no safetensors weights.
    """
    if settings.path == TESTBED:
        return str(base_model_path())
    folder = Path(settings.path).expanduser()
    if folder.is_dir():
        _check_folder(folder, settings.path)
        return str(folder)
    if folder.exists():
        raise ModelError(settings.path, rule="must be a folder or a hub id, not a file", mend="give the model's folder")
    if looks_local(settings.path):
        raise ModelError(settings.path, rule="there is no such model folder", mend=nearest_path(folder))
    return settings.path


def load_config(settings: ModelSettings) -> ModelConfig:
    """Return the model's configuration; no weights are read.

    Raises:
        ModelError: If the model is missing, wants code of its own to run, or is no causal language model.
    """
    config: ModelConfig = _guarded(settings, lambda path, options: AutoConfig.from_pretrained(path, **options))
    own_code = settings.trust_remote_code and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if not own_code and type(config) not in AutoModelForCausalLM._model_mapping:
        rule = f"is a {config.model_type} model, which is no causal language model that transformers knows"
        raise ModelError(settings.path, rule=rule, mend="choose a decoder-only language model")
    return config


def load_tokenizer(settings: ModelSettings) -> Tokenizer:
    """Return the model's tokenizer.

    Raises:
        ModelError: If there is none, it cannot be read, or it wants code of its own to run.
    """

    def load(path: str, options: Options) -> Tokenizer:
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(path, **options)
        return tokenizer

    return _guarded(settings, load, "tokenizer")


def load_model(settings: ModelSettings, training: TrainingSettings, device: torch.device) -> nn.Module:
    """Return the base model in evaluation mode, on the CPU, in the type in which it is trained on ``device``.

    Raises:
        ModelError: If weights are missing, damaged, or not in safetensors, or the attention
            implementation is not available.
    """
    config = load_config(settings)
    attention = "sdpa" if settings.attention == "auto" else settings.attention
    wanted = {"config": config, "dtype": training_dtype(training, device), "use_safetensors": True}

    def load(path: str, options: Options) -> Loaded:
        arguments = {**wanted, **options, "output_loading_info": True}
        try:
            return _from_pretrained(path, attn_implementation=attention, **arguments)
        except (ValueError, ImportError) as error:
            # A few architectures have no SDPA; `auto` then means their own implementation.
            if settings.attention != "auto" or "scaled_dot_product" not in str(error):
                raise
            return _from_pretrained(path, attn_implementation="eager", **arguments)

    model, info = _guarded(settings, load)
    if missing := sorted(info["missing_keys"]):
        rule = f"the weights lack {len(missing)} tensors that the model needs, such as {missing[0]}"
        raise ModelError(settings.path, rule=rule, mend="they would be random: give a complete model")
    _settle_generation(model)
    return cast(nn.Module, model.eval())


def fresh_copy(base: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy of the base on a device, tied weights tied; the base is not touched.

    Weights go to the device straight away, so that no second copy stands on the CPU on the way.
    """
    memo: dict[int, Tensor] = {}
    for parameter in base.parameters():
        moved = parameter.detach().to(device, copy=True)
        memo[id(parameter)] = nn.Parameter(moved, requires_grad=parameter.requires_grad)
    for buffer in base.buffers():
        memo[id(buffer)] = buffer.detach().to(device, copy=True)
    return copy.deepcopy(base, memo)


def training_dtype(training: TrainingSettings, device: torch.device) -> torch.dtype:
    """Return the type of the weights: bfloat16 on accelerators and float32 on CPUs, unless set."""
    if training.precision == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return torch.bfloat16 if training.precision == "bfloat16" else torch.float32


def model_length_limit(config: ModelConfig) -> int | None:
    """Return the longest sequence in tokens that a configuration allows; None when it names no limit."""
    text = config.get_text_config()
    for field in _LENGTH_FIELDS:
        value = getattr(text, field, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Return one more than the largest token id that the tokenizer can give."""
    return 1 + int(max(tokenizer.get_vocab().values()))


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, where: str) -> None:
    """Check that every token has an embedding.

    Raises:
        ModelError: If the tokenizer knows more tokens than the model.
    """
    known, rows = vocabulary_size(tokenizer), config.get_text_config().vocab_size
    if known > rows:
        rule = f"the tokenizer gives token ids up to {known - 1}, the model has embeddings for {rows} tokens"
        raise ModelError(where, "tokenizer", rule=rule, mend="give the tokenizer that belongs to the model")


def padding_id(tokenizer: Tokenizer) -> int:
    """Return the id to pad with; without a pad token the end-of-sequence token, which is masked where it pads."""
    chosen = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    assert chosen is not None, "a tokenizer without an end-of-sequence token is refused with its template"
    return int(chosen)


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Return a digest of everything that decides how the tokenizer cuts text."""
    if tokenizer.is_fast:
        text = tokenizer.backend_tokenizer.to_str()
    else:
        text = json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    specials = json.dumps({name: str(token) for name, token in tokenizer.special_tokens_map.items()}, sort_keys=True)
    return hashlib.blake2b(f"{text}\0{specials}".encode(), digest_size=16).hexdigest()


def weights_digest(path: str, revision: str | None) -> str:
    """Return a digest that tells base models apart: names, sizes and samples of a folder's weight files.

    For a hub id it is the digest of id and revision.
    """
    total = hashlib.blake2b(f"{path}\0{revision}".encode() if not Path(path).is_dir() else b"", digest_size=16)
    for file in sorted(Path(path).glob("*.safetensors")) + sorted(Path(path).glob("config.json")):
        size = file.stat().st_size
        total.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            for start in (0, size // 2, max(0, size - _SAMPLED_BYTES)):
                stream.seek(start)
                total.update(stream.read(_SAMPLED_BYTES))
    return total.hexdigest()


def count_parameters(config: ModelConfig, settings: ModelSettings) -> tuple[int, str]:
    """Return the number of parameters (tied ones once) and the model class, without weights in memory."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=settings.trust_remote_code)
    return sum(parameter.numel() for parameter in model.parameters()), type(model).__name__


def quiet_libraries() -> None:
    """Keep progress bars and advice of the model libraries off the terminal; errors still show."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    # peft says so at every generation with virtual tokens; it leaves them out, which is right.
    warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)


def _from_pretrained(path: str, **arguments: object) -> Loaded:
    model, info = AutoModelForCausalLM.from_pretrained(path, **arguments)
    return model, info


def _settle_generation(model: PreTrainedModel) -> None:
    """Make the generation settings that came with the model consistent, so that they can be saved again."""
    try:
        model.generation_config.validate(strict=True)
    except ValueError:
        # Sampling settings without the switch: they were meant for sampling.
        model.generation_config.do_sample = True


def _check_folder(folder: Path, shown: str) -> None:
    names = {entry.name for entry in folder.iterdir()}
    if "config.json" not in names:
        rule = "the folder holds no config.json, so it is no Hugging Face model"
        raise ModelError(shown, rule=rule, mend=_inner_model(folder))
    if any(name.endswith(".safetensors") for name in names):
        return
    if pickled := sorted(name for name in names if name.endswith((".bin", ".pt", ".pth"))):
        rule = f"has its weights in {pickled[0]}, a pickle file, which can run any code when it is read"
        mend = "convert it once with save_pretrained (it writes safetensors) in a place you trust"
        raise ModelError(shown, rule=rule, mend=mend)
    raise ModelError(
        shown, rule="the folder holds no weights (*.safetensors)", mend="give the folder of a complete model"
    )


def _inner_model(folder: Path) -> str:
    inner = sorted(path.parent.name for path in folder.glob("*/config.json"))
    return f"perhaps {folder / inner[0]} is meant" if inner else ""


def _guarded(settings: ModelSettings, load: Callable[[str, Options], T], part: str = "") -> T:
    """Call a loader of transformers and turn what it raises into one clear error."""
    quiet_libraries()
    path = find_model(settings)
    local = Path(path).is_dir()
    options: Options = {"trust_remote_code": settings.trust_remote_code}
    if not local:
        options |= {"revision": settings.revision, "local_files_only": not hub.is_reachable()}
    try:
        return load(path, options)
    except safetensors.SafetensorError as error:
        raise ModelError(
            settings.path, part, rule=f"has damaged weights: {error}", mend="copy the model again"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError) as error:
        raise _explain(settings, part, error, options.get("local_files_only") is True) from error


def _explain(settings: ModelSettings, part: str, error: Exception, offline: bool) -> ModelError:
    text = str(error).strip()
    if "trust_remote_code" in text:
        rule = "needs Python code from the model repository to run"
        mend = "set model.trust_remote_code: true if you trust the repository"
        return ModelError(settings.path, part, rule=rule, mend=mend)
    if "safetensors" in text and isinstance(error, OSError):
        rule = "has no weights in safetensors; pickle files can run any code when they are read"
        return ModelError(
            settings.path, part, rule=rule, mend="convert it once with save_pretrained in a place you trust"
        )
    if offline:
        rule = "is no folder here, and as a hub id it is neither cached nor can the hub be reached"
        mend = nearest_path(Path(settings.path)) or "give a local folder, or connect to the network"
        return ModelError(settings.path, part, rule=rule, mend=mend)
    first = text.split("\n", 1)[0].rstrip(".") or type(error).__name__
    return ModelError(settings.path, part, rule=f"cannot be loaded: {first}")
