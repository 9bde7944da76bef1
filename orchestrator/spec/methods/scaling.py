"""Vectors only: scales, biases, norms, shared banks of few parameters."""

from __future__ import annotations

from orchestrator.spec.methods.entry import ALL_LINEAR, MethodEntry

_CLASSES = "orchestrator.training.methods.adapters"

SCALING_ENTRIES: dict[str, MethodEntry] = {
    "beft": MethodEntry(
        "scaling",
        "bias on the value projection",
        1e-3,
        "bench 1e-4: 32.1 %; raised",
        "BeftConfig",
        {"target_modules": "value"},
        merges=False,
    ),
    "ia3": MethodEntry(
        "scaling",
        "scales of keys, values and feed-forward activations",
        5e-3,
        "bench 5e-3: 45.5 %",
        "IA3Config",
        {"target_modules": "key-value-down"},
    ),
    "ln_tuning": MethodEntry(
        "scaling", "norms only", 1e-3, "bench 1e-4: 0.0 %; raised", "LNTuningConfig", {"target_modules": "norms"}
    ),
    "road": MethodEntry(
        "scaling", "two-dimensional rotations of outputs", 1e-3, "bench 1e-3: 38.5 %", "RoadConfig", ALL_LINEAR
    ),
    "tinylora": MethodEntry(
        "scaling", "a few scalars for the whole model", 5e-3, "bench 1e-3: 1.2 %; raised", "TinyLoraConfig", ALL_LINEAR
    ),
    "trainable_tokens": MethodEntry(
        "scaling",
        "chosen rows of the embedding",
        0.2,
        "bench 0.2: 24.6 %",
        "TrainableTokensConfig",
        {"target_modules": "embeddings"},
    ),
    "unilora": MethodEntry(
        "scaling",
        "one vector behind all lora parameters",
        5e-3,
        "bench 1e-4: 0.2 %; paper",
        "UniLoraConfig",
        {"target_modules": "query-value"},
        starts=False,
    ),
    "vblora": MethodEntry(
        "scaling",
        "shared vector bank with top-k mixtures",
        1e-3,
        "bench 1e-4: 33.4 %; paper",
        "VBLoRAConfig",
        ALL_LINEAR,
        starts=False,
    ),
    "vera": MethodEntry(
        "scaling",
        "frozen random factors with trained scaling vectors",
        4e-3,
        "bench 1e-3: 35.4 %; paper 4e-3",
        "VeraConfig",
        ALL_LINEAR,
    ),
    "pvera": MethodEntry(
        "scaling",
        "probabilistic vera",
        3e-3,
        "bench 3e-3: 35.6 %",
        "PveraConfig",
        ALL_LINEAR,
        implementation=f"{_CLASSES}.pvera:Pvera",
    ),
}
