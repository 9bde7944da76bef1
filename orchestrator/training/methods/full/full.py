"""Full fine-tuning: every weight, one learning rate. The neutral method."""

from __future__ import annotations

from orchestrator.training.methods.contract.method import Method


class Full(Method):
    """All defaults of `Method`."""
