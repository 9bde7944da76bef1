"""The rows of the table of methods that are peft's own (all but lora and its variants).

``bench`` in the evidence is peft's MetaMathQA benchmark; see `orchestrator.spec.methods.entries` for the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.spec.methods.entry import MethodEntry

_ALL = {"target_modules": "all-linear"}
_PROMPT = {"num_virtual_tokens": 16}


def _peft(
    config: str,
    family: str,
    summary: str,
    centre: float,
    evidence: str,
    defaults: Mapping[str, Any] = _ALL,
    **more: Any,
) -> MethodEntry:
    return MethodEntry(family, summary, centre, evidence, config, defaults, **more)


LOW_RANK_ENTRIES: dict[str, MethodEntry] = {
    "adalora": _peft(
        "AdaLoraConfig",
        "low_rank",
        "SVD-form factors whose rank is pruned while training",
        5e-4,
        "bench 1e-4: 37.3 %; raised",
        {"init_r": 12, "target_r": 8, "lora_alpha": 32, **_ALL},
    ),
    "adamss": _peft(
        "AdamssConfig",
        "low_rank",
        "clustered SVD sub-spaces",
        5e-4,
        "bench 1e-4: 34.5 %; raised",
        {"target_modules": "query-value"},
    ),
    "deft": _peft(
        "DeftConfig", "low_rank", "replaces a sub-space of each matrix", 1e-4, "bench 1e-4: 48.2 %", {"r": 16, **_ALL}
    ),
    "delora": _peft(
        "DeloraConfig", "low_rank", "lora with decoupled norm and angle", 1e-3, "bench 1e-3: 46.8 %", {"r": 16, **_ALL}
    ),
    "frod": _peft(
        "FrodConfig",
        "low_rank",
        "joint decomposition across layers with sparse rotation",
        1e-4,
        "bench 1e-4: 50.9 %",
        {"target_modules": "query-value"},
        fixed={"progressbar": False},
    ),
    "glora": _peft(
        "GloraConfig",
        "low_rank",
        "generalised lora with weight and bias paths",
        2e-4,
        "bench 1e-4 41.8 %, 5e-4 37.1 %",
        {"r": 8, **_ALL},
    ),
    "gralora": _peft(
        "GraloraConfig",
        "low_rank",
        "lora in granular blocks",
        2e-4,
        "bench 2e-4: 49.5 %",
        {"r": 16, "alpha": 32, **_ALL},
    ),
    "hira": _peft(
        "HiraConfig",
        "low_rank",
        "Hadamard product of the weight and a low-rank matrix",
        4.5e-3,
        "bench 4.5e-3: 51.3 %",
        {"r": 16, **_ALL},
    ),
    "lily": _peft(
        "LilyConfig",
        "low_rank",
        "factors shared across layers with a router",
        1e-4,
        "bench 1e-4: 52.6 %",
        {"r": 32, **_ALL},
        merges=False,
    ),
    "loha": _peft(
        "LoHaConfig",
        "low_rank",
        "Hadamard product of two low-rank products",
        5e-4,
        "bench 1e-4: 39.3 %; raised",
        {"r": 16, "alpha": 32, **_ALL},
    ),
    "lokr": _peft(
        "LoKrConfig",
        "low_rank",
        "Kronecker product of small factors",
        3e-3,
        "bench 3e-3: 46.6 %",
        {"r": 16, "alpha": 16, **_ALL},
    ),
    "miss": _peft("MissConfig", "low_rank", "one shared matrix of shards per weight", 1e-4, "bench 1e-4: 48.7 %"),
    "miss_bat": _peft(
        "MissConfig",
        "low_rank",
        "miss through the weight itself",
        1e-4,
        "bench 1e-4: 50.4 %",
        fixed={"init_weights": "bat"},
    ),
    "osf": _peft(
        "OSFConfig",
        "weights",
        "trains the low singular sub-space, keeps the rest",
        5e-5,
        "bench 5e-5: 42.7 %, least forgetting",
    ),
    "peanut": _peft(
        "PeanutConfig",
        "low_rank",
        "non-linear, weight-aware low-rank change",
        1e-4,
        "bench 1e-4: 44.9 %",
        {"r": 16, **_ALL},
    ),
    "poly": _peft(
        "PolyConfig",
        "low_rank",
        "mixture of lora skills per task",
        5e-4,
        "paper, raised",
        {"r": 8, "n_skills": 2, **_ALL},
        merges=False,
    ),
    "psoft": _peft("PsoftConfig", "orthogonal", "rotation inside the principal sub-space", 2e-4, "bench 1e-4: 45.0 %"),
    "randlora": _peft(
        "RandLoraConfig", "low_rank", "scaled sums of frozen random bases, full rank", 1e-4, "bench 1e-4: 47.8 %"
    ),
    "boft": _peft("BOFTConfig", "orthogonal", "butterfly products of block rotations", 1e-4, "bench 1e-4: 34.3 %"),
    "oft": _peft("OFTConfig", "orthogonal", "block-diagonal rotation", 1e-4, "bench 1e-4: 49.1 %"),
    "hra": _peft(
        "HRAConfig",
        "orthogonal",
        "chain of Householder reflections",
        5e-4,
        "assumed from oft, raised",
        {"r": 8, **_ALL},
    ),
}

SPARSE_ENTRIES: dict[str, MethodEntry] = {
    "c3a": _peft("C3AConfig", "sparse", "block-circular convolutions", 0.3, "bench 0.3: 48.7 %", starts=False),
    "fourierft": _peft(
        "FourierFTConfig",
        "sparse",
        "few Fourier coefficients of the change",
        3e-3,
        "bench 1e-4: 0.0 %; paper",
        {"init_weights": True, **_ALL},  # peft's own default is random and huge on small matrices
    ),
    "waveft": _peft(
        "WaveFTConfig", "sparse", "few wavelet coefficients of the change", 3e-4, "bench 1e-4: 40.3 %; raised"
    ),
    "shira": _peft(
        "ShiraConfig", "sparse", "a sparse set of weight entries", 3e-4, "bench 3e-4: 51.0 %", {"r": 16, **_ALL}
    ),
    "supertuning": _peft("SupertuningConfig", "sparse", "the entries of largest magnitude", 3e-4, "assumed from shira"),
}

SCALING_ENTRIES: dict[str, MethodEntry] = {
    "beft": _peft(
        "BeftConfig",
        "scaling",
        "bias on the value projection",
        1e-3,
        "bench 1e-4: 32.1 %; raised",
        {"target_modules": "value"},
        merges=False,
    ),
    "ia3": _peft(
        "IA3Config",
        "scaling",
        "scales of keys, values and feed-forward activations",
        5e-3,
        "bench 5e-3: 45.5 %",
        {"target_modules": "key-value-down"},
    ),
    "ln_tuning": _peft(
        "LNTuningConfig", "scaling", "norms only", 1e-3, "bench 1e-4: 0.0 %; raised", {"target_modules": "norms"}
    ),
    "road": _peft("RoadConfig", "scaling", "two-dimensional rotations of outputs", 1e-3, "bench 1e-3: 38.5 %"),
    "tinylora": _peft(
        "TinyLoraConfig", "scaling", "a few scalars for the whole model", 5e-3, "bench 1e-3: 1.2 %; raised"
    ),
    "trainable_tokens": _peft(
        "TrainableTokensConfig",
        "scaling",
        "chosen rows of the embedding",
        0.2,
        "bench 0.2: 24.6 %",
        {"target_modules": "embeddings"},
    ),
    "unilora": _peft(
        "UniLoraConfig",
        "scaling",
        "one vector behind all lora parameters",
        5e-3,
        "bench 1e-4: 0.2 %; paper",
        {"target_modules": "query-value"},
        starts=False,
    ),
    "vblora": _peft(
        "VBLoRAConfig",
        "scaling",
        "shared vector bank with top-k mixtures",
        1e-3,
        "bench 1e-4: 33.4 %; paper",
        starts=False,
    ),
    "vera": _peft(
        "VeraConfig",
        "scaling",
        "frozen random factors with trained scaling vectors",
        4e-3,
        "bench 1e-3: 35.4 %; paper 4e-3",
    ),
    "pvera": _peft("PveraConfig", "scaling", "probabilistic vera", 3e-3, "bench 3e-3: 35.6 %"),
}

PROMPT_ENTRIES: dict[str, MethodEntry] = {
    "cartridge": _peft(
        "CartridgeConfig",
        "prompt",
        "trainable key-value cache",
        5e-3,
        "assumed from prefix_tuning",
        _PROMPT,
        starts=False,
        merges=False,
    ),
    "cpt": _peft(
        "CPTConfig",
        "prompt",
        "context tokens moved inside a small ball",
        1e-3,
        "assumed from prompt_tuning",
        {},
        starts=False,
        merges=False,
    ),
    "multitask_prompt_tuning": _peft(
        "MultitaskPromptTuningConfig",
        "prompt",
        "shared prompt times a prompt per task",
        3e-3,
        "as prompt_tuning",
        {**_PROMPT, "num_tasks": 1},
        starts=False,
        merges=False,
    ),
    "p_tuning": _peft(
        "PromptEncoderConfig",
        "prompt",
        "soft prompt through a small encoder",
        3e-4,
        "bench 1e-4: 35.0 %; raised",
        _PROMPT,
        starts=False,
        merges=False,
    ),
    "prefix_tuning": _peft(
        "PrefixTuningConfig",
        "prompt",
        "key-value prefix in every layer",
        5e-3,
        "bench 5e-3: 41.6 %",
        _PROMPT,
        starts=False,
        merges=False,
    ),
    "prompt_tuning": _peft(
        "PromptTuningConfig",
        "prompt",
        "soft tokens in front of the input",
        3e-3,
        "bench 1e-4 5.7 %, 1e-3 34.3 %; raised",
        {**_PROMPT, "prompt_tuning_init": "SAMPLE_VOCAB"},
        starts=False,
        merges=False,
    ),
    "adaption_prompt": _peft(
        "AdaptionPromptConfig",
        "side_network",
        "gated attention to trained prompts",
        5e-3,
        "bench 5e-3: 38.4 %",
        {"adapter_len": 10},
        merges=False,
    ),
    "shadow": _peft(
        "ShadowConfig", "side_network", "small parallel network", 2e-4, "assumed from lora", {"r": 8}, merges=False
    ),
}
