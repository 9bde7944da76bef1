"""LoRA and its variants: one peft config, many ways to start, scale and step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.settings.data import about
from orchestrator.spec.methods.entry import MethodEntry

_CLASSES = "orchestrator.training.methods.lora"
_LORA: Mapping[str, object] = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}


@dataclass(frozen=True)
class CalibrationOptions:
    """Samples that the adapter is started from."""

    calibration_samples: int = field(
        default=64, metadata=about("Training samples that the start of the adapter is computed from.", ge=1)
    )


@dataclass(frozen=True)
class LoraPlusOptions:
    """Two learning rates."""

    learning_rate_ratio: float = field(
        default=16.0, metadata=about("Learning rate of the second factor over that of the first.", ge=1e-6)
    )


@dataclass(frozen=True)
class RiemannianOptions:
    """Preconditioning of the gradients."""

    damping: float = field(
        default=1e-2, metadata=about("Added to the diagonal of each (r, r) matrix before its inverse.", ge=0.0)
    )


LORA_ENTRIES: dict[str, MethodEntry] = {
    "lora": MethodEntry(
        "low_rank",
        "change of each matrix as a low-rank product",
        2e-4,
        "bench 1e-4: 47.8 %; QLoRA paper 2e-4",
        "LoraConfig",
        _LORA,
    ),
    "rslora": MethodEntry(
        "low_rank",
        "lora scaled by alpha / sqrt(r)",
        1e-4,
        "bench 1e-4: 51.3 %",
        "LoraConfig",
        _LORA,
        fixed={"use_rslora": True},
    ),
    "dora": MethodEntry(
        "low_rank",
        "lora on the direction, a vector for the magnitude",
        2e-4,
        "bench 1e-4: 46.9 %",
        "LoraConfig",
        _LORA,
        fixed={"use_dora": True},
    ),
    "pissa": MethodEntry(
        "low_rank",
        "lora started from the principal components",
        5e-5,
        "paper 2e-5",
        "LoraConfig",
        _LORA,
        fixed={"init_lora_weights": "pissa"},
    ),
    "olora": MethodEntry(
        "low_rank",
        "lora started from a QR factorisation",
        2e-4,
        "paper 3e-4",
        "LoraConfig",
        _LORA,
        fixed={"init_lora_weights": "olora"},
    ),
    "mica": MethodEntry(
        "low_rank",
        "lora on the minor components, one factor trained",
        2e-4,
        "bench 1e-4: 43.1 %",
        "LoraConfig",
        _LORA,
        fixed={"init_lora_weights": "mica"},
    ),
    "eva": MethodEntry(
        "low_rank",
        "lora started from the SVD of activations",
        2e-4,
        "as lora",
        "LoraConfig",
        {**_LORA, "eva_config": {"use_label_mask": False}},
        fixed={"init_lora_weights": "eva"},
        options=CalibrationOptions,
        own_fields=("eva_config",),
        implementation=f"{_CLASSES}.eva:Eva",
    ),
    "corda": MethodEntry(
        "low_rank",
        "lora started from covariance-oriented components",
        5e-5,
        "paper 2e-5",
        "LoraConfig",
        {**_LORA, "corda_config": {}},
        fixed={"init_lora_weights": "corda"},
        options=CalibrationOptions,
        own_fields=("corda_config",),
        implementation=f"{_CLASSES}.corda:Corda",
    ),
    "lora_ga": MethodEntry(
        "low_rank",
        "lora started from the SVD of gradients",
        5e-5,
        "paper 2e-5 to 5e-5",
        "LoraConfig",
        {**_LORA, "lora_ga_config": {}},
        fixed={"init_lora_weights": "lora_ga"},
        options=CalibrationOptions,
        own_fields=("lora_ga_config",),
        implementation=f"{_CLASSES}.lora_ga:LoraGa",
    ),
    "kasa": MethodEntry(
        "low_rank",
        "singular-value adaptation that cuts the base's tail first",
        2e-4,
        "paper 3e-4 to 5e-4",
        "LoraConfig",
        {**_LORA, "kasa_config": {}},
        starts=False,
        own_fields=("kasa_config",),
        implementation=f"{_CLASSES}.kasa:Kasa",
    ),
    "velora": MethodEntry(
        "low_rank",
        "lora with compressed activations in the backward",
        2e-4,
        "as lora",
        "LoraConfig",
        {**_LORA, "velora_config": {}},
        own_fields=("velora_config",),
        implementation=f"{_CLASSES}.velora:Velora",
    ),
    "monteclora": MethodEntry(
        "low_rank",
        "lora with sampled (variational) factors",
        2e-4,
        "as lora",
        "LoraConfig",
        {**_LORA, "monteclora_config": {"buffer_size": 1}},
        own_fields=("monteclora_config",),
        implementation=f"{_CLASSES}.monteclora:MonteCLora",
    ),
    "bdlora": MethodEntry(
        "low_rank",
        "lora with block-diagonal factors",
        2e-4,
        "bench 1e-4: 48.7 %",
        "LoraConfig",
        {**_LORA, "use_bdlora": {}},
        own_fields=("use_bdlora",),
    ),
    "alora": MethodEntry(
        "low_rank",
        "lora active only after an invocation sequence",
        2e-4,
        "as lora",
        "LoraConfig",
        _LORA,
        merges=False,
        own_fields=("alora_invocation_tokens",),
        implementation=f"{_CLASSES}.alora:Alora",
    ),
    "lora_plus": MethodEntry(
        "low_rank",
        "lora with a larger learning rate on the second factor",
        1e-4,
        "paper 1e-4, ratio 16",
        "LoraConfig",
        _LORA,
        options=LoraPlusOptions,
        implementation=f"{_CLASSES}.lora_plus:LoraPlus",
    ),
    "lora_fa": MethodEntry(
        "low_rank",
        "lora with the first factor frozen",
        2e-4,
        "bench 1e-4: 40.4 %",
        "LoraConfig",
        _LORA,
        implementation=f"{_CLASSES}.lora_fa:LoraFA",
    ),
    "lora_riemannian": MethodEntry(
        "low_rank",
        "lora with preconditioned gradients",
        1e-4,
        "as lora, scaled down",
        "LoraConfig",
        _LORA,
        options=RiemannianOptions,
        implementation=f"{_CLASSES}.lora_riemannian:LoraRiemannian",
    ),
}
