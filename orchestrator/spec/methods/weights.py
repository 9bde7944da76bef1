"""Methods that train the model's own weights, all or some."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.settings.data import about
from orchestrator.spec.methods.entry import MethodEntry

_CLASSES = "orchestrator.training.methods"


@dataclass(frozen=True)
class FreezeLowerOptions:
    """How much is frozen; ``layers`` where both stand."""

    layers: int | None = field(default=None, metadata=about("Blocks that are frozen, from the input upwards.", ge=0))
    share: float | None = field(
        default=0.5, metadata=about("Share of all blocks that is frozen, rounded to a whole block.", ge=0.0, le=1.0)
    )


@dataclass(frozen=True)
class LayerwiseDecayOptions:
    """How fast learning rates fall towards the input."""

    decay: float = field(
        default=0.9, metadata=about("Learning rate of a block over that of the block above it.", ge=1e-6, le=1.0)
    )


@dataclass(frozen=True)
class BitFitOptions:
    """Which biases train."""

    add_biases: bool = field(
        default=True, metadata=about("Give the model the zero biases that its architecture can declare.")
    )


WEIGHT_ENTRIES: dict[str, MethodEntry] = {
    "full": MethodEntry(
        "weights", "every weight", 1e-5, "bench 1e-5: 47.2 %", implementation=f"{_CLASSES}.full.full:Full"
    ),
    "freeze_lower": MethodEntry(
        "weights",
        "embeddings and the lowest blocks frozen",
        1e-5,
        "as full",
        options=FreezeLowerOptions,
        exclusive=("layers", "share"),
        implementation=f"{_CLASSES}.subset.freeze_lower:FreezeLower",
    ),
    "llrd": MethodEntry(
        "weights",
        "every weight, learning rate decaying towards the input",
        2e-5,
        "as full",
        options=LayerwiseDecayOptions,
        implementation=f"{_CLASSES}.full.layerwise:LayerwiseDecay",
    ),
    "bitfit": MethodEntry(
        "scaling",
        "biases only",
        1e-3,
        "paper 1e-4 to 1e-3",
        merges=False,
        options=BitFitOptions,
        implementation=f"{_CLASSES}.subset.bitfit:BitFit",
    ),
}
