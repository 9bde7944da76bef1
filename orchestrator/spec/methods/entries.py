"""The table of fine-tuning methods: one entry each, standard library only.

Learning rates. Every method has its own range, because a sweep with one learning rate for all methods
compares learning rates, not methods. Rule: the default range is log-uniform over a factor 10 either
side of ``centre``. ``centre`` is, in this order: the best-scoring rate of peft's own MetaMathQA benchmark
(Llama-3.2-3B; "bench" below), the method's paper ("paper"), or, where the benchmark's rate left the
method almost untrained, a higher one ("raised"). It suits models of 0.5-8B parameters; models of a
few million parameters want 10 to 100 times more, so give a range of your own there.

Families are also the cohorts of early stopping: training dynamics (gradient norms, speed of the early
loss) are comparable inside a family, not across families.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.spec.methods.entry import MethodEntry
from orchestrator.spec.methods.peft_entries import LOW_RANK_ENTRIES, PROMPT_ENTRIES, SCALING_ENTRIES, SPARSE_ENTRIES

FIELDS_FILE = Path(__file__).with_name("peft_fields.json")
"""Fields of peft's configs, written by orchestrator.training.methods.adapters.refresh_peft_fields."""

_LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}

FAMILIES: dict[str, str] = {
    "weights": "the model's own weights, all or some",
    "low_rank": "low-rank (or otherwise factorised) change of the weight matrices",
    "orthogonal": "rotation or reflection of the weight matrices",
    "sparse": "few entries or coefficients of the change of the weight matrices",
    "scaling": "vectors only: scales, biases, norms, shared banks of few parameters",
    "prompt": "trainable tokens or key-value prefixes in front of the input",
    "side_network": "small networks beside the frozen model",
}


def _lora(summary: str, centre: float, evidence: str, family: str = "low_rank", **more: Any) -> MethodEntry:
    defaults = {**_LORA, **more.pop("defaults", {})}
    return MethodEntry(family, summary, centre, evidence, "LoraConfig", defaults, **more)


WEIGHT_ENTRIES: dict[str, MethodEntry] = {
    "full": MethodEntry("weights", "every weight", 1e-5, "bench 1e-5: 47.2 %"),
    "freeze_lower": MethodEntry(
        "weights", "embeddings and the lowest blocks frozen", 1e-5, "as full", defaults={"share": 0.5}
    ),
    "llrd": MethodEntry(
        "weights", "every weight, learning rate decaying towards the input", 2e-5, "as full", defaults={"decay": 0.9}
    ),
    "bitfit": MethodEntry(
        "scaling", "biases only", 1e-3, "paper 1e-4 to 1e-3", defaults={"add_biases": True}, merges=False
    ),
}

LORA_ENTRIES: dict[str, MethodEntry] = {
    "lora": _lora("change of each matrix as a low-rank product", 2e-4, "bench 1e-4: 47.8 %; QLoRA paper 2e-4"),
    "rslora": _lora("lora scaled by alpha / sqrt(r)", 1e-4, "bench 1e-4: 51.3 %", fixed={"use_rslora": True}),
    "dora": _lora(
        "lora on the direction, a vector for the magnitude", 2e-4, "bench 1e-4: 46.9 %", fixed={"use_dora": True}
    ),
    "pissa": _lora(
        "lora started from the principal components", 5e-5, "paper 2e-5", fixed={"init_lora_weights": "pissa"}
    ),
    "olora": _lora("lora started from a QR factorisation", 2e-4, "paper 3e-4", fixed={"init_lora_weights": "olora"}),
    "mica": _lora(
        "lora on the minor components, one factor trained",
        2e-4,
        "bench 1e-4: 43.1 %",
        fixed={"init_lora_weights": "mica"},
    ),
    "eva": _lora(
        "lora started from the SVD of activations",
        2e-4,
        "as lora",
        fixed={"init_lora_weights": "eva"},
        defaults={"eva_config": {"use_label_mask": False}, "calibration_samples": 64},
    ),
    "corda": _lora(
        "lora started from covariance-oriented components",
        5e-5,
        "paper 2e-5",
        fixed={"init_lora_weights": "corda"},
        defaults={"corda_config": {}, "calibration_samples": 64},
    ),
    "lora_ga": _lora(
        "lora started from the SVD of gradients",
        5e-5,
        "paper 2e-5 to 5e-5",
        fixed={"init_lora_weights": "lora_ga"},
        defaults={"lora_ga_config": {}, "calibration_samples": 64},
    ),
    "kasa": _lora(
        "singular-value adaptation that cuts the base's tail first",
        2e-4,
        "paper 3e-4 to 5e-4",
        defaults={"kasa_config": {}},
        starts=False,
    ),
    "velora": _lora(
        "lora with compressed activations in the backward", 2e-4, "as lora", defaults={"velora_config": {}}
    ),
    "monteclora": _lora(
        "lora with sampled (variational) factors", 2e-4, "as lora", defaults={"monteclora_config": {"buffer_size": 1}}
    ),
    "bdlora": _lora("lora with block-diagonal factors", 2e-4, "bench 1e-4: 48.7 %", defaults={"use_bdlora": {}}),
    "alora": _lora("lora active only after an invocation sequence", 2e-4, "as lora", merges=False),
    "lora_plus": _lora(
        "lora with a larger learning rate on the second factor",
        1e-4,
        "paper 1e-4, ratio 16",
        defaults={"learning_rate_ratio": 16.0},
    ),
    "lora_fa": _lora("lora with the first factor frozen", 2e-4, "bench 1e-4: 40.4 %"),
    "lora_riemannian": _lora(
        "lora with preconditioned gradients", 1e-4, "as lora, scaled down", defaults={"damping": 1e-2}
    ),
}

ENTRIES: dict[str, MethodEntry] = {
    **WEIGHT_ENTRIES,
    **LORA_ENTRIES,
    **LOW_RANK_ENTRIES,
    **SPARSE_ENTRIES,
    **SCALING_ENTRIES,
    **PROMPT_ENTRIES,
}

EXCLUDED: dict[str, str] = {
    "xlora": "it gates lora adapters that were trained before, so it is no way to train from a base model",
    "arrow": "it routes between lora adapters without training anything",
    "loftq": "it starts from a 4-bit base and needs bitsandbytes, which this package does not install",
    "qlora": "it needs a 4-bit base (bitsandbytes), which this package does not install",
    "qalora": "it needs a GPTQ-quantised base",
    "mixed": "adapters of several kinds at once cannot be saved and resumed as one method",
    "bone": "peft replaced it by miss",
}
"""Known fine-tuning methods that cannot be chosen, and why."""
