"""Methods whose forward wants to know each row's task: ``poly``, ``multitask_prompt_tuning``."""

from __future__ import annotations

import torch
from torch import Tensor

from orchestrator.training.methods.adapters.whole_model import WholeModel
from orchestrator.training.methods.contract.method import Batch


class TaskRouted(WholeModel):
    """``poly`` and ``multitask_prompt_tuning``: every row says its task; all rows are task 0 for now."""

    def forward_kwargs(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``task_ids`` of shape (rows,)."""
        ids = batch["input_ids"]
        return {"task_ids": torch.zeros(ids.shape[0], dtype=torch.long, device=ids.device)}
