"""Methods outside the linear layers: prompts, prefixes, parallel networks."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.training.methods.adapters.peft_adapter import PeftMethod


class WholeModel(PeftMethod):
    """Prompts, prefixes and parallel networks: the model is called as a whole, one sample per row."""

    needs_whole_model: ClassVar[bool] = True
