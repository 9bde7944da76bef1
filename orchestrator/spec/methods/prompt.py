"""Tokens, prefixes and side networks in front of or beside the frozen model."""

from __future__ import annotations

from orchestrator.spec.methods.entry import MethodEntry

_CLASSES = "orchestrator.training.methods.adapters"

_PROMPT: dict[str, object] = {"num_virtual_tokens": 16}

PROMPT_ENTRIES: dict[str, MethodEntry] = {
    "cartridge": MethodEntry(
        "prompt",
        "trainable key-value cache",
        5e-3,
        "assumed from prefix_tuning",
        "CartridgeConfig",
        _PROMPT,
        starts=False,
        merges=False,
        implementation=f"{_CLASSES}.whole_model:WholeModel",
    ),
    "cpt": MethodEntry(
        "prompt",
        "context tokens moved inside a small ball",
        1e-3,
        "assumed from prompt_tuning",
        "CPTConfig",
        starts=False,
        merges=False,
        implementation=f"{_CLASSES}.whole_model:WholeModel",
    ),
    "multitask_prompt_tuning": MethodEntry(
        "prompt",
        "shared prompt times a prompt per task",
        3e-3,
        "as prompt_tuning",
        "MultitaskPromptTuningConfig",
        {**_PROMPT, "num_tasks": 1},
        starts=False,
        merges=False,
        needs_task_ids=True,
        implementation=f"{_CLASSES}.task_routed:TaskRouted",
    ),
    "p_tuning": MethodEntry(
        "prompt",
        "soft prompt through a small encoder",
        3e-4,
        "bench 1e-4: 35.0 %; raised",
        "PromptEncoderConfig",
        _PROMPT,
        starts=False,
        merges=False,
        implementation=f"{_CLASSES}.whole_model:WholeModel",
    ),
    "prefix_tuning": MethodEntry(
        "prompt",
        "key-value prefix in every layer",
        5e-3,
        "bench 5e-3: 41.6 %",
        "PrefixTuningConfig",
        _PROMPT,
        starts=False,
        merges=False,
        implementation=f"{_CLASSES}.whole_model:WholeModel",
    ),
    "prompt_tuning": MethodEntry(
        "prompt",
        "soft tokens in front of the input",
        3e-3,
        "bench 1e-4 5.7 %, 1e-3 34.3 %; raised",
        "PromptTuningConfig",
        {**_PROMPT, "prompt_tuning_init": "SAMPLE_VOCAB"},
        starts=False,
        merges=False,
        implementation=f"{_CLASSES}.whole_model:WholeModel",
    ),
    "adaption_prompt": MethodEntry(
        "side_network",
        "gated attention to trained prompts",
        5e-3,
        "bench 5e-3: 38.4 %",
        "AdaptionPromptConfig",
        {"adapter_len": 10},
        merges=False,
        implementation=f"{_CLASSES}.whole_model:WholeModel",
    ),
    "shadow": MethodEntry(
        "side_network",
        "small parallel network",
        2e-4,
        "assumed from lora",
        "ShadowConfig",
        {"r": 8},
        merges=False,
        implementation=f"{_CLASSES}.shadow:Shadow",
    ),
}
