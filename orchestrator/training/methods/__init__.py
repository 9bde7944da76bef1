"""How weights are trained: the registry of methods. Adding one is a file and an entry (and one in the catalogue)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.spec.methods.catalogue import METHODS as CATALOGUE
from orchestrator.spec.methods.catalogue import resolve_options
from orchestrator.training.methods.adapters.calibrated import Calibrated
from orchestrator.training.methods.adapters.optimizer_variants import LoraFA, LoraPlus, LoraRiemannian
from orchestrator.training.methods.adapters.peft_adapter import PeftMethod
from orchestrator.training.methods.adapters.peft_special import (
    AdaLora,
    Kasa,
    MonteCLora,
    Pvera,
    Shadow,
    TaskRouted,
    Velora,
    WholeModel,
)
from orchestrator.training.methods.contract.method import Batch, Method, MethodContext, Stage
from orchestrator.training.methods.full.full import Full
from orchestrator.training.methods.full.layerwise import LayerwiseDecay
from orchestrator.training.methods.subset.freezing import BitFit, FreezeLower

__all__ = ["METHODS", "Batch", "Method", "MethodContext", "Stage", "build_method"]

SPECIAL: dict[str, Callable[[str, Mapping[str, Any]], Method]] = {
    "full": Full,
    "freeze_lower": FreezeLower,
    "llrd": LayerwiseDecay,
    "bitfit": BitFit,
    "eva": Calibrated,
    "corda": Calibrated,
    "lora_ga": Calibrated,
    "kasa": Kasa,
    "velora": Velora,
    "monteclora": MonteCLora,
    "alora": WholeModel,
    "lora_plus": LoraPlus,
    "lora_fa": LoraFA,
    "lora_riemannian": LoraRiemannian,
    "adalora": AdaLora,
    "poly": TaskRouted,
    "pvera": Pvera,
    "cartridge": WholeModel,
    "cpt": WholeModel,
    "multitask_prompt_tuning": TaskRouted,
    "p_tuning": WholeModel,
    "prefix_tuning": WholeModel,
    "prompt_tuning": WholeModel,
    "adaption_prompt": WholeModel,
    "shadow": Shadow,
}
"""Methods with a class of their own; every other one is peft's, driven by its config alone."""

_PLAIN_PEFT = [name for name, info in CATALOGUE.items() if info.peft_config and name not in SPECIAL]

METHODS: dict[str, Callable[[str, Mapping[str, Any]], Method]] = {**SPECIAL, **dict.fromkeys(_PLAIN_PEFT, PeftMethod)}
"""Method name to its class; the names equal those of the catalogue."""


def build_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Return a fresh method for one trial, with checked options over its defaults.

    Raises:
        SpecError: If the name or an option is wrong; names the nearest known one.
    """
    resolved = resolve_options(name, options or {})
    return METHODS[name](name, resolved)
