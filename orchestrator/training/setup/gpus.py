"""What training costs on named GPUs: floating-point operations over a stated share of their peak.

The shares are those of instructlab/training, full fine-tuning of Granite 3.3 8B on eight GPUs, from the run times that
Red Hat's training_hub publishes (``docs/guides/runtime-estimates.md``, commit f793034): 5,600 to 5,900 tokens per
second and H100, 2,600 to 2,700 per A100. Other software and other sequence lengths reach other shares.
"""

from __future__ import annotations

from dataclasses import dataclass

FITTING_SHARE = 0.92
"""Share of a GPU's memory that a trial may need: the runtime and fragmentation take the rest."""


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        name: Name as in tables.
        memory_gib: Memory that PyTorch sees.
        peak_operations: Dense bfloat16 operations per second, as the maker states.
        utilisation: Share of the peak that training reaches, in operations of the model alone.
        evidence: Where the share is from.
    """

    name: str
    memory_gib: float
    peak_operations: float
    utilisation: float
    evidence: str

    def hours(self, operations: float) -> float:
        """Return the hours that so many operations take."""
        return operations / (self.peak_operations * self.utilisation) / 3600

    def fits(self, memory_gib: float) -> bool:
        """Whether a trial that needs so much memory fits one of these."""
        return memory_gib <= self.memory_gib * FITTING_SHARE


_A100 = "training_hub run times of an 8B model on A100-80"
_H100 = "training_hub run times of an 8B model on H100-80"
GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("A100-40", 39.4, 312e12, 0.41, f"as {_A100}"),
        Gpu("A100-80", 79.1, 312e12, 0.41, _A100),
        Gpu("H100-80", 79.1, 989e12, 0.28, _H100),
        Gpu("H200-141", 139.8, 989e12, 0.28, f"as {_H100}; same processor, faster memory"),
    )
}
"""In the order of tables."""
