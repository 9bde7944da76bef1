"""Published rules: where each method's learning rate lies, how large a batch should be, and how sure that is.

Every number has its source beside it; what no source gives is called an assumption.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.reporting.recommendation.beliefs import Belief
from orchestrator.spec.methods.catalogue import METHODS, method_info
from orchestrator.spec.trial.identity import short_number
from orchestrator.training.setup.sizes import ModelFacts

PAPER = "arXiv 2412.13337 (Pareja et al., ICLR 2025)"
TINKER = "tinker-cookbook, hyperparam_utils.py (9dfcc3a)"
TINKER_SWEEP = "tinker-cookbook, published LoRA sweep (35 models, tulu3)"
THINKING_MACHINES = "LoRA Without Regret (Thinking Machines 2025)"
PEFT_BENCHMARK = "peft, MetaMathQA benchmark (Llama-3.2-3B)"
TRAINING_HUB = "training_hub, hyperparameter guide (f793034)"
ASSUMPTION = "assumption of this project"

BASE_RATE = 5e-5
WIDTH_OF_BASE_RATE = 2000
ADAPTER_RATIO, SHORT_ADAPTER_RATIO = 10.0, 15.0
SHORT_STEPS = 100
"""Runs of fewer optimizer steps count as very short (the source gives no number: an assumption)."""

EXPONENTS = {"llama": 0.781, "qwen": 0.0775}
EXPONENT_ERROR, UNKNOWN_EXPONENT_ERROR = 0.2, 0.35
"""Standard deviation of the exponent (assumptions; 0.35 is half of the difference between the two families)."""

WIDTH_FAMILIES = ("weights", "low_rank", "orthogonal", "scaling")
"""Method families whose rates are taken to depend on width; those of the others stay as in the benchmark."""

RULE_DEVIATION, OTHER_METHOD_DEVIATION = 0.4, 0.5
OBJECTIVE_SHIFT = {"loss": 0.0, "downstream": -0.25, "forgetting": -0.5}
OBJECTIVE_DEVIATION = {"loss": 0.0, "downstream": 0.2, "forgetting": 0.2}

STEPS_WANTED = 128
LEAST_STEPS = 16
GUIDE_BATCHES = ((1_000, 32), (10_000, 128), (100_000, 256))
LARGE_DATA_BATCH, LARGEST_BATCH, LARGEST_ADAPTER_BATCH = 1024, 4096, 256
BATCH_DEVIATION = 0.4
DOWNSTREAM_BATCH_SHIFT = 0.3


@dataclass(frozen=True)
class Rule:
    """What published rules say of one quantity: the belief, the reason in words, and the sources."""

    belief: Belief
    reason: str
    sources: tuple[str, ...]


def width_exponent(family: str) -> tuple[float, float, bool]:
    """Return the exponent of the width, its standard deviation, and whether the family was fitted."""
    for name, exponent in EXPONENTS.items():
        if name in family.lower():
            return exponent, EXPONENT_ERROR, True
    return sum(EXPONENTS.values()) / len(EXPONENTS), UNKNOWN_EXPONENT_ERROR, False


def method_ratio(method: str, steps: int) -> tuple[float, str, str]:
    """Return a method's rate over that of full fine-tuning, in words, and the source.

    Adapters are anchored at LoRA's ratio and differ from it as in the table of methods; methods that train the model's
    own weights differ from full fine-tuning as there.
    """
    info, adapter = method_info(method), SHORT_ADAPTER_RATIO if steps < SHORT_STEPS else ADAPTER_RATIO
    if method == "full":
        return 1.0, "", ""
    if info.family == "weights":
        ratio = _centre(method) / _centre("full")
        return ratio, f"{ratio:g} times full fine-tuning ({info.learning_rate_evidence})", "table of methods"
    ratio = adapter * _centre(method) / _centre("lora")
    length = "a very short run" if steps < SHORT_STEPS else "LoRA"
    told = f"{adapter:g} times full fine-tuning ({length})"
    if method == "lora":
        return ratio, told, THINKING_MACHINES
    relative = _centre(method) / _centre("lora")
    return ratio, f"LoRA's rate, {told}, times {relative:g} ({info.learning_rate_evidence})", PEFT_BENCHMARK


def rate_rule(method: str, model: ModelFacts, objective: str, steps: int) -> Rule:
    """Return what published rules say of a method's best learning rate.

    ``5e-5 * (2000 / width)^p`` for full fine-tuning, p fitted on Llama (0.781) and Qwen (0.0775), their mean for other
    families, times the method's ratio; lower where the objective is not the training distribution's own loss.

    Args:
        method: Name in the catalogue.
        model: The base model.
        objective: ``loss``, ``downstream`` or ``forgetting``.
        steps: Optimizer steps of a trial.
    """
    ratio, told, source = method_ratio(method, steps)
    exponent, error, fitted = width_exponent(model.family)
    widths = math.log10(WIDTH_OF_BASE_RATE / model.hidden_size)
    has_width = method_info(method).family in WIDTH_FAMILIES
    mean = math.log10(BASE_RATE * ratio) + (exponent * widths if has_width else 0.0) + OBJECTIVE_SHIFT[objective]
    own = RULE_DEVIATION if method in ("full", "lora") else OTHER_METHOD_DEVIATION
    parts = (own, error * widths if has_width else 0.0, OBJECTIVE_DEVIATION[objective])
    family = f"p = {exponent:.3g} {'for' if fitted else 'as the mean of Llama and Qwen, for'} {model.family}"
    words = f"5e-5 x (2000 / {model.hidden_size})^p, {family}" if has_width else "5e-5, whatever the width"
    reason = f"rule: {words}{', ' + told if told else ''}: {short_number(10**mean)}"
    sources = [TINKER, *([source] if source else [])]
    if objective != "loss":
        reason += f", a factor {10 ** -OBJECTIVE_SHIFT[objective]:.2g} lower because the objective is {objective}"
        sources.append(PAPER)
    return Rule(Belief(mean, math.hypot(*parts)), reason, tuple(sources))


def batch_rule(rows: int, samples: int, objective: str, adapters: bool) -> Rule:
    """Return what published rules say of the best effective batch size.

    Args:
        rows: Rows of the training data.
        samples: Training budget of a trial.
        objective: As in `rate_rule`; away from the training distribution larger batches are better (the paper).
        adapters: Whether low-rank adapters are in the search, which bear large batches worse.
    """
    guide = next((size for limit, size in GUIDE_BATCHES if rows < limit), LARGE_DATA_BATCH)
    wanted = max(4.0, samples / STEPS_WANTED)
    size = min(wanted, guide, largest_batch(adapters))
    shift = 0.0 if objective == "loss" else DOWNSTREAM_BATCH_SHIFT
    reason = f"{samples:,} samples leave {STEPS_WANTED} optimizer steps at {wanted:.3g}; "
    reason += f"for {rows:,} rows the guide uses about {guide}"
    sources = [ASSUMPTION, TRAINING_HUB]
    if adapters:
        reason += "; LoRA bears large batches worse"
        sources.append(THINKING_MACHINES)
    if shift:
        reason += f"; doubled, as larger batches ended better on {objective} scores"
        sources.append(PAPER)
    return Rule(Belief(math.log10(size) + shift, BATCH_DEVIATION), reason, tuple(sources))


def largest_batch(adapters: bool) -> int:
    """Return the largest effective batch that is recommended, with and without low-rank adapters in the search."""
    return LARGEST_ADAPTER_BATCH if adapters else LARGEST_BATCH


def _centre(method: str) -> float:
    low, high = METHODS[method].learning_rate
    return math.sqrt(low * high)
