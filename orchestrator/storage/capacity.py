"""What a cluster offers a sweep; a record of its own, so that reading a sweep back does not need Ray."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capacity:
    """What the cluster offers: total CPUs, GPUs, and how many trials run at once."""

    cpus: float
    gpus: float
    slots: int
    address: str
